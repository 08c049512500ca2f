package daemon

import (
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestPortsAreTriedBeforeAReload(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = l.Close() }()
	c := HAProxyConfig{ConfigFile: filepath.Join(t.TempDir(), "haproxy.cfg"), MasterSocket: "/nowhere/master.sock"}
	_, err = c.tryPorts()
	require.ErrorContains(t, err, "haproxy.config_file: open "+c.ConfigFile)

	bad := "frontend f\n    bind " + l.Addr().String() + " # from iri_api_port_remote\n"
	require.NoError(t, os.WriteFile(c.ConfigFile, []byte(bad), 0o600))
	_, err = c.tryPorts()
	require.ErrorContains(t, err, "serves on as it was:\nhaproxy.cfg:2 (iri_api_port_remote): port "+l.Addr().String()+" is used by ")

	require.NoError(t, os.WriteFile(c.ConfigFile, []byte("global\n"), 0o600))
	text, err := c.tryPorts()
	require.NoError(t, err)
	assert.Equal(t, "global\n", text)

	text, err = HAProxyConfig{}.tryPorts()
	require.NoError(t, err)
	assert.Empty(t, text, "no configuration is known")
}

func TestTheCopyOfWhatIsLoadedIsAsNewAsTheCertificate(t *testing.T) {
	state := filepath.Join(t.TempDir(), "srv.state")
	require.NoError(t, touchLoaded(state), "HAProxy has never been started")
	require.NoError(t, writeLoaded(state, "global\n"))
	old := time.Now().Add(-time.Hour)
	require.NoError(t, os.Chtimes(loadedFile(state), old, old))
	require.NoError(t, touchLoaded(state))
	info, err := os.Stat(loadedFile(state))
	require.NoError(t, err)
	assert.WithinDuration(t, time.Now(), info.ModTime(), time.Minute)
	assert.ErrorContains(t, writeLoaded("/nowhere/srv.state", ""), "HAProxy was reloaded, but")
}
