package main

const usage = `Usage: iri-node-check -a URL [flags]
       iri-node-check serve [flags]     stay and answer Consul's HTTP checks;
                                        see iri-node-check serve -h

Asks an IRI or HORNET node how it is and says in one line, and by the exit code,
whether it may get requests. Made to be run by Consul as a script check.

The node:
  -a, --address URL          its API, with http:// or https://; required. A user
                             and a password in it are used, and never shown.
                             Example: -a http://10.10.0.110:14265
  -t, --timeout SECONDS      wait this long for the answer to one request, at
                             most 25 (default 3). Example: -t 5
  -k, --skip-verify          trust any TLS certificate.
                             Example: -a https://10.10.0.110:14267 -k
      --ca-file FILE         trust the authorities in this file (PEM) instead of
                             the system's.
                             Example: --ca-file /etc/ssl/iri-ca.pem
      --server-name NAME     the name in the node's certificate, asked for by
                             SNI, when it is not the address's host.
                             Example: --server-name node7.example.org
      --cert-file FILE       show this certificate (PEM) to a node that asks for
      --key-file FILE        one, and its key.
                             Example: --cert-file lb.pem --key-file lb.key
      --user-file FILE       basic auth: a file with the one line USER:PASSWORD.
                             Example: --user-file /etc/iri-node-check/user

Critical, when it is not so:
  -n, --min-neighbours N     the node has this many neighbours (default 2).
                             Example: -n 3
  -m, --min-version VERSION  its appVersion is not older (default 1.4.2.1).
                             Example: -m 1.8.6
  -r, --app-name NAME        its appName is this one; several by commas (default
                             IRI). Example: -r IRI,HORNET,HORNET-legacy
  -w, --max-answer SECONDS   its answer took at most this long (default 1), seen
                             from here and by its own account. Example: -w 0.5
  -p, --pow                  it allows PoW: attachToTangle is not refused.
                             Example: -p -i
      --max-behind N         its solid milestone is at most this far behind the
                             latest (default 1). Example: --max-behind 5
  -i, --skip-limited         leave out: getNeighbors, addNeighbors,
                             removeNeighbors and attachToTangle (this one not
                             with -p) are refused. Needed on the node itself and
                             on hosts that it trusts: it refuses them nothing.
                             Example: -a http://127.0.0.1:14265 -i

A warning, when it is not so (the node then gets a smaller share of requests):
      --warn-behind N        at most this far behind.
                             Example: --warn-behind 1 --max-behind 5
      --warn-neighbours N    this many neighbours. Example: --warn-neighbours 4
      --warn-answer SECONDS  answered within this time.
                             Example: --warn-answer 0.3
      --at-snapshot VERDICT  what a node that has only just started is, which
                             looks synchronised at its snapshot: passing,
                             warning or critical (default warning).
                             Example: --at-snapshot critical

Output:
      --explain              show each rule, what was found, what was wanted and
                             the verdict.
                             Example: -a http://10.10.0.110:14265 --explain
      --json                 the same as JSON, for programs.
                             Example: --json | jq .verdict
      --version              print the version
  -h, --help                 this help

The one line is the same as long as the verdict's reason is, because Consul
wakes everyone who watches a check whose output changes.

Exit codes: 0 passing, 1 warning, 2 critical, 3 wrong usage.

Examples:
  iri-node-check -a http://10.10.0.110:14265 -i
  iri-node-check -a https://[2001:db8::1]:14267 -k -p -n 3 -m 1.8.6 -w 0.5
  iri-node-check -a http://10.10.0.111:14265 -m 0.4.2 -r HORNET,HORNET-legacy
  iri-node-check -a http://10.10.0.110:14265 -i --max-behind 5 --warn-behind 1
`
