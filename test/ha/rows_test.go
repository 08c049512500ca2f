//go:build integration

package ha

import "time"

// rows are the faults of the table, with their numbers. Those that last for minutes or longer where they are real last
// shorter here, by enough to see their effect: Consul would remove a dead host after 10 s.
var rows = []row{
	{number: "0", fault: "nothing, for comparison", do: nothing},
	{number: "1", fault: "the host with the address is killed", gap: takeover, do: killOwner},
	{number: "2", fault: "the same, and it is Consul's leader", gap: takeover, before: ownerLeads, do: killOwner},
	{
		number: "3", fault: "the host at which all nodes were registered by `curl` is killed, for a minute", gap: takeover,
		before: registerAtOwner, do: killHostOfAllNodes,
	},
	{number: "4", fault: "another host is killed", do: killAnother},
	{number: "5", fault: "two hosts are killed", gap: takeover, do: killTwo},

	{number: "7", fault: "the host with the address is paused for 10 s", gap: takeover, do: pauseOwner},
	{number: "8", fault: "it resumes", gap: takeover, before: pauseOwnerBefore, do: resumeOwner},
	{number: "9", fault: "HAProxy is killed", gap: planned, do: killHAProxy},
	{number: "10", fault: "HAProxy's worker is stopped (SIGSTOP)", gap: 2 * time.Second, do: stopWorker},
	{number: "11", fault: "the handler is killed", do: killHandler},
	{number: "12", fault: "keepalived is killed", gap: takeover, do: killKeepalived},
	{number: "13", fault: "keepalived is restarted", gap: planned, do: onOwner("systemctl restart keepalived")},
	{number: "14", fault: "keepalived is reloaded", do: onOwner("systemctl reload keepalived")},

	{number: "26", fault: "every Consul is down for 30 s", do: everyConsulDown},
	{number: "27", fault: "Consul's leader is killed", do: killLeader},
	{number: "43", fault: "the host with the address is killed, and HAProxy reloaded on the next: a client that was marked as an abuser", gap: takeover, do: markOverFailover},
}
