//go:build integration

package bench

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nuriel77/iri-lb-haproxy/test/harness"
)

// way is one way to bring a change in Consul into HAProxy. Each has a service of its own with the same nodes, so that a
// change wakes no other way.
type way struct {
	key, name, service string
	observer           *observer
	// period is the way's polling interval: changes come at a random point of it.
	period time.Duration
	// before is called just before the i-th node changes.
	before func(i int, serve bool)
	// verified returns when the way itself was sure that the change had arrived.
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
func handlerWay(t *testing.T, b *harness.Bed) *way {
	t.Helper()
	configure(t, b, serviceOf(waysHandler))
	b.Run(t)
	m := metricsOf(b)
	return &way{
		key: waysHandler, name: "iri-lb-handler", service: serviceOf(waysHandler),
		observer: &observer{socket: b.AdminSocket(), backend: harness.Backend},
		before:   func(int, bool) { m.proofs = m.mustGet(t, proofs) },
		verified: m.verified,
	}
}

// configure has the resync interval of an installation.
func configure(t *testing.T, b *harness.Bed, service string) {
	t.Helper()
	b.Change(t, func(c *harness.HandlerConfig) {
		c.Service, c.ResyncInterval, c.LogLevel = service, 30*time.Second, "warn"
	})
}

// startHAProxy has n slots in each pool, and more sections. Health checks are off: what is measured is how a state in
// Consul reaches HAProxy, and the nodes do not exist.
func startHAProxy(t *testing.T, n int, sections string) *harness.HAProxy {
	t.Helper()
	return harness.StartHAProxy(t, harness.WithSlots(n), harness.WithoutHealthChecks(), harness.WithSections(sections))
}

// metrics reads the handler's /metrics.
type metrics struct {
	url string
	// proofs is the last value of the metric of that name.
	proofs float64
}

// proofs counts the answers of Consul that the handler has applied and verified.
const proofs = "convergence_seconds_count"

func metricsOf(b *harness.Bed) *metrics {
	return &metrics{url: "http://" + b.Config.Listen + "/metrics"}
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

// verified waits until one more answer of Consul has been verified and returns when that was.
func (m *metrics) verified(t *testing.T) time.Time {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); m.mustGet(t, proofs) == m.proofs; time.Sleep(look) { // between two looks
		require.True(t, time.Now().Before(deadline), "nothing was verified within 10s")
	}
	return time.UnixMicro(int64(m.mustGet(t, "last_success_timestamp_seconds") * 1e6))
}

// floorSection is the floor's backend, with as many slots as the handler's.
const floorSection = `
backend floor
    balance roundrobin
    server-template http 1-%d slot.invalid:1 disabled init-addr last,127.0.0.1
`

// floorWay only waits in a blocking query, reads the answer to its end without parsing it, and writes one prepared
// command.
func floorWay(t *testing.T, b *harness.Bed, n int) *way {
	t.Helper()
	l, err := dialLine(b.AdminSocket())
	require.NoError(t, err)
	require.NoError(t, l.pipeline(fillCommands("floor", n)))
	var next atomic.Pointer[string]
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	url := b.Consul.Address + "/v1/health/service/" + serviceOf(waysFloor)
	go func() { done <- runFloor(ctx, url, l, &next) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the floor ended early: %v", err)
		}
	})
	return &way{
		key: waysFloor, name: "floor: bare blocking query and bare write", service: serviceOf(waysFloor),
		observer: &observer{socket: b.AdminSocket(), backend: "floor"},
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
		commands = append(commands, fmt.Sprintf("set server %s addr %s port %d", slot, harness.ManyAddress(i), harness.NodePort),
			"set server "+slot+" weight 10", "set maxconn server "+slot+" 100", "set server "+slot+" state ready")
	}
	return commands
}

// dnsSection lets HAProxy itself query Consul's DNS. One UDP answer holds about sixty nodes; for more, TCP is used.
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

func dnsWay(h *harness.HAProxy, key, name string, period time.Duration) *way {
	return &way{
		key: key, name: name, service: serviceOf(key), period: period,
		observer: &observer{socket: h.AdminSocket(), backend: key},
	}
}

const renderConfig = `consul {
  address = "%[1]s"
}
kill_signal = "SIGTERM"
log_level = "warn"
template {
  source = "%[2]s"
  destination = "%[3]s"
  exec {
    command = [%[4]s]
  }
}
`

// renderTemplate: HAProxy itself checks the file before the old worker ends, so there is no "haproxy -c", which makes
// the reload faster.
const renderTemplate = `global
    stats socket %[1]s mode 666 level admin expose-fd listeners
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
func renderWay(t *testing.T, c *harness.Consul) *way {
	t.Helper()
	h := harness.NewHAProxy(t)
	port := harness.FreePorts(t, 1)[0]
	h.Configure(t, fmt.Sprintf(renderTemplate, h.AdminSocket(), port, ""))
	h.Start(t)
	source, config := h.Dir+"/haproxy.ctmpl", h.Dir+"/render.hcl"
	for path, text := range map[string]string{
		source: fmt.Sprintf(renderTemplate, h.AdminSocket(), port, fmt.Sprintf(renderRange, serviceOf(waysRender))),
		config: fmt.Sprintf(renderConfig, strings.TrimPrefix(c.Address, "http://"), source, h.ConfigFile(), reloadCommand(t, h)),
	} {
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	}
	harness.StartCommand(t, renderProgram(), "-config", config)
	return &way{
		key: waysRender, name: "consul-template and a reload", service: serviceOf(waysRender),
		observer: &observer{socket: h.AdminSocket(), backend: "render", reloads: true},
	}
}

// reloadCommand signals the container's first process, HAProxy's master: without a detour over Docker where this
// process may.
func reloadCommand(t *testing.T, h *harness.HAProxy) string {
	t.Helper()
	if os.Geteuid() != 0 {
		return `"docker", "kill", "-s", "USR2", "` + h.Container.ID() + `"`
	}
	return fmt.Sprintf(`"kill", "-USR2", "%d"`, h.Container.PID(t))
}

// serves returns how many of the n nodes are in service, at the latest after the given time.
func (w *way) serves(t *testing.T, n int, within time.Duration) int {
	t.Helper()
	for deadline := time.Now().Add(within); ; time.Sleep(100 * time.Millisecond) { // between two looks
		if got := w.observer.count(t); got == n || time.Now().After(deadline) {
			return got
		}
	}
}
