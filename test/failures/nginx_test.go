package failures

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nuriel77/iri-lb-haproxy/test/harness"
)

// nginxImage is made by `tools/images.sh --nginx`.
const nginxImage = "nginx:1.26.3"

// nginxFormat has the folder, the nodes and the port. What can be repeated is, and a node that has failed three times is
// left out for ten seconds, nginx's default. nginx decides nothing by a request's body, so that a second node may get an
// attachToTangle, too: without non_idempotent no POST would be repeated.
const nginxFormat = `daemon off;
user root;
worker_processes auto;
pid %[1]s/nginx.pid;
error_log stderr warn;
events { worker_connections 1024; }
http {
    access_log off;
    client_max_body_size 1m;
    client_body_buffer_size 1m;
    keepalive_requests 1000000;
    upstream nodes {
        zone nodes 64k;
%[2]s        keepalive 32;
    }
    server {
        listen 127.0.0.1:%[3]d;
        location / {
            proxy_pass http://nodes;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host iri;
            proxy_set_header X-Forwarded-For $remote_addr;
            proxy_connect_timeout 5s;
            proxy_send_timeout 5s;
            proxy_read_timeout 5s;
            proxy_next_upstream error timeout invalid_header http_502 http_503 http_504 non_idempotent;
            proxy_next_upstream_tries 3;
        }
    }
}
`

func newNginx(run *testing.T, network string) *configuration {
	run.Helper()
	c := &configuration{key: "nginx", name: "nginx", nodes: startNodes(run, network)}
	dir, port := harness.ShortDir(run), harness.FreePorts(run, 1)[0]
	var servers strings.Builder
	for _, n := range c.nodes {
		fmt.Fprintf(&servers, "        server %s max_fails=3 fail_timeout=10s;\n", harness.At(n.host))
	}
	file := filepath.Join(dir, "nginx.conf")
	require.NoError(run, os.WriteFile(file, fmt.Appendf(nil, nginxFormat, dir, servers.String(), port), 0o600))
	c.balancer = &nginx{Container: harness.StartContainer(run, nginxImage, "nginx", []string{"-c", file}, dir+":"+dir)}
	c.url = "http://" + harness.Local(port) + "/"
	return c
}

// nginx tells of its nodes only in its log.
type nginx struct {
	*harness.Container
	began time.Time
}

// takesAll: nginx checks no node. That each answers is asked elsewhere.
func (*nginx) takesAll() error { return nil }

func (n *nginx) watch(*testing.T) { n.began = time.Now() }

func (n *nginx) takenOut(t *testing.T) map[string]time.Time {
	t.Helper()
	out := map[string]time.Time{}
	for line := range strings.Lines(n.LogsSince(t, n.began)) {
		host, at, err := parseDisabled(line)
		if err == nil && at.After(n.began) && out[host].IsZero() {
			out[host] = at
		}
	}
	return out
}

var errOtherLine = errors.New("no node is taken out")

// parseDisabled reads a line of nginx's log, with Docker's time before it.
func parseDisabled(line string) (host string, at time.Time, err error) {
	stamp, text, _ := strings.Cut(line, " ")
	_, upstream, named := strings.Cut(text, `upstream: "http://`)
	if !named || !strings.Contains(text, "upstream server temporarily disabled") {
		return "", time.Time{}, errOtherLine
	}
	host, _, _ = strings.Cut(upstream, ":")
	at, err = time.Parse(time.RFC3339Nano, stamp)
	return host, at, err
}

func TestParseDisabled(t *testing.T) {
	host, at, err := parseDisabled(`2026-11-28T15:02:03.123456789Z 2026/11/28 15:02:03 [warn] 7#7: *12 upstream server temporarily disabled while ` +
		`connecting to upstream, client: 127.0.0.1, server: , request: "POST / HTTP/1.1", upstream: "http://127.0.7.1:14265/", host: "127.0.0.1:2"`)
	require.NoError(t, err)
	require.Equal(t, "127.0.7.1", host)
	require.Equal(t, time.Date(2026, 11, 28, 15, 2, 3, 123456789, time.UTC), at)
	_, _, err = parseDisabled(`2026-11-28T15:02:03.1Z 2026/11/28 15:02:03 [error] 7#7: *12 connect() failed, upstream: "http://127.0.7.1:14265/"`)
	require.ErrorIs(t, err, errOtherLine)
}
