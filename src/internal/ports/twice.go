package ports

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/prometheus/procfs"
)

// Children are the processes that a process has started.
func Children(pid int) []int {
	procs, err := procfs.AllProcs()
	if err != nil {
		return nil
	}
	var all []int
	for _, p := range descendants(procs, []int{pid}) {
		if p.PID != pid {
			all = append(all, p.PID)
		}
	}
	return all
}

// ListenedTwice returns the TCP addresses at which both processes listen, or their descendants, but each with a socket of
// its own.
func ListenedTwice(a, b int) ([]string, error) {
	fs, err := procfs.NewDefaultFS()
	if err != nil {
		return nil, fmt.Errorf("read the listening sockets: %w", err)
	}
	tcp, _, err := readSockets(fs)
	if err != nil {
		return nil, fmt.Errorf("read the listening sockets: %w", err)
	}
	procs, err := fs.AllProcs()
	if err != nil {
		return nil, fmt.Errorf("read the listening sockets: %w", err)
	}
	ofA, ofB := listening(tcp, procs, a), listening(tcp, procs, b)
	var twice []string
	for address, inodes := range ofB {
		if old := ofA[address]; old != nil && !slices.ContainsFunc(inodes, func(i uint64) bool { return slices.Contains(old, i) }) {
			twice = append(twice, address.String())
		}
	}
	slices.Sort(twice)
	return twice, nil
}

// listening are the sockets of a process and its descendants by their addresses.
func listening(tcp []socket, procs procfs.Procs, pid int) map[netip.AddrPort][]uint64 {
	var have []uint64
	for _, p := range descendants(procs, []int{pid}) {
		have = append(have, inodes(p)...)
	}
	found := map[netip.AddrPort][]uint64{}
	for _, s := range tcp {
		if s.listening && slices.Contains(have, s.inode) {
			found[s.local] = append(found[s.local], s.inode)
		}
	}
	return found
}
