//go:build integration && bench

package integration

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// way is one way to bring a change in Consul into HAProxy. Each has a service of
// its own with the same nodes, so that a change wakes nobody else.
type way struct {
	key, name, service string
	observer           *observer
	// period is how often the way polls: changes come at a random point of it.
	period time.Duration
	// before is called just before the i-th node changes.
	before func(i int, serve bool)
	// verified returns when the way itself was sure that the change has arrived.
	verified func(t *testing.T) time.Time

	leaving, returning                 samples
	leavingVerified, returningVerified samples
}

const (
	waysHandler = "handler"
	waysFloor   = "floor"
	waysDNS     = "dns"
	waysFastDNS = "dns-200ms"
	waysRender  = "consul-template"
)

// serviceOf is the name of the way's service in Consul.
func serviceOf(key string) string { return "bench-" + key }

// handlerWay runs this project's daemon.
func handlerWay(t *testing.T, b *bed) *way {
	t.Helper()
	b.config = benchHandlerConfig(t, b, serviceOf(waysHandler))
	b.run(t)
	m := metricsOf(t, b.config)
	return &way{
		key: waysHandler, name: "iri-lb-handler", service: serviceOf(waysHandler),
		observer: &observer{socket: b.dir + "/admin.sock", backend: "iri_back"},
		before:   func(int, bool) { m.proofs = m.mustGet(t, proofs) },
		verified: m.verified,
	}
}

// benchHandlerConfig has the resync interval of an installation.
func benchHandlerConfig(t *testing.T, b *bed, service string) string {
	t.Helper()
	return b.writeHandlerConfig(t, b.consul.address,
		"service: iri\n", "service: "+service+"\n", "resync_interval: 2s", "resync_interval: 30s", "log_level: info", "log_level: warn")
}

// metrics reads the handler's /metrics.
type metrics struct {
	url string
	// proofs is how many answers of Consul had been applied and verified.
	proofs float64
}

// proofs counts the answers of Consul of which the handler has verified that
// HAProxy has them.
const proofs = "convergence_seconds_count"

func metricsOf(t *testing.T, config string) *metrics {
	t.Helper()
	text, err := os.ReadFile(config)
	require.NoError(t, err)
	listen := regexp.MustCompile(`(?m)^listen: (\S+)$`).FindSubmatch(text)
	require.NotNil(t, listen, "no listen: in %s", config)
	return &metrics{url: "http://" + string(listen[1]) + "/metrics"}
}

// get returns the value of the first line of a metric, whatever its labels.
func (m *metrics) get(name string) (float64, bool) {
	resp, err := http.Get(m.url)
	if err != nil {
		return 0, false
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, false
	}
	for row := range strings.Lines(string(text)) {
		rest, ok := strings.CutPrefix(row, "iri_lb_handler_"+name)
		if ok && (rest[0] == ' ' || rest[0] == '{') {
			f, err := strconv.ParseFloat(strings.TrimSpace(rest[strings.LastIndexByte(rest, ' '):]), 64)
			return f, err == nil
		}
	}
	return 0, false
}

func (m *metrics) mustGet(t *testing.T, name string) float64 {
	t.Helper()
	v, ok := m.get(name)
	require.True(t, ok, "the handler does not show %s", name)
	return v
}

// verified waits until one more answer of Consul has been verified and returns
// when that was.
func (m *metrics) verified(t *testing.T) time.Time {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); m.mustGet(t, proofs) == m.proofs; time.Sleep(look) {
		require.True(t, time.Now().Before(deadline), "no verified pass within 10s")
	}
	return time.UnixMicro(int64(m.mustGet(t, "last_success_timestamp_seconds") * 1e6))
}

// floorSection is the floor's backend: as many slots as the handler's.
const floorSection = `
backend floor
    balance roundrobin
    server-template http 1-%d slot.invalid:1 disabled init-addr last,127.0.0.1
`

// floorWay does nothing but wait in a blocking query, read its answer to the end
// without a look at it, and write one command that was made before.
func floorWay(t *testing.T, b *bed, n int) *way {
	t.Helper()
	l, err := dialLine(b.dir + "/admin.sock")
	require.NoError(t, err)
	require.NoError(t, l.pipeline(fillCommands("floor", n)))
	var next atomic.Pointer[string]
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	url := b.consul.address + "/v1/health/service/" + serviceOf(waysFloor)
	go func() { done <- runFloor(ctx, url, l, &next) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the floor ended early: %v", err)
		}
	})
	return &way{
		key: waysFloor, name: "floor: bare blocking query and bare write", service: serviceOf(waysFloor),
		observer: &observer{socket: b.dir + "/admin.sock", backend: "floor"},
		before: func(i int, serve bool) {
			command := fmt.Sprintf("set server floor/http%d state %s\n", i+1, map[bool]string{true: "ready", false: "maint"}[serve])
			next.Store(&command)
		},
	}
}

func runFloor(ctx context.Context, url string, l *line, next *atomic.Pointer[string]) error {
	// Without compression: Consul would spend time on it.
	client := &http.Client{Transport: &http.Transport{DisableCompression: true}}
	for index := "0"; ; {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"?wait=5m&index="+index, nil)
		if err != nil {
			return err
		}
		resp, err := client.Do(req)
		if err == nil {
			_, err = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
			index = resp.Header.Get("X-Consul-Index")
		}
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		if command := next.Swap(nil); command != nil {
			if _, err := io.WriteString(l.conn, *command); err != nil {
				return err
			}
			if _, err := l.answer(); err != nil {
				return err
			}
		}
	}
}

// fillCommands puts n nodes into a backend's slots.
func fillCommands(backend string, n int) []string {
	commands := make([]string, 0, 4*n)
	for i := range n {
		slot := fmt.Sprintf("%s/http%d", backend, i+1)
		commands = append(commands, fmt.Sprintf("set server %s addr %s port %d", slot, benchAddr(i), nodePort),
			"set server "+slot+" weight 10", "set maxconn server "+slot+" 100", "set server "+slot+" state ready")
	}
	return commands
}

// dnsSection lets HAProxy itself ask Consul's DNS. One UDP answer holds about
// sixty nodes; for more the nameserver is asked over TCP.
const dnsSection = `
resolvers %[1]s
    nameserver consul %[2]s
    accepted_payload_size %[3]d
%[4]s
backend %[1]s
    balance roundrobin
    server-template s 1-%[5]d _%[6]s._tcp.service.consul resolvers %[1]s resolve-prefer ipv4 resolve-opts allow-dup-ip init-addr none
`

func dnsText(key string, port, n int) string {
	nameserver, size, timeout := fmt.Sprintf("127.0.0.1:%d", port), 8192, ""
	if n > 60 {
		nameserver, size = "tcp@"+nameserver, 65535
	}
	if key == waysFastDNS {
		timeout = "    timeout resolve 200ms"
	}
	return fmt.Sprintf(dnsSection, key, nameserver, size, timeout, n, serviceOf(key))
}

func dnsWay(h *haproxy, key, name string, period time.Duration) *way {
	return &way{
		key: key, name: name, service: serviceOf(key), period: period,
		observer: &observer{socket: h.dir + "/admin.sock", backend: key},
	}
}

const renderConfig = `consul {
  address = "%[1]s"
}
kill_signal = "SIGTERM"
log_level = "warn"
template {
  source = "%[2]s/haproxy.ctmpl"
  destination = "%[2]s/haproxy.cfg"
  exec {
    command = [%[3]s]
  }
}
`

// renderTemplate: HAProxy checks the file itself before it lets the old worker
// go, so no "haproxy -c" is run for it, which makes the reload faster.
const renderTemplate = `global
    stats socket %[1]s/admin.sock mode 666 level admin expose-fd listeners
    hard-stop-after 1s
defaults
    mode http
    timeout connect 2s
    timeout client 10s
    timeout server 30s
frontend front
    bind 127.0.0.1:%[2]d
    default_backend render
backend render
    balance roundrobin%[3]s
`

const renderRange = `{{ range service "%s|passing" }}
    server {{ .ID }} {{ .Address }}:{{ .Port }} weight 10 maxconn 100{{ end }}`

func renderProgram() string {
	if path, err := exec.LookPath("consul-template"); err == nil {
		return path
	}
	out, err := exec.Command("go", "env", "GOPATH").Output()
	if err != nil {
		return ""
	}
	path, err := exec.LookPath(filepath.Join(strings.TrimSpace(string(out)), "bin", "consul-template"))
	if err != nil {
		return ""
	}
	return path
}

// renderWay runs consul-template and a HAProxy of its own that it reloads.
func renderWay(t *testing.T, c *consul) *way {
	t.Helper()
	h := &haproxy{dir: socketDir(t)}
	port := freePorts(t, 1)[0]
	h.configure(t, fmt.Sprintf(renderTemplate, h.dir, port, ""))
	h.container = startContainer(t, image("HAPROXY_IMAGE", "haproxy:3.0"), []string{"haproxy"},
		[]string{"-W", "-db", "-f", h.dir + "/haproxy.cfg"}, h.dir+":"+h.dir)
	eventually(t, 20*time.Second, "the reloaded HAProxy answers", func() error { _, err := h.command("show info"); return err })

	for name, text := range map[string]string{
		"haproxy.ctmpl": fmt.Sprintf(renderTemplate, h.dir, port, fmt.Sprintf(renderRange, serviceOf(waysRender))),
		"render.hcl":    fmt.Sprintf(renderConfig, strings.TrimPrefix(c.address, "http://"), h.dir, reloadCommand(t, h)),
	} {
		require.NoError(t, os.WriteFile(h.dir+"/"+name, []byte(text), 0o600))
	}
	p := &process{cmd: exec.Command(renderProgram(), "-config", h.dir+"/render.hcl"), log: &lockedBuffer{}}
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	require.NoError(t, p.cmd.Start())
	t.Cleanup(func() {
		p.stop(syscall.SIGTERM)
		if t.Failed() {
			t.Logf("consul-template:\n%s", p.log)
		}
	})
	return &way{
		key: waysRender, name: "consul-template and a reload", service: serviceOf(waysRender),
		observer: &observer{socket: h.dir + "/admin.sock", backend: "render", reloads: true},
	}
}

// reloadCommand signals the container's first process, HAProxy's master: without
// a detour over Docker where this process may.
func reloadCommand(t *testing.T, h *haproxy) string {
	t.Helper()
	if os.Geteuid() != 0 {
		return `"docker", "kill", "-s", "USR2", "` + h.container.Container.ID + `"`
	}
	c, err := docker.Client.InspectContainer(h.container.Container.ID)
	require.NoError(t, err)
	return fmt.Sprintf(`"kill", "-USR2", "%d"`, c.State.Pid)
}

// serves says how many of the n nodes serve within the time.
func (w *way) serves(t *testing.T, n int, within time.Duration) int {
	t.Helper()
	for deadline := time.Now().Add(within); ; time.Sleep(100 * time.Millisecond) {
		if got := w.observer.count(t); got == n || time.Now().After(deadline) {
			return got
		}
	}
}
