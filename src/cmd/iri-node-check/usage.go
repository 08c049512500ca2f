package main

const usage = `Usage: iri-node-check -a URL [flags]
       iri-node-check serve [flags]     serve Consul's HTTP checks;
                                        see iri-node-check serve -h

Checks whether an IRI or HORNET node may serve requests. Prints the verdict with
its reason on one line and exits with the verdict's code. Consul runs it as a
script check.

Node:
  -a, --address URL          URL of the node's API, with http:// or https://;
                             required. Credentials in it are used, but never
                             printed. Example: -a http://10.10.0.110:14265
  -t, --timeout SECONDS      time limit for each request, at most 25
                             (default 3). Example: -t 5
  -k, --skip-verify          accept any TLS certificate.
                             Example: -a https://10.10.0.110:14267 -k
      --ca-file FILE         trust the authorities in this PEM file instead of
                             the system's.
                             Example: --ca-file /etc/ssl/iri-ca.pem
      --server-name NAME     name required in the node's certificate and sent as
                             SNI, if it differs from the host of the address.
                             Example: --server-name node7.example.org
      --cert-file FILE       client certificate (PEM) for nodes that require
      --key-file FILE        one, and its key.
                             Example: --cert-file lb.pem --key-file lb.key
      --user-file FILE       credentials for basic authentication: a file with
                             one line USER:PASSWORD.
                             Example: --user-file /etc/iri-node-check/user

Requirements; the verdict is critical if one is not met:
  -n, --min-neighbours N     at least this many neighbours (default 2).
                             Example: -n 3
  -m, --min-version VERSION  this appVersion or newer (default 1.4.2.1).
                             Example: -m 1.8.6
  -r, --app-name NAME        this appName, or one of several separated by commas
                             (default IRI). Example: -r IRI,HORNET,HORNET-legacy
  -w, --max-answer SECONDS   maximum response time (default 1), both as measured
                             and as reported by the node. Example: -w 0.5
  -p, --pow                  PoW is permitted: attachToTangle is not refused.
                             Example: -p -i
      --max-behind N         solid milestone at most this far behind the latest
                             (default 1). Example: --max-behind 5
  -i, --skip-limited         do not require that getNeighbors, addNeighbors,
                             removeNeighbors and, without -p, attachToTangle are
                             refused. Necessary on the node itself and on hosts
                             it trusts, to which it refuses nothing.
                             Example: -a http://127.0.0.1:14265 -i

Requirements; the verdict is a warning if one is not met, and the node gets a
smaller share of the requests:
      --warn-behind N        solid milestone at most this far behind the latest.
                             Example: --warn-behind 1 --max-behind 5
      --warn-neighbours N    at least this many neighbours.
                             Example: --warn-neighbours 4
      --warn-answer SECONDS  maximum response time. Example: --warn-answer 0.3
      --at-snapshot VERDICT  verdict for a node that has just started, and looks
                             synchronised because it is at its snapshot:
                             passing, warning or critical (default warning).
                             Example: --at-snapshot critical

Output:
      --explain              show every rule with the value found, the value
                             required and the verdict.
                             Example: -a http://10.10.0.110:14265 --explain
      --json                 the same as JSON. Example: --json | jq .verdict
      --version              print the version
  -h, --help                 show this help

The line stays the same as long as the reason for the verdict does, because
Consul wakes all watchers of a check whose output changes.

Exit codes: 0 passing, 1 warning, 2 critical, 3 wrong usage.

Examples:
  iri-node-check -a http://10.10.0.110:14265 -i
  iri-node-check -a https://[2001:db8::1]:14267 -k -p -n 3 -m 1.8.6 -w 0.5
  iri-node-check -a http://10.10.0.111:14265 -m 0.4.2 -r HORNET,HORNET-legacy
  iri-node-check -a http://10.10.0.110:14265 -i --max-behind 5 --warn-behind 1
`
