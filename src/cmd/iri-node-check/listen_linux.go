package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"github.com/coreos/go-systemd/v22/activation"
)

// listen takes the socket that systemd hands over: it stays open over a restart
// of this program, so that no check is lost.
func listen(ctx context.Context, address string) (net.Listener, error) {
	inherited, err := activation.Listeners()
	if err != nil {
		return nil, fmt.Errorf("take over systemd's socket: %w", err)
	}
	if len(inherited) == 0 || inherited[0] == nil {
		// A check is a connection of its own that lives for milliseconds.
		listener, err := (&net.ListenConfig{KeepAlive: -1, Control: deferAccept}).Listen(ctx, "tcp", address)
		if err != nil {
			return nil, fmt.Errorf("--listen: %w", err)
		}
		return listener, nil
	}
	addr, err := netip.ParseAddrPort(inherited[0].Addr().String())
	if err != nil || !addr.Addr().IsLoopback() {
		return nil, fmt.Errorf("systemd's socket listens on %s, which is not loopback", inherited[0].Addr())
	}
	return inherited[0], nil
}

// deferAccept lets the kernel hold a connection back until its request is there:
// to be woken twice would be a fifth of what a check costs.
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
