//go:build integration

package frontend

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nuriel77/iri-lb-haproxy/test/harness"
)

// request is what a wallet sends, in any version of HTTP.
type request struct {
	method string // "" for POST
	header http.Header
	// plain: without X-IOTA-API-Version.
	plain bool
	body  string
	// chunk is the size of the pieces in which the body is sent, without Content-Length; 0 for one piece, with it.
	chunk int
	// source is the client's address, "" for 127.0.0.1.
	source string
}

// answer is the response to a request.
type answer struct {
	status int
	phrase string // of the status line; HTTP/2 has none
	proto  int    // the major version of HTTP
	header http.Header
	body   []byte
}

// client sends a request to HAProxy, on a new connection each time.
type client func(f *harness.HAProxy, r request) (answer, error)

const patience = 20 * time.Second

func (r request) verb() string {
	if r.method == "" {
		return http.MethodPost
	}
	return r.method
}

// headers are all headers that the test chooses.
func (r request) headers() http.Header {
	all := http.Header{"Content-Type": {"application/json"}}
	if !r.plain {
		all.Set("X-IOTA-API-Version", "1")
	}
	for name, values := range r.header {
		all[name] = values
	}
	return all
}

// dial connects from a source address.
func dial(f *harness.HAProxy, source string) (net.Conn, error) {
	if source == "" {
		source = "127.0.0.1"
	}
	dialer := net.Dialer{Timeout: patience, LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)}}
	target, err := url.Parse(f.URL)
	if err != nil {
		return nil, err
	}
	return dialer.Dial("tcp", target.Host)
}

// dialTLS also starts TLS if HAProxy has a certificate.
func dialTLS(f *harness.HAProxy, source, protocol string) (net.Conn, error) {
	c, err := dial(f, source)
	if err != nil || !f.HTTPS {
		return c, err
	}
	config, err := harness.Trusting(f.WalletsCA())
	if err != nil {
		return nil, err
	}
	config.NextProtos = []string{protocol}
	secured := tls.Client(c, config)
	if err := secured.Handshake(); err != nil {
		_ = c.Close()
		return nil, err
	}
	return secured, nil
}

// viaNetHTTP uses Go's standard library: HTTP/2 where HAProxy offers it, otherwise HTTP/1.1.
func viaNetHTTP(f *harness.HAProxy, r request) (answer, error) {
	transport := &http.Transport{
		DisableKeepAlives: true, DisableCompression: true, ForceAttemptHTTP2: f.HTTPS,
		DialContext: func(context.Context, string, string) (net.Conn, error) { return dial(f, r.source) },
	}
	if f.HTTPS {
		config, err := harness.Trusting(f.WalletsCA())
		if err != nil {
			return answer{}, err
		}
		transport.TLSClientConfig = config
	}
	defer transport.CloseIdleConnections()
	var body io.Reader = strings.NewReader(r.body)
	if r.chunk > 0 {
		body = &pieces{rest: []byte(r.body), size: r.chunk}
	}
	req, err := http.NewRequest(r.verb(), f.URL, body)
	if err != nil {
		return answer{}, err
	}
	req.Header = r.headers()
	resp, err := (&http.Client{Transport: transport, Timeout: patience}).Do(req)
	if err != nil {
		return answer{}, err
	}
	return readAnswer(resp)
}

// pieces is a body of unknown length that arrives size bytes at a time.
type pieces struct {
	rest []byte
	size int
}

func (p *pieces) Read(to []byte) (int, error) {
	if len(p.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(to, p.rest[:min(p.size, len(p.rest))])
	p.rest = p.rest[n:]
	return n, nil
}

// viaRaw writes HTTP/1.1 by hand: each chunk of the request is one chunk on the wire.
func viaRaw(f *harness.HAProxy, r request) (answer, error) {
	var out bytes.Buffer
	fmt.Fprintf(&out, "%s / HTTP/1.1\r\nHost: iri\r\nConnection: close\r\n", r.verb())
	_ = r.headers().Write(&out)
	if r.chunk == 0 {
		fmt.Fprintf(&out, "Content-Length: %d\r\n\r\n%s", len(r.body), r.body)
	} else {
		out.WriteString("Transfer-Encoding: chunked\r\n\r\n" + chunked(r.body, r.chunk, ""))
	}
	answers, err := exchange(f, r.source, 1, out.String())
	if err != nil {
		return answer{}, err
	}
	if len(answers) != 1 {
		return answer{}, fmt.Errorf("%d answers to one request", len(answers))
	}
	return answers[0], nil
}

// chunked encodes a body in chunks of size bytes, each with the extension.
func chunked(body string, size int, extension string) string {
	var out strings.Builder
	for len(body) > 0 {
		n := min(size, len(body))
		out.WriteString(strconv.FormatInt(int64(n), 16) + extension + "\r\n" + body[:n] + "\r\n")
		body = body[n:]
	}
	return out.String() + "0\r\n\r\n"
}

// untilContinue, as a part to send, waits for the interim answer 100.
const untilContinue = "\x00wait for 100\x00"

// exchange sends the parts as they are, each in a packet of its own, and reads answers until HAProxy closes the
// connection. It closes its own side after the expected number of answers (0: at once): if it did so earlier, HAProxy
// would not answer what it has not read yet.
func exchange(f *harness.HAProxy, source string, expected int, parts ...string) ([]answer, error) {
	c, err := dialTLS(f, source, "http/1.1")
	if err != nil {
		return nil, err
	}
	defer func() { _ = c.Close() }()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	in := bufio.NewReader(c)
	var group sync.WaitGroup
	defer group.Wait()
	first := 0
	for i, part := range parts {
		if part == untilContinue {
			if err := writeParts(c, parts[first:i]); err != nil {
				return nil, err
			}
			line, err := in.ReadString('\n')
			if err != nil || !strings.Contains(line, " 100 ") {
				return nil, fmt.Errorf("wanted an answer 100, got %q, %v", line, err)
			}
			if _, err := in.ReadString('\n'); err != nil {
				return nil, err
			}
			first = i + 1
		}
	}
	end := func(count int) {
		if half, ok := c.(interface{ CloseWrite() error }); ok && count == expected {
			_ = half.CloseWrite()
		}
	}
	// HAProxy may refuse a request before its whole body has been written.
	written := make(chan struct{})
	group.Go(func() {
		defer close(written)
		_ = writeParts(c, parts[first:])
		end(0)
	})
	answers, err := readAnswers(in, func(count int) { <-written; end(count) })
	_ = c.Close()
	return answers, err
}

func writeParts(c net.Conn, parts []string) error {
	for i, part := range parts {
		if i > 0 {
			harness.ShortDelay() // for a packet of its own
		}
		if _, err := io.WriteString(c, part); err != nil {
			return err
		}
	}
	return nil
}

// readAnswers calls counted after each answer.
func readAnswers(in *bufio.Reader, counted func(int)) (answers []answer, err error) {
	for {
		if _, err := in.Peek(1); err != nil {
			if err == io.EOF {
				err = nil
			}
			return answers, err
		}
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			return answers, err
		}
		a, err := readAnswer(resp)
		if err != nil {
			return answers, err
		}
		if a.status != http.StatusContinue {
			answers = append(answers, a)
			counted(len(answers))
		}
	}
}

func readAnswer(resp *http.Response) (answer, error) {
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	_, phrase, _ := strings.Cut(resp.Status, " ")
	return answer{status: resp.StatusCode, phrase: phrase, proto: resp.ProtoMajor, header: resp.Header, body: body}, err
}

// send is for a request that must get an answer.
func (p *pools) send(t *testing.T, r request) answer {
	t.Helper()
	got, err := viaNetHTTP(p.HAProxy, r)
	require.NoError(t, err)
	return got
}
