package harness

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Ask sends one wallet request and returns the name of the node that answered.
func Ask(url string) (node string, err error) {
	return AskWith(&http.Client{Timeout: 10 * time.Second}, url)
}

// AskWith does the same with a client of the test's own.
func AskWith(client *http.Client, url string) (node string, err error) {
	return askFor(client, url, "getNodeInfo")
}

// askFor sends a command and reads the answer to its end: it may be cut off, and only then is the connection kept.
func askFor(client *http.Client, url, command string) (node string, err error) {
	req, err := http.NewRequest(http.MethodPost, url, strings.NewReader(`{"command":"`+command+`"}`))
	if err != nil {
		return "", err
	}
	req.Header.Set("X-IOTA-API-Version", "1")
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return "", err
	}
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("HTTP %d", resp.StatusCode)
	}
	if node = resp.Header.Get("X-Fake-Node"); node == "" {
		return "", errors.New("HTTP 200, but not from a node")
	}
	return node, nil
}

// Load sends requests without a break until it is stopped, and remembers which were lost.
type Load struct {
	done  chan struct{}
	group sync.WaitGroup

	mu      sync.Mutex
	sent    int
	lost    []loss
	longest time.Duration
}

// loss is a request that failed.
type loss struct {
	began time.Time
	why   string
}

// Figures are what wallets have seen: requests, those that failed, and the longest that one took to its answer.
type Figures struct {
	Sent, Lost int
	Longest    time.Duration
}

func (f Figures) String() string {
	return fmt.Sprintf("%d of %d requests were lost; the longest took %s", f.Lost, f.Sent, f.Longest.Round(time.Millisecond))
}

// StartLoad calls each of the functions again and again, all at the same time.
func StartLoad(send ...func() error) *Load {
	l := &Load{done: make(chan struct{})}
	for _, f := range send {
		l.group.Go(func() { l.run(f) })
	}
	return l
}

// StartWallets is the load of four wallets.
func StartWallets(url string) *Load { return startWallets(url, "getNodeInfo") }

// StartPoWWallets is the same load for the pool of proof of work. Its command is one that needs no proof, so that the
// requests are many and short. The nodes have to run with -pow.
func StartPoWWallets(url string) *Load { return startWallets(url, "interruptAttachingToTangle") }

func startWallets(url, command string) *Load {
	ask := func() error {
		_, err := askFor(&http.Client{Timeout: 10 * time.Second}, url, command)
		return err
	}
	return StartLoad(ask, ask, ask, ask)
}

func (l *Load) run(send func() error) {
	for {
		select {
		case <-l.done:
			return
		default:
		}
		began := time.Now()
		err := send()
		l.mu.Lock()
		l.sent++
		l.longest = max(l.longest, time.Since(began))
		if err != nil {
			l.lost = append(l.lost, loss{began, err.Error()})
		}
		l.mu.Unlock()
		time.Sleep(time.Millisecond) // the load's pace: it leaves the machine to what is tested
	}
}

// Sent is how many requests have ended so far.
func (l *Load) Sent() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sent
}

// WaitSent waits until so many more requests have ended.
func (l *Load) WaitSent(t *testing.T, more int) {
	t.Helper()
	until := l.Sent() + more
	Eventually(t, 30*time.Second, fmt.Sprintf("%d more requests", more), func() error {
		if n := l.Sent(); n < until {
			return fmt.Errorf("%d of %d", n, until)
		}
		return nil
	})
}

// Figures are those of all requests that have ended so far.
func (l *Load) Figures() Figures {
	l.mu.Lock()
	defer l.mu.Unlock()
	return Figures{Sent: l.sent, Lost: len(l.lost), Longest: l.longest}
}

// LastLoss is when the last request that was lost began, the zero time for none.
func (l *Load) LastLoss() (began time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, one := range l.lost {
		if one.began.After(began) {
			began = one.began
		}
	}
	return began
}

// End ends the load, whatever was lost.
func (l *Load) End() {
	close(l.done)
	l.group.Wait()
}

// Stop ends the load and requires that no request was lost.
func (l *Load) Stop(t *testing.T) {
	t.Helper()
	l.End()
	require.Positive(t, l.sent)
	if len(l.lost) > 0 {
		t.Fatalf("%s; the first lost one: %s", l.Figures(), l.lost[0].why)
	}
	t.Log(l.Figures())
}

// LostBetween counts what was lost of the requests that began in that time, and logs the first ones.
func (l *Load) LostBetween(t *testing.T, from, to time.Time) (lost int) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, one := range l.lost {
		if !one.began.Before(from) && one.began.Before(to) {
			if lost++; lost <= 3 {
				t.Logf("lost at %s: %s", one.began.Format("15:04:05.000"), one.why)
			}
		}
	}
	return lost
}
