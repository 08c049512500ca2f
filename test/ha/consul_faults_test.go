//go:build integration

package ha

import (
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
	const client = "172.31.77.40" // no address of the clients, which may send what they like
	status := func(target string, times int) string {
		out, err := onNodes(fmt.Sprintf("curl --silent --insecure --max-time 20 --interface %s --header 'X-IOTA-API-Version: 1' "+
			`--data '{"command": "getNodeInfo"}' --output /dev/null --write-out '%%{http_code}\n' 'https://%s:14267/?[1-%d]'`, client, target, times))
		if err != nil {
			return err.Error()
		}
		answers := strings.Fields(out)
		return answers[len(answers)-1]
	}
	refused := func(when string) {
		var err error
		if got := status(virtualAddress, 1); got != "429" {
			err = fmt.Errorf("answered with %s instead of 429", got)
		}
		seen.check("refused "+when, err)
	}
	status(virtualAddress, 2000)
	refused("at once")
	b.killFor(t, seen, long, b.owner(t))
	refused("after the move")
	b.owner(t).sh(t, "systemctl reload haproxy")
	refused("after the reload")
}
