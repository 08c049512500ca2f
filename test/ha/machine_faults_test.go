//go:build integration

package ha

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nuriel77/iri-lb-haproxy/test/harness"
)

// starve leaves a tenth of a processor to the host and to each of its containers.
func starve(t *testing.T, b *bed, seen *result) {
	owner := b.owner(t)
	limit := func(cpus string) {
		owner.docker(t, "update", "--cpus", cpus)
		owner.sh(t, "docker update --cpus "+cpus+" $(docker ps --quiet)")
	}
	limit("0.1")
	seen.change(t, b, 10*time.Second, b.others(owner)[0], b.hosts...)
	harness.Keep(long)
	limit("2")
	seen.ended()
}

// smallDisks gives the data of Consul and of the handler a small file system of their own, so that it can be filled.
const smallDisks = `
	systemctl stop iri-lb-handler consul
	for folder in /var/lib/consul /var/lib/iri-lb-handler; do
	  [ -d "$folder" ] || continue
	  mkdir -p "/mnt$folder" && cp --archive "$folder/." "/mnt$folder"
	  size=$(($(du --summarize --block-size 1M "$folder" | cut -f 1) + 8))
	  mount -t tmpfs -o "size=${size}M,mode=$(stat --format %a "$folder"),uid=$(stat --format %u "$folder"),gid=$(stat --format %g "$folder")" tmpfs "$folder"
	  cp --archive "/mnt$folder/." "$folder"
	done
	systemctl start consul iri-lb-handler`

// largeDisks takes the data back.
const largeDisks = `
	systemctl stop iri-lb-handler consul
	for folder in /var/lib/consul /var/lib/iri-lb-handler; do
	  mountpoint --quiet "$folder" || continue
	  rm -rf "/mnt$folder" && mkdir -p "/mnt$folder" && cp --archive "$folder/." "/mnt$folder"
	  umount "$folder"
	  find "$folder" -mindepth 1 -delete
	  cp --archive "/mnt$folder/." "$folder" && rm -r "/mnt$folder"
	done
	systemctl start consul iri-lb-handler`

func ownerHasSmallDisk(t *testing.T, b *bed) { b.smallDisk(t, b.owner(t)) }

func leaderHasSmallDisk(t *testing.T, b *bed) {
	leader := b.leader(t)
	b.smallDisk(t, leader)
	b.lead(t, leader)
}

func (b *bed) smallDisk(t *testing.T, h host) {
	t.Helper()
	t.Cleanup(func() { h.sh(t, largeDisks) })
	h.sh(t, smallDisks)
	b.waitWhole(t, time.Minute)
}

func fillDisk(t *testing.T, b *bed, seen *result, h host) {
	t.Helper()
	const fill = `
		for folder in /var/lib/consul /var/lib/iri-lb-handler; do
		  ! mountpoint --quiet "$folder" || cat /dev/zero > "$folder/fill" || true
		done 2>/dev/null`
	h.sh(t, fill)
	other := b.others(h)[0]
	seen.change(t, b, 10*time.Second, other, b.hosts...)
	b.keep(seen, long, b.hosts...)
	h.sh(t, "rm -f /var/lib/consul/fill /var/lib/iri-lb-handler/fill")
	seen.ended()
	seen.stays(b)
}

func fillOwner(t *testing.T, b *bed, seen *result)  { fillDisk(t, b, seen, b.owner(t)) }
func fillLeader(t *testing.T, b *bed, seen *result) { fillDisk(t, b, seen, b.leader(t)) }

// truncateRaft is about Consul's data alone, on a host that has nothing else to do.
func truncateRaft(t *testing.T, b *bed, seen *result) {
	victim := b.follower(t)
	victim.sh(t, "systemctl stop consul && find /var/lib/consul/raft -type f -size +0 -name '*.*' -exec truncate --size 100 {} + && systemctl start --no-block consul")
	b.keep(seen, long, b.others(victim)...)
	// As docs/high-availability.md says: the data of one server are those of the others.
	victim.sh(t, "systemctl stop consul; rm -rf /var/lib/consul/raft; systemctl start consul")
	seen.ended()
	seen.stays(b)
}

// follower is a host that neither has the address nor leads.
func (b *bed) follower(t *testing.T) host {
	t.Helper()
	return b.others(b.owner(t), b.leader(t))[0]
}

func allOff(t *testing.T, b *bed, seen *result) {
	b.strike(b.hosts...)
	for _, h := range b.hosts {
		h.kill(t)
	}
	harness.Keep(long / 2)
	for _, h := range b.hosts {
		h.start(t)
	}
	seen.ended()
}

// reboot is one that an operator has planned.
func reboot(t *testing.T, b *bed, seen *result) {
	owner := b.owner(t)
	b.strike(owner)
	owner.docker(t, "stop", "--time", "60")
	owner.start(t)
	seen.ended()
}

func allNodesDead(t *testing.T, b *bed, seen *result) {
	_, err := command(time.Minute, "docker", "kill", nodeHost)
	require.NoError(t, err)
	harness.Keep(3 * long / 2)
	_, err = command(time.Minute, "docker", "start", nodeHost)
	require.NoError(t, err)
	began := time.Now()
	seen.ended()
	if err := b.becomesWhole(time.Minute); err != nil {
		seen.check("all nodes back", errors.New("not within a minute"))
		return
	}
	seen.within("all nodes back", time.Since(began), interval)
	seen.stays(b)
}
