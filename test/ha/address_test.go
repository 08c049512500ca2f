//go:build integration

package ha

import (
	"bufio"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"
)

// addressWatch knows at any time which hosts have the virtual address.
type addressWatch struct {
	address string
	done    chan struct{}
	group   sync.WaitGroup

	mu    sync.Mutex
	has   map[string]bool
	last  string // the host that got it last
	moves int
	// changes are when a host got the address or lost it.
	changes []time.Time
	log     []string
}

func watchAddress(address string, hosts []host) *addressWatch {
	w := &addressWatch{address: address, done: make(chan struct{}), has: map[string]bool{}}
	for _, h := range hosts {
		w.group.Go(func() { w.follow(h.name) })
	}
	return w
}

// follow listens to the host's kernel, again and again as the host may go down.
func (w *addressWatch) follow(name string) {
	for {
		if err := w.listen(name); err != nil {
			w.note(name, false)
		}
		select {
		case <-w.done:
			return
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// listen ends with the host, or when the watch does: without an input the shell on the host ends what it has started.
func (w *addressWatch) listen(name string) error {
	cmd := exec.Command("docker", "exec", "--interactive", name, "sh", "-c",
		fmt.Sprintf("ip -oneline monitor address & ip -oneline address show to %s; cat; kill $!", w.address))
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() {
		select {
		case <-w.done:
		case <-ended:
		}
		_ = in.Close()
	}()
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if strings.Contains(lines.Text(), " "+w.address+"/") {
			w.note(name, !strings.HasPrefix(lines.Text(), "Deleted"))
		}
	}
	close(ended)
	return cmd.Wait()
}

func (w *addressWatch) note(name string, has bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.has[name] == has {
		return
	}
	w.has[name] = has
	w.changes = append(w.changes, time.Now())
	w.log = append(w.log, fmt.Sprintf("%s: %s has the address: %t", clock(time.Now()), name, has))
	if has {
		if w.last != "" && w.last != name {
			w.moves++
		}
		w.last = name
	}
}

func (w *addressWatch) owners() (names []string) {
	for name, has := range w.has {
		if has {
			names = append(names, name)
		}
	}
	return names
}

// owner is the host that has the address; an error if none or several have it.
func (w *addressWatch) owner() (string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if names := w.owners(); len(names) != 1 {
		return "", fmt.Errorf("%d hosts have the virtual address: %s", len(names), strings.Join(names, ", "))
	} else {
		return names[0], nil
	}
}

// reset forgets what has been counted.
func (w *addressWatch) reset() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.moves, w.changes, w.log = 0, nil, nil
}

// counted is how often the address has moved, and when hosts got it or lost it.
func (w *addressWatch) counted() (moves int, changes []time.Time, log string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.moves, slices.Clone(w.changes), strings.Join(w.log, "\n")
}

func (w *addressWatch) stop() {
	close(w.done)
	w.group.Wait()
}
