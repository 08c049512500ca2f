package failures

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/nuriel77/iri-lb-haproxy/test/harness"
)

// request is one of a wallet's, after its end.
type request struct {
	command string
	began   time.Time
	took    time.Duration
	// node is who gave the proper answer, "" for none.
	node string
	// reason is what an error said, and unanswered that the wallet has waited until the end of the cell.
	reason     string
	unanswered bool
	// seen is the status, or what is wrong with the connection.
	seen string
}

// load is all wallets.
type load struct {
	url    string
	stop   chan struct{}
	cancel context.CancelFunc
	group  sync.WaitGroup

	mu       sync.Mutex
	requests []request
	// lastBegan is when the latest request of all was sent.
	lastBegan time.Time
}

var errCellEnds = errors.New("the cell ends")

func startWallets(url string, commands ...command) *load {
	ctx, cancel := context.WithCancelCause(context.Background())
	l := &load{url: url, stop: make(chan struct{}), cancel: func() { cancel(errCellEnds) }}
	for _, c := range commands {
		for i := range c.wallets {
			l.group.Go(func() { l.wallet(ctx, c, c.every*time.Duration(i)/time.Duration(c.wallets)) })
		}
	}
	return l
}

// wallet sends its command at its pace, on a connection that it keeps.
func (l *load) wallet(ctx context.Context, c command, offset time.Duration) {
	harness.Keep(offset) // so that wallets do not send at the same moment
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	ticker := time.NewTicker(c.every)
	defer ticker.Stop()
	for {
		select {
		case <-l.stop:
			return
		case <-ticker.C:
		}
		if ctx.Err() != nil { // both of the above may be ready
			return
		}
		l.mu.Lock()
		l.lastBegan = time.Now()
		l.mu.Unlock()
		r := c.send(ctx, client, l.url)
		l.mu.Lock()
		l.requests = append(l.requests, r)
		l.mu.Unlock()
	}
}

func (c command) send(ctx context.Context, client *http.Client, url string) request {
	r := request{command: c.name, began: time.Now()}
	status, body, node, err := c.ask(ctx, client, url)
	r.took = time.Since(r.began)
	if err != nil {
		r.seen, r.unanswered = err.Error(), errors.Is(context.Cause(ctx), errCellEnds)
		return r
	}
	proper, reason := c.judge(status, body)
	if proper {
		r.node = node
	}
	r.seen, r.reason = fmt.Sprint("HTTP ", status), reason
	return r
}

func (c command) ask(ctx context.Context, client *http.Client, url string) (status int, body []byte, node string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(c.body))
	if err != nil {
		return 0, nil, "", err
	}
	req.Header.Set("X-IOTA-API-Version", "1")
	resp, err := client.Do(req)
	if err != nil {
		return 0, nil, "", err
	}
	body, err = io.ReadAll(resp.Body)
	return resp.StatusCode, body, resp.Header.Get("X-Fake-Node"), errors.Join(err, resp.Body.Close())
}

// end stops the wallets. Requests that have been waiting for two more seconds are given up.
func (l *load) end() []request {
	close(l.stop)
	giveUp := time.AfterFunc(2*time.Second, l.cancel)
	l.group.Wait()
	giveUp.Stop()
	l.cancel()
	return l.requests
}

// allWait says that no wallet has sent anything for some time: all of them wait for their answers.
func (l *load) allWait(lately time.Duration) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return time.Since(l.lastBegan) > lately
}

// answeredBy is when the node gave the first proper answer to a request that began after a time, the zero time for none.
// Proof of work does not count: it is rare.
func (l *load) answeredBy(host string, after time.Time) (at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.requests {
		if ended := r.began.Add(r.took); r.node == host && r.command != "attachToTangle" && r.began.After(after) && (at.IsZero() || ended.Before(at)) {
			at = ended
		}
	}
	return at
}
