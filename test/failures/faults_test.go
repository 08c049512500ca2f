package failures

import (
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nuriel77/iri-lb-haproxy/test/harness"
)

// fault is a row of the table.
type fault struct {
	name       string
	begin, end func(t *testing.T, n *node)
	// slow: a try takes until its timeout, so the fault lasts longer.
	slow bool
	// unseen: while it lasts, the node cannot say whether it is sent requests.
	unseen bool
	// wanted is what one failing node of five may cost wallets, nil where nothing is laid down.
	wanted *wanted
}

// Nothing may be lost where a request can be repeated. Where the node's answer reaches a wallet first, some are lost
// until the node is out.
var (
	nothingLost = &wanted{getNodeInfo: 0, others: 0, longest: 5500 * time.Millisecond}
	fewLost     = &wanted{getNodeInfo: 20, others: anyNumber, longest: anyTime}
	someLost    = &wanted{getNodeInfo: 150, others: anyNumber, longest: anyTime}
)

var faults = []fault{
	{name: "killed", begin: kill, end: restart, unseen: true, wanted: nothingLost},
	{name: "another program has its port: 404", begin: answer("not-found"), end: heal},
	{name: "connections are reset", begin: answer("reset"), end: heal, wanted: nothingLost},
	{name: "closes without an answer", begin: answer("drop"), end: heal, wanted: nothingLost},
	{name: "answer is not HTTP", begin: answer("not-http"), end: heal, wanted: nothingLost},
	{name: "502 with a page", begin: answer("bad-gateway"), end: heal, wanted: nothingLost},
	{name: "503 with a page", begin: answer("unavailable"), end: heal},
	{name: "504 with a page", begin: answer("gateway-timeout"), end: heal},
	{name: "frozen", begin: freeze, end: thaw, slow: true, unseen: true, wanted: nothingLost},
	{name: "accepts no connections", begin: fillBacklog, end: restart, slow: true, unseen: true},
	{name: "header drips", begin: answer("slow-header"), end: heal, slow: true, wanted: nothingLost},
	{name: "body drips", begin: answer("slow-body"), end: heal, slow: true},
	{name: "500 without a message", begin: answer("bare-500"), end: heal, wanted: fewLost},
	{name: "500 with an exception", begin: answer("exception"), end: heal},
	{name: "answer is cut off", begin: answer("truncate"), end: heal, wanted: someLost},
	{name: "200 with a page", begin: answer("not-json"), end: heal, wanted: someLost},
	{name: "200 with half of the JSON", begin: answer("half-json"), end: heal},
	{name: "200 with an error in JSON", begin: answer("error-ok"), end: heal},
	{name: "200 without a body", begin: answer("empty"), end: heal},
	{name: "10 milestones behind", begin: set(`{"behind": 10}`), end: set(`{"behind": 0}`)},
	{name: "answers after 3 s", begin: set(`{"delay": "3s"}`), end: set(`{"delay": "0s"}`)},
}

func set(state string) func(*testing.T, *node) {
	return func(t *testing.T, n *node) { harness.SetNode(t, n.host, state) }
}

// answer has the node answer everything with one of iritest's faults.
func answer(fault string) func(*testing.T, *node) { return set(`{"fault": "` + fault + `"}`) }

func heal(t *testing.T, n *node) { harness.SetNode(t, n.host, `{"fault": ""}`) }

func kill(_ *testing.T, n *node) { n.process.Stop(syscall.SIGKILL) }

func restart(_ *testing.T, n *node) {
	if n.release != nil {
		n.release()
		n.release = nil
	}
	n.start()
}

func freeze(t *testing.T, n *node) { n.process.Signal(t, syscall.SIGSTOP) }

func thaw(t *testing.T, n *node) { n.process.Signal(t, syscall.SIGCONT) }

// fillBacklog has Linux drop every connection to the node's address: a listener that never accepts, whose queue is full.
func fillBacklog(t *testing.T, n *node) {
	kill(t, n)
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	var waiting []net.Conn
	n.release = func() {
		_ = syscall.Close(fd)
		for _, c := range waiting {
			_ = c.Close()
		}
	}
	require.NoError(t, syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1))
	require.NoError(t, syscall.Bind(fd, &syscall.SockaddrInet4{Port: harness.NodePort, Addr: [4]byte(net.ParseIP(n.host).To4())}))
	require.NoError(t, syscall.Listen(fd, 0))
	for {
		c, err := net.DialTimeout("tcp", harness.At(n.host), 100*time.Millisecond)
		if err != nil {
			return
		}
		waiting = append(waiting, c)
	}
}
