//go:build integration

package integration

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ory/dockertest/v3"
	dc "github.com/ory/dockertest/v3/docker"
	"github.com/stretchr/testify/require"
)

// front is HAProxy in a container with the playbook's whole configuration.
type front struct {
	// dir has the folders etc, lib and run, which are /etc/haproxy,
	// /var/lib/haproxy and /run/haproxy in the container.
	dir string
	// url is the wallets' address.
	url       string
	port      int
	statsPort int
	https     bool
	statsTLS  bool
	container *dockertest.Resource
}

// startFront runs HAProxy with templates/haproxy.cfg.j2, rendered by Ansible from
// group_vars/all and the variables on top of it. Nobody is whitelisted, and
// HAProxy does not check the nodes, unless the variables say so.
func startFront(t *testing.T, vars map[string]any) *front {
	t.Helper()
	f := prepareFront(t, vars)
	f.run(t)
	return f
}

// prepareFront writes all files of a HAProxy that is not started yet.
func prepareFront(t *testing.T, vars map[string]any) *front {
	t.Helper()
	return prepareFronts(t, []string{"127.0.0.1"}, vars)[0]
}

// prepareFronts does the same for the load balancers of one installation, by
// their addresses.
func prepareFronts(t *testing.T, addresses []string, vars map[string]any) []*front {
	t.Helper()
	ports := freePorts(t, 4)
	all := map[string]any{
		"lb_bind_address": "{{ consul_bind_address }}", "iri_api_port_remote": ports[0],
		"haproxy_stats_address": "{{ consul_bind_address }}", "haproxy_stats_port": ports[1],
		"haproxy_admin_address": fmt.Sprintf("{{ consul_bind_address }}:%d", ports[2]), "haproxy_peers_port": ports[3],
		"haproxy_https": false, "haproxy_health_checks": false, "haproxy_whitelist": []string{},
		"max_backend_slots": 5, "max_backend_tls_slots": 2, "max_pow_backend_slots": 5, "max_pow_backend_tls_slots": 2,
		"__common_ca_file": "/etc/haproxy/ca.pem",
	}
	maps.Copy(all, vars)
	files := renderFront(t, addresses, all)
	var fronts []*front
	for _, address := range addresses {
		f := &front{dir: socketDir(t), port: ports[0], statsPort: ports[1], https: all["haproxy_https"] == true, statsTLS: all["haproxy_stats_https"] == true}
		scheme := "http"
		if f.https {
			scheme = "https"
		}
		f.url = fmt.Sprintf("%s://%s:%d/", scheme, address, f.port)
		for _, folder := range []string{"etc/ssl", "lib", "run"} {
			require.NoError(t, os.MkdirAll(filepath.Join(f.dir, folder), 0o755))
		}
		f.writeFiles(t)
		require.NoError(t, os.Rename(files[address], f.dir+"/etc/haproxy.cfg"))
		fronts = append(fronts, f)
	}
	return fronts
}

// writeFiles makes what the role puts beside the configuration.
func (f *front) writeFiles(t *testing.T) {
	t.Helper()
	writeCertificate(t, f.dir+"/etc", "127.0.0.1", "lb.example.org")
	cert, err := os.ReadFile(f.dir + "/etc/ca.pem")
	require.NoError(t, err)
	key, err := os.ReadFile(f.dir + "/etc/key.pem")
	require.NoError(t, err)
	for name, content := range map[string][]byte{
		"etc/ssl/certkey.pem": append(cert, key...), "etc/whitelist.lst": []byte("# nobody\n"),
		"lib/srv.state": []byte("1\n"), "lib/iri_back.sni": nil, "lib/iri_pow_back.sni": nil,
	} {
		require.NoError(t, os.WriteFile(filepath.Join(f.dir, name), content, 0o600))
	}
}

// renderFront renders the configuration of each of the load balancers of one
// installation, and returns the files by their addresses.
func renderFront(t *testing.T, addresses []string, vars map[string]any) map[string]string {
	t.Helper()
	dir := t.TempDir()
	inventory, files := "[haproxy]\n", map[string]string{}
	for i, address := range addresses {
		name := fmt.Sprintf("lb%d", i+1)
		inventory += name + " consul_bind_address=" + address + "\n"
		files[address] = filepath.Join(dir, name+".cfg")
	}
	text, err := json.Marshal(vars)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(dir+"/vars.json", text, 0o600))
	require.NoError(t, os.WriteFile(dir+"/inventory", []byte(inventory), 0o600))
	repository, err := filepath.Abs("../..")
	require.NoError(t, err)
	venv, err := exec.Command("../../tools/venv.sh").Output()
	require.NoError(t, err, "make the Python environment by `make setup`")
	bin := strings.TrimSpace(string(venv)) + "/bin/"
	cmd := exec.Command(bin+"ansible-playbook", "--inventory", dir+"/inventory", "--connection", "local",
		"--extra-vars", "@"+dir+"/vars.json", "--extra-vars", "render_folder="+dir+" repository="+repository, "testdata/render.yml")
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "ANSIBLE_PYTHON_INTERPRETER="+bin+"python", "ANSIBLE_INJECT_FACT_VARS=false")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return files
}

func (f *front) run(t *testing.T) {
	t.Helper()
	f.container = startContainer(t, image("HAPROXY_IMAGE", "haproxy:3.0"), []string{"haproxy"},
		[]string{"-W", "-db", "-S", "/run/haproxy/master.sock,mode,666", "-f", "/etc/haproxy/haproxy.cfg"},
		f.dir+"/etc:/etc/haproxy", f.dir+"/lib:/var/lib/haproxy", f.dir+"/run:/run/haproxy")
	eventually(t, 20*time.Second, "HAProxy answers", func() error { _, err := f.command("show info"); return err })
}

// command asks the runtime API, with all rights.
func (f *front) command(line string) (string, error) { return askSocket(f.dir+"/run/admin.sock", line) }

// serve puts addr (IP:port) into slot http<n> of the backend, in service.
func (f *front) serve(t *testing.T, backend string, n int, addr string) {
	t.Helper()
	host, port, ok := strings.Cut(addr, ":")
	require.True(t, ok, addr)
	slot := fmt.Sprintf("%s/http%d", backend, n)
	for _, line := range []string{"set server " + slot + " addr " + host + " port " + port, "set server " + slot + " state ready"} {
		answer, err := f.command(line)
		require.NoError(t, err)
		require.NotContains(t, answer, "No such")
	}
}

// logs is what HAProxy has written so far.
func (f *front) logs(t *testing.T) string {
	t.Helper()
	var out bytes.Buffer
	require.NoError(t, docker.Client.Logs(dc.LogsOptions{
		Container: f.container.Container.ID, OutputStream: &out, ErrorStream: &out, Stdout: true, Stderr: true,
	}))
	return out.String()
}
