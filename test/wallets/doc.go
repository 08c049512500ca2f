// Package wallets runs the libraries that wallets are made of through the whole front end, over TLS:
// make test-integration RUN=Wallet. The libraries are @iota/core and iota.lib.js (Node.js) and PyOTA (Python), pinned in
// clients/ and installed by tools/wallets.sh. A program for each of them, in clients/ as well, makes every call that the
// library offers and a node supports.
//
// "Wallet" is in the name of every test.
package wallets
