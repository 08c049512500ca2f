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
	{number: "6", fault: "two hosts are killed (the gap counts until here), then handler, HAProxy and host of the third restarted", gap: takeover, do: lastHost},
	{number: "7", fault: "the host with the address is paused for 10 s", gap: takeover, do: pauseOwner},
	{number: "8", fault: "it resumes", gap: takeover, before: pauseOwnerBefore, do: resumeOwner},
	{number: "9", fault: "HAProxy is killed", gap: planned, do: killHAProxy},
	{number: "10", fault: "HAProxy's worker is stopped (SIGSTOP)", gap: 2 * time.Second, do: stopWorker},
	{number: "11", fault: "the handler is killed", do: killHandler},
	{number: "12", fault: "keepalived is killed", gap: takeover, do: killKeepalived},
	{number: "13", fault: "keepalived is restarted", gap: planned, do: onOwner("systemctl restart keepalived")},
	{number: "14", fault: "keepalived is reloaded", do: onOwner("systemctl reload keepalived")},

	{number: "15", fault: "the network service (systemd-networkd) is restarted", impossible: "no network service manages the interface of a container"},
	{number: "16", fault: "the cable of the host with the address is pulled out, and put in after 10 s", gap: takeover, do: pullCable},
	{number: "17", fault: "the host with the address cannot talk to the two others, for 10 s", gap: takeover, do: split},
	{number: "18", fault: "the two others cannot hear the host with the address, for 10 s", gap: takeover, do: oneWay},
	{number: "19", fault: "each host hears one other only, another one each, for 10 s", gap: takeover, do: ring},
	{number: "20", fault: "a tenth of all packets is lost, for a minute", gap: anyGap, do: lossyNetwork},
	{number: "21", fault: "packets are delayed by 75 ± 50 ms", do: slowNetwork},

	{number: "22", fault: "a tenth of a processor for the host with the address", do: starve},
	{number: "23", fault: "the clock is an hour off", impossible: "containers share the machine's clock; the handler's alone is a row of [reliability](reliability.md)"},
	{number: "24", fault: "the disk of the host with the address is full", before: ownerHasSmallDisk, do: fillOwner},
	{number: "25", fault: "the disk of Consul's leader is full", before: leaderHasSmallDisk, do: fillLeader},
	{number: "26", fault: "every Consul is down for 30 s", do: everyConsulDown},
	{number: "27", fault: "Consul's leader is killed", do: killLeader},
	{number: "28", fault: "Consul's leader cannot talk to the other servers", before: otherLeads, do: leaderInMinority},

	{number: "29", fault: "a dead host returns after a node was deregistered", before: oneMore, do: deregisterMeanwhile},
	{number: "30", fault: "a dead host returns after Consul has removed it", before: inCatalog, do: reap},
	{number: "31", fault: "an empty host in the place of the last one of the inventory", before: sparesLast, do: replaceLast},
	{number: "32", fault: "an empty host in the place of the first one of the inventory", before: sparesFirst, do: replaceFirst},
	{number: "33", fault: "a host gets another name", before: sparesLast, do: rename},
	{number: "34", fault: "Raft's files are truncated on one host", do: truncateRaft},
	{number: "35", fault: "a node fails while a host is dead", before: inCatalog, do: failWhileHostDead},
	{number: "36", fault: "a node cannot be reached from one host", before: inCatalog, do: unreachableFromOne},

	{number: "37", fault: "every host's address is another one after a reboot", gap: anyGap, do: allAddressesChange},
	{number: "38", fault: "all nodes are dead for 15 s", gap: anyGap, do: allNodesDead},
	{number: "39", fault: "Consul gets another image, by the playbook", do: upgradeConsul},
	{number: "40", fault: "HAProxy gets another image, by the playbook", do: upgradeHAProxy},
	{number: "41", fault: "the host with the address is shut down and started", gap: planned, do: reboot},
	{number: "42", fault: "the key of Consul's gossip is replaced", do: rotateKey},
	{number: "43", fault: "a client is marked as an abuser, the host with the address killed, HAProxy on the next reloaded", gap: takeover, do: markOverFailover},
	{number: "44", fault: "all hosts are off and on at once", gap: anyGap, do: allOff},
}
