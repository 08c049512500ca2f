package mirror

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// lockOwner names the process that holds the lock of a folder, by /proc/locks (proc(5)).
func lockOwner(dir string) string {
	const unknown = "another process"
	var info unix.Stat_t
	if err := unix.Stat(dir, &info); err != nil {
		return unknown
	}
	inode := fmt.Sprintf("%02x:%02x:%d", unix.Major(info.Dev), unix.Minor(info.Dev), info.Ino)
	locks, err := os.ReadFile("/proc/locks")
	if err != nil {
		return unknown
	}
	for line := range strings.Lines(string(locks)) {
		// "1: FLOCK  ADVISORY  WRITE 4711 00:1a:1234 0 EOF"; "-> " stands before those that wait.
		f := strings.Fields(line)
		if len(f) < 6 || f[1] != "FLOCK" || f[5] != inode {
			continue
		}
		name, err := os.ReadFile("/proc/" + f[4] + "/comm")
		if err != nil {
			return unknown + " (pid " + f[4] + ")"
		}
		return fmt.Sprintf("%s (pid %s)", strings.TrimSpace(string(name)), f[4])
	}
	return unknown
}
