//go:build integration && chaos

package integration

import (
	"fmt"
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
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK || resp.Header.Get("X-Fake-Node") == "" {
		return fmt.Sprint("HTTP ", resp.StatusCode)
	}
	return ""
}

// stop ends the load and counts; what was sent before the given time is not
// counted as lost.
func (l *load) stop(t *testing.T, since time.Time) (sent, lost int) {
	t.Helper()
	close(l.done)
	l.group.Wait()
	for _, one := range l.lost {
		if !one.begun.Before(since) {
			if lost++; lost <= 3 {
				t.Logf("lost at %s: %s", one.begun.Format("15:04:05.000"), one.why)
			}
		}
	}
	return l.sent, lost
}
