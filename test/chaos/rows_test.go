//go:build integration

package chaos

import (
	"testing"
	"time"
)

// long is how long most faults last.
const long = 6 * time.Second

var rows = []row{
	{name: "nodes come, fail, return and go", mode: "daemon", do: func(t *testing.T, b *bed) { b.churn(t, long) }},
	{name: "nodes come, fail, return and go", mode: "watch", do: func(t *testing.T, b *bed) { b.churn(t, long) }},

	{name: "all nodes into maintenance, and out of it, around one that comes and goes", mode: "daemon", do: maintenanceOfAll},
	{name: "all nodes into maintenance, and out of it, around one that comes and goes", mode: "watch", do: maintenanceOfAll},
	{name: "the only node for proof of work moves to another address, four times", mode: "daemon", do: moveOnlyPoWNode},
	{name: "the only node for proof of work moves to another address, four times", mode: "watch", do: moveOnlyPoWNode},

	{name: "Consul answers 500", mode: "daemon", do: consulFails},
	{name: "Consul has no leader", mode: "daemon", do: consulWithoutLeader},
	{name: "Consul's agent answers with an empty list, its leader does not", mode: "daemon", do: emptyAgent},
	{name: "Consul's answers are cut off in the middle", mode: "daemon", do: cutAnswers},
	{name: "Consul's index goes back", mode: "daemon", do: lowerIndex},
	{name: "a half-open connection to Consul", mode: "daemon", do: halfOpen},
	{name: "Consul killed, started again", mode: "daemon", do: restartConsul("")},
	{name: "Consul killed, started again", mode: "watch", do: restartConsul("")},
	{name: "Consul killed, started again with an empty state", mode: "daemon", do: emptyState},
	{name: "Consul killed, started again with an older state", mode: "daemon", do: olderState},
	{name: "the handler's token for Consul is replaced and deleted, four times", mode: "daemon", acls: true, do: rotateToken},

	{name: "HAProxy reloaded five times (`iri-lb-handler reload`)", mode: "daemon", do: reloads},
	{name: "HAProxy reloaded five times (`iri-lb-handler reload`)", mode: "watch", do: reloads},
	{name: "HAProxy reloaded five times (`iri-lb-handler reload`) while a port of its new configuration is taken", mode: "daemon", do: refusedReloads},
	{name: "HAProxy reloaded by hand (SIGUSR2), which nobody should do", mode: "daemon", mayLose: true, do: reloadByHand},
	{name: "HAProxy's container killed, started again", mode: "daemon", away: true, do: killHAProxy},
	{name: "HAProxy's container killed, started again", mode: "watch", away: true, do: killHAProxy},
	{name: "HAProxy's container killed, started again while Consul hangs", mode: "daemon", away: true, do: killHAProxyWhileConsulHangs},
	{name: "HAProxy and Consul killed, started again", mode: "daemon", away: true, do: killBoth},
	{name: "HAProxy's worker killed", mode: "daemon", away: true, do: killWorker},
	{name: "HAProxy's socket is missing", mode: "daemon", do: missingSocket},
	{name: "HAProxy's socket hangs", mode: "daemon", do: hangingSocket},
	{name: "HAProxy's answers are cut off in the middle", mode: "daemon", do: cutSocket},
	{name: "the handler's clock jumps an hour ahead, and two hours back", mode: "daemon", do: jumpingClock},
	{name: "the disk is full at a reload", mode: "daemon", do: fullDisk},

	{name: "the handler killed (-9) at 200 random points", mode: "daemon", do: killedHandlers},
	{name: "two handlers at once", mode: "daemon", do: twoHandlers},
	{name: "200 changes a second for a minute", mode: "daemon", do: manyChanges},
}
