//go:build integration

package ha

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

func everyConsulDown(t *testing.T, b *bed, seen *result) {
	for _, h := range b.hosts {
		h.sh(t, "docker kill consul; systemctl stop consul")
	}
	b.keep(seen, 3*long, b.hosts...)
	for _, h := range b.hosts {
		h.sh(t, "systemctl start --no-block consul")
	}
	seen.ended()
	seen.stays(b)
}

func killLeader(t *testing.T, b *bed, seen *result) {
	leader := b.leader(t)
	leader.sh(t, "docker kill consul; systemctl stop consul")
	others := b.others(leader)
	seen.change(t, b, 3*time.Second, others[0], others...)
	b.keep(seen, long, b.hosts...)
	leader.sh(t, "systemctl start consul")
	seen.ended()
	seen.stays(b)
}

// markOverFailover: too many requests mark a client, and the hosts tell each other.
func markOverFailover(t *testing.T, b *bed, seen *result) {
	// Addresses of nodes, not of the clients, which may send what they like.
	marked, other := node(1), node(2)
	refused := func(when string) {
		var err error
		if served(marked, 1) {
			err = errors.New("it is served")
		} else if !served(other, 1) {
			err = errors.New("so is another client")
		}
		seen.check("refused "+when, err)
	}
	served(marked, 2000)
	refused("at once")
	b.killFor(t, seen, long, b.owner(t))
	refused("after the move")
	b.owner(t).sh(t, "systemctl reload haproxy")
	refused("after the reload")
}

// served sends requests from an address, and says whether the last of them is answered. A client that is marked does not
// even get a connection.
func served(from string, times int) bool {
	out, _ := onNodes(fmt.Sprintf("curl --silent --insecure --max-time 20 --interface %s --header 'X-IOTA-API-Version: 1' "+
		`--data '{"command": "getNodeInfo"}' --output /dev/null --write-out '%%{http_code}\n' 'https://%s:14267/?[1-%d]' || true`, from, virtualAddress, times))
	return strings.HasSuffix(out, "200\n")
}
