// Package harness has what the tests against real containers share: the programs under test, Consul and HAProxy in
// containers, fake nodes, load, TLS material, and ways to wait. test/handler, test/frontend, test/wallets, test/chaos,
// test/failures, test/ha and test/bench use it; each of them starts with Main. All traffic stays on 127.0.0.0/8.
package harness
