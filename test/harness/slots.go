package harness

import (
	"encoding/csv"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Slot is a row of "show stat".
type Slot struct{ Name, Status, Weight, MaxConn string }

var (
	// InService is the slot of a node of the default pool without tags, WithoutHealthChecks.
	InService = Slot{Status: "no check", Weight: "1"}
	// Up and Down are the same with HAProxy's own checks, as installed.
	Up   = Slot{Status: "UP", Weight: "1"}
	Down = Slot{Status: "DOWN", Weight: "1"}
	// InMaintenance is a slot that keeps its node and serves nothing.
	InMaintenance = Slot{Status: "MAINT", Weight: "1"}
	// NoSlot is what WaitSlot takes for an address that no slot has.
	NoSlot = Slot{}
)

// placeholder is the address of a slot without a node.
const placeholder = "127.0.0.1:1"

// Slots are those of the backend that have a node, by the node's address.
func (h *HAProxy) Slots(t *testing.T, backend string) map[string]Slot {
	t.Helper()
	rows, err := h.stat(backend)
	if err != nil { // HAProxy may be away
		return nil
	}
	found := map[string]Slot{}
	for _, row := range rows {
		if addr := row["addr"]; addr != placeholder {
			found[addr] = Slot{row["svname"], statusOf(row), row["uweight"], row["slim"]}
		}
	}
	return found
}

// statusOf is "UP" also for "UP 1/3", which is what a server that has left maintenance shows until its first check: it
// gets requests all the same.
func statusOf(row map[string]string) string {
	if strings.HasPrefix(row["status"], Up.Status+" ") {
		return Up.Status
	}
	return row["status"]
}

// Requests is how many requests a slot of the default pool was sent, 0 for an address that has none.
func (h *HAProxy) Requests(t *testing.T, addr string) string {
	t.Helper()
	rows, err := h.stat(Backend)
	require.NoError(t, err)
	for _, row := range rows {
		if row["addr"] == addr {
			return row["lbtot"]
		}
	}
	return "0"
}

// stat is "show stat" for the servers of a backend, by the names of the columns.
func (h *HAProxy) stat(backend string) ([]map[string]string, error) {
	text, err := h.Command("show stat " + backend + " 4 -1")
	if err != nil {
		return nil, err
	}
	table, err := csv.NewReader(strings.NewReader(strings.TrimPrefix(text, "# "))).ReadAll()
	if err != nil || len(table) == 0 {
		return nil, errors.Join(err, errors.New("no answer"))
	}
	var rows []map[string]string
	for _, values := range table[1:] {
		row := map[string]string{}
		for i, name := range table[0] {
			row[name] = values[i]
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// WaitSlot waits until the slot of the address is as wanted, under any name unless one is wanted.
func (h *HAProxy) WaitSlot(t *testing.T, backend, addr string, want Slot) {
	t.Helper()
	Eventually(t, 15*time.Second, fmt.Sprintf("%s in %s is %+v", addr, backend, want), func() error {
		got := h.Slots(t, backend)[addr]
		if want.Name == "" {
			got.Name = ""
		}
		if got != want {
			return fmt.Errorf("it is %+v", got)
		}
		return nil
	})
}

// WaitRequests waits until the slot of the address has been sent a request.
func (h *HAProxy) WaitRequests(t *testing.T, addr string) {
	t.Helper()
	Eventually(t, 15*time.Second, addr+" gets requests", func() error {
		if h.Requests(t, addr) == "0" {
			return errors.New("none")
		}
		return nil
	})
}

// WaitSlotCount waits until so many slots of the backend have a node.
func (h *HAProxy) WaitSlotCount(t *testing.T, backend string, want int) {
	t.Helper()
	Eventually(t, 15*time.Second, fmt.Sprintf("%s has %d nodes", backend, want), func() error {
		if got := len(h.Slots(t, backend)); got != want {
			return fmt.Errorf("it has %d", got)
		}
		return nil
	})
}

// Serve puts addr (IP:port) into slot http<n> of the backend, as ready, without the handler.
func (h *HAProxy) Serve(t *testing.T, backend string, n int, addr string) {
	t.Helper()
	host, port, ok := strings.Cut(addr, ":")
	require.True(t, ok, addr)
	slot := fmt.Sprintf("%s/http%d", backend, n)
	set := func(what string) {
		answer, err := h.Command("set server " + slot + what)
		require.NoError(t, err)
		require.NotContains(t, answer, "No such")
	}
	set(" addr " + host + " port " + port)
	// HAProxy answers before it has changed the address. A slot that is ready too early has its first request refused at
	// its old address.
	Eventually(t, 5*time.Second, slot+" has the address "+addr, func() error {
		if _, there := h.Slots(t, backend)[addr]; !there {
			return errors.New("it has not")
		}
		return nil
	})
	set(" state ready")
}

// Stat is a server's row of "show stat", by the names of the columns.
func (h *HAProxy) Stat(t *testing.T, backend, name string) map[string]string {
	t.Helper()
	rows, err := h.stat(backend)
	require.NoError(t, err)
	for _, row := range rows {
		if row["svname"] == name {
			return row
		}
	}
	t.Fatalf("no server %s/%s", backend, name)
	return nil
}

// ServerState is a server's row of "show servers state", by the names of the columns.
func (h *HAProxy) ServerState(t *testing.T, backend, name string) map[string]string {
	t.Helper()
	text, err := h.Command("show servers state " + backend)
	require.NoError(t, err)
	for _, row := range ParseServers(text) {
		if row["srv_name"] == name {
			return row
		}
	}
	t.Fatalf("no server %s/%s", backend, name)
	return nil
}

// ParseServers reads the rows of "show servers state", each by the names of the columns.
func ParseServers(text string) (rows []map[string]string) {
	var columns []string
	for line := range strings.Lines(text) {
		if names, ok := strings.CutPrefix(line, "# "); ok {
			columns = strings.Fields(names)
			continue
		}
		fields := strings.Fields(line)
		if len(columns) == 0 || len(fields) < len(columns) {
			continue
		}
		row := make(map[string]string, len(columns))
		for i, column := range columns {
			row[column] = fields[i]
		}
		rows = append(rows, row)
	}
	return rows
}
