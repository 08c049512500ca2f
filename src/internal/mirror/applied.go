package mirror

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/hashicorp/go-hclog"
)

// errOutdated is a snapshot that is older than what HAProxy has.
var errOutdated = errors.New("another iri-lb-handler has applied a newer answer of Consul")

// appliedIndex is Consul's index of the snapshot that was applied last, in a file beside HAProxy's socket. It is read and
// written with the lock held. A process that was slow between its query and the lock sees by it that another one has applied
// something newer.
type appliedIndex struct {
	path   string
	log    hclog.Logger
	failed bool
}

func newAppliedIndex(socket string, log hclog.Logger) *appliedIndex {
	return &appliedIndex{path: filepath.Join(filepath.Dir(socket), "."+filepath.Base(socket)+".index"), log: log}
}

// read returns 0 when nothing is known.
func (a *appliedIndex) read() uint64 {
	text, err := os.ReadFile(a.path)
	if err != nil {
		return 0
	}
	index, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
	if err != nil {
		return 0
	}
	return index
}

func (a *appliedIndex) write(index uint64) {
	if index == a.read() {
		return
	}
	err := a.replace(strconv.FormatUint(index, 10) + "\n")
	if err != nil && !a.failed {
		a.log.Warn("cannot note which answer of Consul HAProxy has; when several iri-lb-handler run at once, the slower one may "+
			"undo a change for a moment", "error", err)
	}
	a.failed = err != nil
}

// replace makes the file anew, because another user may own it. Everybody may read it. It is not synced to the disk, which
// would cost every change milliseconds: after a crash of the host it means nothing.
func (a *appliedIndex) replace(text string) error {
	if err := os.Remove(a.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(a.path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Chmod(0o644), f.Close())
}
