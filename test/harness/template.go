package harness

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// Vars are Ansible variables on top of group_vars/all.
type Vars map[string]any

// Placeholders stand in the rendered text for what each HAProxy has of its own, so that one rendering serves many.
const (
	walletsPort = "PORT-OF-WALLETS"
	statsPort   = "PORT-OF-STATISTICS"
	adminPort   = "PORT-OF-ADMIN"
	peersPort   = "PORT-OF-PEERS"
)

// nodesCA is where HAProxy's authorities for nodes are on a host, as the tests have it.
const nodesCA = "/etc/haproxy/ca.pem"

// folders are those of an installation, and where they are below the folder of a test's HAProxy.
var folders = map[string]string{"/etc/haproxy/": "etc/", "/var/lib/haproxy/": "lib/", "/run/haproxy/": "run/"}

// testVars is where a HAProxy of the tests differs from group_vars/all, whatever the test: it listens on loopback
// addresses, without TLS unless the test wants it, and has few slots, because each one costs time. Its own checks have more
// time, because the machine is busy with other tests. A test has what is installed if it sets a variable to nil.
func testVars() Vars {
	return Vars{
		"lb_bind_address": "{{ consul_bind_address }}", "iri_api_port_remote": walletsPort,
		"haproxy_stats_address": "{{ consul_bind_address }}", "haproxy_stats_port": statsPort,
		"haproxy_admin_address": "{{ consul_bind_address }}:" + adminPort, "haproxy_peers_port": peersPort,
		"haproxy_https": false, "haproxy_check_timeout": "3s",
		"max_backend_slots": 5, "max_backend_tls_slots": 2, "max_pow_backend_slots": 5, "max_pow_backend_tls_slots": 2,
		// What the role `common` finds out on a host. The group may use the admin socket.
		"haproxy_ca_file": nodesCA, "haproxy_uid": 0, "haproxy_gid": os.Getgid(),
	}
}

// rendering is the template's text for each load balancer of an installation, in the order of their addresses.
type rendering struct {
	once  sync.Once
	texts []string
	err   error
}

var (
	renderings   = map[string]*rendering{}
	renderingsMu sync.Mutex
)

// render renders the tree's templates/haproxy.cfg.j2 by Ansible, once for each set of variables: it takes seconds.
func render(t *testing.T, tree string, addresses []string, vars Vars) []string {
	t.Helper()
	all := testVars()
	maps.Copy(all, vars)
	maps.DeleteFunc(all, func(_ string, value any) bool { return value == nil })
	text, err := json.Marshal(all)
	require.NoError(t, err)
	key := strings.Join(append([]string{tree}, addresses...), " ") + string(text)
	renderingsMu.Lock()
	r := renderings[key]
	if r == nil {
		r = &rendering{}
		renderings[key] = r
	}
	renderingsMu.Unlock()
	r.once.Do(func() { r.texts, r.err = runAnsible(tree, addresses, text) })
	require.NoError(t, r.err)
	return r.texts
}

func runAnsible(tree string, addresses []string, vars []byte) ([]string, error) {
	dir, err := os.MkdirTemp("", "render")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	inventory := "[haproxy]\n"
	for i, address := range addresses {
		inventory += fmt.Sprintf("lb%d consul_bind_address=%s\n", i+1, address)
	}
	for name, content := range map[string]string{"vars.json": string(vars), "inventory": inventory} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			return nil, err
		}
	}
	venv, err := exec.Command(Root() + "/tools/venv.sh").Output()
	if err != nil {
		return nil, fmt.Errorf("no Python environment, make it by `make setup`: %w", err)
	}
	tools := strings.TrimSpace(string(venv)) + "/bin/"
	cmd := exec.Command(tools+"ansible-playbook", "--inventory", dir+"/inventory", "--connection", "local",
		"--extra-vars", "@"+dir+"/vars.json", "--extra-vars", "render_folder="+dir+" repository="+tree, tree+"/test/harness/testdata/render.yml")
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "ANSIBLE_PYTHON_INTERPRETER="+tools+"python", "ANSIBLE_INJECT_FACT_VARS=false")
	cmd.Dir = tree
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("render templates/haproxy.cfg.j2: %w\n%s", err, out)
	}
	texts := make([]string, len(addresses))
	for i := range addresses {
		text, err := os.ReadFile(fmt.Sprintf("%s/lb%d.cfg", dir, i+1))
		if err != nil {
			return nil, err
		}
		texts[i] = string(text)
	}
	return texts, nil
}

// place puts a HAProxy's own folder and ports into a rendered text.
func place(text, dir string, ports map[string]int) string {
	var pairs []string
	for installed, here := range folders {
		pairs = append(pairs, installed, dir+"/"+here)
	}
	for placeholder, port := range ports {
		pairs = append(pairs, placeholder, strconv.Itoa(port))
	}
	return strings.NewReplacer(pairs...).Replace(text)
}
