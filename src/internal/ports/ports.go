// Package ports finds out whether a server could listen on an address of this host, and who keeps it from that.
//
// It binds, as the server would, and never listens: nobody is served or refused meanwhile.
package ports

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/prometheus/procfs"
	"golang.org/x/sys/unix"
)

// Port is an address that a server is to listen on.
type Port struct {
	// Name is what messages call it: where it is configured.
	Name string
	// UDP is for datagrams; else it is TCP.
	UDP     bool
	Address netip.AddrPort
	// V6Only leaves the port free for IPv4.
	V6Only bool
}

// Check tries every port. A port of a process in ours, or of one of its descendants, counts as free: a reload or a restart
// frees it. The error has a line for each port that is not.
func Check(wanted []Port, ours []int) error {
	var o *owners
	var errs []error
	for _, p := range wanted {
		err := p.try()
		switch {
		case err == nil, errors.Is(err, unix.EACCES): // a port that needs rights which the server may have
			continue
		case errors.Is(err, unix.EADDRNOTAVAIL):
			errs = append(errs, fmt.Errorf("%s: %s is not an address of this host", p.Name, p.Address.Addr()))
			continue
		case !errors.Is(err, unix.EADDRINUSE):
			errs = append(errs, fmt.Errorf("%s: port %s cannot be used: %w", p.Name, p.Address, err))
			continue
		}
		if o == nil {
			if o, err = readOwners(procfs.DefaultMountPoint, ours); err != nil {
				return err
			}
		}
		if who, foreign := o.of(p); foreign {
			errs = append(errs, fmt.Errorf("%s: port %s is used by %s", p.Name, p.Address, who))
		}
	}
	return errors.Join(errs...)
}

// try binds and closes at once. A TCP port that is only waiting for its last connections to end counts as free, as it does
// for a server.
func (p Port) try() error {
	family, address := p.socketAddress()
	kind := unix.SOCK_STREAM
	if p.UDP {
		kind = unix.SOCK_DGRAM
	}
	fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	if !p.UDP {
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	}
	if p.V6Only && family == unix.AF_INET6 {
		err = errors.Join(err, unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1))
	}
	if err != nil {
		return err
	}
	return unix.Bind(fd, address)
}

func (p Port) socketAddress() (family int, address unix.Sockaddr) {
	port, ip := int(p.Address.Port()), p.Address.Addr().Unmap()
	if ip.Is4() {
		return unix.AF_INET, &unix.SockaddrInet4{Port: port, Addr: ip.As4()}
	}
	return unix.AF_INET6, &unix.SockaddrInet6{Port: port, Addr: ip.As16()}
}
