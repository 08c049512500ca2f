//go:build integration

package ha

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nuriel77/iri-lb-haproxy/test/harness"
)

// secretsOf are the files that must stay what they are when a host is replaced.
func (h host) secrets(t *testing.T) string {
	t.Helper()
	return h.sh(t, "sha256sum /etc/consul/consul_master_token /etc/consul/consul_key")
}

// spare makes the host one that has no node, no address and no leader, so that nothing but its replacement is measured.
func (b *bed) spare(t *testing.T, h host) {
	t.Helper()
	t.Cleanup(func() { b.spread(t) })
	wanted := map[host][]string{}
	for i, address := range nodes() {
		other := b.others(h)[i%2]
		wanted[other] = append(wanted[other], address)
	}
	b.registerAt(t, wanted)
	if b.owner(t) == h {
		h.sh(t, "systemctl restart keepalived")
	}
	b.lead(t, b.others(h)[0])
}

func sparesLast(t *testing.T, b *bed)  { b.spare(t, b.hosts[2]) }
func sparesFirst(t *testing.T, b *bed) { b.spare(t, b.hosts[0]) }

func replaceLast(t *testing.T, b *bed, seen *result)  { b.replace(t, seen, b.hosts[2]) }
func replaceFirst(t *testing.T, b *bed, seen *result) { b.replace(t, seen, b.hosts[0]) }

// replace puts an empty host in the place of another one.
func (b *bed) replace(t *testing.T, seen *result, h host) {
	t.Helper()
	before := h.secrets(t)
	b.strike(h)
	require.NoError(t, h.create())
	b.play(t)
	seen.ended()
	for _, one := range b.hosts {
		if one.secrets(t) != before {
			seen.check("secrets unchanged", errors.New(one.name+" has others"))
			return
		}
	}
	seen.check("secrets unchanged", nil)
}

func rename(t *testing.T, b *bed, seen *result) {
	h := b.hosts[2]
	h.sh(t, "hostname "+h.name+"-renamed")
	t.Cleanup(func() {
		h.sh(t, "hostname "+h.name)
		b.play(t, "--tags=consul")
	})
	b.play(t)
	seen.ended()
}

// upgrade runs the playbook with another version of an image: the same one under another name.
func upgrade(t *testing.T, b *bed, image, part string) {
	t.Helper()
	_, err := command(time.Minute, "docker", "tag", image, image+"-again")
	require.NoError(t, err)
	defer func() { _, _ = command(time.Minute, "docker", "rmi", image+"-again") }()
	file := filepath.Join(t.TempDir(), "image.tar")
	_, err = command(time.Minute, "docker", "save", "--output", file, image+"-again")
	require.NoError(t, err)
	_, tag, _ := strings.Cut(image, ":")
	b.play(t, "--tags="+part, "-e", part+"_tag="+tag+"-again", "-e", part+"_image_archive="+file)
}

func upgradeConsul(t *testing.T, b *bed, seen *result) {
	upgrade(t, b, harness.ConsulImage(), "consul")
	seen.ended()
	seen.stays(b)
}

func upgradeHAProxy(t *testing.T, b *bed, seen *result) {
	upgrade(t, b, harness.HAProxyImage(), "haproxy")
	seen.ended()
}

// rotateKey replaces the key of Consul's gossip, and takes the old one back, which the hosts' files have.
func rotateKey(t *testing.T, b *bed, seen *result) {
	h := b.hosts[0]
	keyring := func(action, key string) {
		// Every server is asked, and one that has just started may not know the token yet.
		harness.Eventually(t, 30*time.Second, "keyring -"+action, func() error {
			_, err := h.run(fmt.Sprintf("docker exec --env CONSUL_HTTP_TOKEN=$(cat /etc/consul/consul_master_token) consul consul keyring -%s %s", action, key))
			return err
		})
	}
	old := strings.TrimSpace(h.sh(t, "cat /etc/consul/consul_key"))
	fresh := strings.TrimSpace(h.sh(t, "head --bytes 32 /dev/urandom | base64 --wrap 0"))
	for _, keys := range [][2]string{{old, fresh}, {fresh, old}} {
		keyring("install", keys[1])
		keyring("use", keys[1])
		keyring("remove", keys[0])
		b.keep(seen, long/2, b.hosts...)
	}
	seen.ended()
	seen.stays(b)
}
