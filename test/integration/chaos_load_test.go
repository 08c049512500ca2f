//go:build integration && chaos

package integration

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// clients is how many send requests at the same time, half of them on a
// connection that they keep.
const clients = 8

// load sends requests without a pause and remembers which were lost.
type load struct {
	url   string
	done  chan struct{}
	group sync.WaitGroup

	mu   sync.Mutex
	sent int
	lost []loss
}

// loss is a request that got no answer of a node.
type loss struct {
	begun time.Time
	why   string
}

func startLoad(url string) *load {
	l := &load{url: url, done: make(chan struct{})}
	for i := range clients {
		client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: i%2 == 0}}
		l.group.Go(func() { l.send(client) })
	}
	return l
}

func (l *load) send(client *http.Client) {
	for {
		select {
		case <-l.done:
			return
		default:
		}
		begun := time.Now()
		why := l.one(client)
		l.mu.Lock()
		l.sent++
		if why != "" {
			l.lost = append(l.lost, loss{begun, why})
		}
		l.mu.Unlock()
		time.Sleep(2 * time.Millisecond)
	}
}

// one says why the request was lost, "" when a node answered it.
func (l *load) one(client *http.Client) string {
	req, err := http.NewRequest(http.MethodPost, l.url, strings.NewReader(`{"command":"getNodeInfo"}`))
	if err != nil {
		return err.Error()
	}
	req.Header.Set("X-IOTA-API-Version", "1")
	resp, err := client.Do(req)
	if err != nil {
		return err.Error()
	}
	// To the end: an answer may be cut off, and only then is the connection kept.
	_, err = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	if err != nil {
		return err.Error()
	}
	if resp.StatusCode != http.StatusOK || resp.Header.Get("X-Fake-Node") == "" {
		return fmt.Sprint("HTTP ", resp.StatusCode)
	}
	return ""
}

// stop ends the load.
func (l *load) stop() {
	close(l.done)
	l.group.Wait()
}

// between counts what was lost of the requests that began in that time.
func (l *load) between(t *testing.T, from, to time.Time) (lost int) {
	t.Helper()
	for _, one := range l.lost {
		if !one.begun.Before(from) && one.begun.Before(to) {
			if lost++; lost <= 3 {
				t.Logf("lost at %s: %s", one.begun.Format("15:04:05.000"), one.why)
			}
		}
	}
	return lost
}
