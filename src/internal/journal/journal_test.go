package journal

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestTheJournalGetsTheLevelOfEachLine(t *testing.T) {
	t.Setenv("JOURNAL_STREAM", "8:1")
	var out bytes.Buffer
	log := New("name", &out, "debug")
	log.Error("a", "error", "two words")
	log.Warn("b")
	log.Debug("c")
	log.Trace("below the level")
	assert.Equal(t, "<3>[ERROR] name: a: error=\"two words\"\n<4>[WARN]  name: b\n<7>[DEBUG] name: c\n", out.String())
}

func TestATerminalGetsTheTime(t *testing.T) {
	t.Setenv("JOURNAL_STREAM", "")
	var out bytes.Buffer
	New("name", &out, "info").Info("c")
	assert.Regexp(t, `^20\d\d-.* \[INFO\]  name: c\n$`, out.String())
}
