package ports

import (
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// Listeners are the processes that listen on Unix sockets; a socket that nobody listens on has none. The kernel knows them:
// the file's name, which another process could have as well, does not matter.
func Listeners(paths ...string) (pids []int) {
	for _, path := range paths {
		if pid, err := listener(path); err == nil && pid > 0 {
			pids = append(pids, pid)
		}
	}
	return pids
}

func listener(path string) (pid int, err error) {
	c, err := net.DialTimeout("unix", path, time.Second)
	if err != nil {
		return 0, err
	}
	defer func() { _ = c.Close() }()
	raw, err := c.(*net.UnixConn).SyscallConn()
	if err != nil {
		return 0, err
	}
	var who *unix.Ucred
	if cerr := raw.Control(func(fd uintptr) { who, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); cerr != nil {
		return 0, cerr
	}
	if err != nil {
		return 0, err
	}
	return int(who.Pid), nil
}
