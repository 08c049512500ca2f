package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"github.com/coreos/go-systemd/v22/activation"
)

// listen returns the socket passed by systemd, which stays open while this program restarts, so that no check is lost.
// Without one it listens on address.
func listen(ctx context.Context, address string) (net.Listener, error) {
	inherited, err := activation.Listeners()
	if err != nil {
		return nil, fmt.Errorf("use the socket passed by systemd: %w", err)
	}
	if len(inherited) == 0 || inherited[0] == nil {
		// Consul opens a connection per check, which lives for milliseconds: no TCP keep-alive.
		listener, err := (&net.ListenConfig{KeepAlive: -1, Control: deferAccept}).Listen(ctx, "tcp", address)
		if err != nil {
			return nil, fmt.Errorf("--listen: %w", err)
		}
		return listener, nil
	}
	addr, err := netip.ParseAddrPort(inherited[0].Addr().String())
	if err != nil || !addr.Addr().IsLoopback() {
		return nil, fmt.Errorf("the socket passed by systemd listens on %s, which is not a loopback address", inherited[0].Addr())
	}
	return inherited[0], nil
}

// deferAccept makes the kernel wait for the request before it hands over a connection: a second wakeup would be a
// fifth of the CPU time of a check.
func deferAccept(_, _ string, raw syscall.RawConn) error {
	const seconds = 1
	var err error
	failed := raw.Control(func(fd uintptr) {
		err = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_DEFER_ACCEPT, seconds)
	})
	if failed != nil {
		return failed
	}
	return err
}
