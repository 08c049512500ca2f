package ports

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/procfs"
)

// owners knows the sockets of this host, and which of them are ours.
type owners struct {
	tcp, udp []socket
	procs    procfs.Procs
	// ours are the inodes of our own sockets.
	ours map[uint64]bool
}

// socket is one that has a port.
type socket struct {
	local     netip.AddrPort
	listening bool
	inode     uint64
}

// readOwners reads the sockets and processes of the proc filesystem at path.
func readOwners(path string, roots []int) (*owners, error) {
	fs, err := procfs.NewFS(path)
	if err != nil {
		return nil, fmt.Errorf("find out who uses a port: %w", err)
	}
	o := &owners{ours: map[uint64]bool{}}
	if o.tcp, o.udp, err = readSockets(fs); err != nil {
		return nil, fmt.Errorf("find out who uses a port: %w", err)
	}
	if o.procs, err = fs.AllProcs(); err != nil {
		return nil, fmt.Errorf("find out who uses a port: %w", err)
	}
	for _, p := range descendants(o.procs, roots) {
		for _, inode := range inodes(p) {
			o.ours[inode] = true
		}
	}
	return o, nil
}

func readSockets(fs procfs.FS) (tcp, udp []socket, err error) {
	const listen, closed = 0x0a, 0x07 // of TCP; an open UDP socket is "closed"
	//lint:ignore SA1019 too slow for monitoring hosts with very many sockets, which this is not
	t4, err := fs.NetTCP()
	if err != nil {
		return nil, nil, err
	}
	u4, err := fs.NetUDP()
	if err != nil {
		return nil, nil, err
	}
	//lint:ignore SA1019 as above
	t6, _ := fs.NetTCP6() // a host without IPv6 has none
	u6, _ := fs.NetUDP6()
	for _, s := range slices.Concat(t4, t6) {
		tcp = append(tcp, newSocket(s.LocalAddr, s.LocalPort, s.St == listen, s.Inode))
	}
	for _, s := range slices.Concat(u4, u6) {
		udp = append(udp, newSocket(s.LocalAddr, s.LocalPort, s.St == closed, s.Inode))
	}
	return tcp, udp, nil
}

func newSocket(ip []byte, port uint64, listening bool, inode uint64) socket {
	address, _ := netip.AddrFromSlice(ip)
	return socket{netip.AddrPortFrom(address, uint16(port)), listening, inode}
}

// of names the owner of a port that could not be bound. The port is not foreign when it is ours, or in the way of nobody
// else.
func (o *owners) of(p Port) (who string, foreign bool) {
	sockets := o.tcp
	if p.UDP {
		sockets = o.udp
	}
	var in []socket
	for _, s := range sockets {
		if s.overlaps(p) {
			in = append(in, s)
		}
	}
	if slices.ContainsFunc(in, func(s socket) bool { return s.listening }) {
		in = slices.DeleteFunc(in, func(s socket) bool { return !s.listening })
	}
	for _, s := range in {
		if o.ours[s.inode] && s.local == netip.AddrPortFrom(p.Address.Addr().Unmap(), p.Address.Port()) {
			return "", false
		}
	}
	for _, s := range in {
		if !o.ours[s.inode] {
			return o.name(s.inode), true
		}
	}
	// A socket that is bound and does not listen is in no list.
	return "a process that cannot be seen", len(in) == 0
}

// overlaps reports whether a socket may be in the way of a port.
func (s socket) overlaps(p Port) bool {
	have, want := s.local.Addr().Unmap(), p.Address.Addr().Unmap()
	switch {
	case s.local.Port() != p.Address.Port():
		return false
	case have == want:
		return true
	case have.Is4() == want.Is4():
		return have.IsUnspecified() || want.IsUnspecified()
	case have.Is4():
		return want.IsUnspecified() && !p.V6Only
	}
	return have.IsUnspecified() // [::] takes IPv4 as well
}

// name finds the process of a socket. systemd holds the sockets of its services, too: the service is the better answer.
func (o *owners) name(inode uint64) string {
	const systemd = 1
	best := -1
	var command string
	for _, p := range o.procs {
		if best > systemd || !slices.Contains(inodes(p), inode) {
			continue
		}
		if comm, err := p.Comm(); err == nil {
			best, command = p.PID, comm
		}
	}
	if best < 0 {
		return "a process that cannot be seen"
	}
	return fmt.Sprintf("%s (process %d)", command, best)
}

// inodes are those of the sockets that a process has open; none for a process that has ended or may not be read.
func inodes(p procfs.Proc) (all []uint64) {
	targets, err := p.FileDescriptorTargets()
	if err != nil {
		return nil
	}
	for _, target := range targets {
		number, ok := strings.CutPrefix(target, "socket:[")
		if !ok {
			continue
		}
		if inode, err := strconv.ParseUint(strings.TrimSuffix(number, "]"), 10, 64); err == nil {
			all = append(all, inode)
		}
	}
	return all
}

// descendants are the roots and all processes that they have started.
func descendants(procs procfs.Procs, roots []int) (all []procfs.Proc) {
	children := map[int][]procfs.Proc{}
	for _, p := range procs {
		if slices.Contains(roots, p.PID) {
			all = append(all, p)
		}
		if stat, err := p.Stat(); err == nil {
			children[stat.PPID] = append(children[stat.PPID], p)
		}
	}
	for i := 0; i < len(all); i++ {
		all = append(all, children[all[i].PID]...)
	}
	return all
}
