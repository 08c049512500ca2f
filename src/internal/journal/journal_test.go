package journal

import (
	"bytes"
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestUnderSystemdLinesHaveALevelPrefixAndNoTime(t *testing.T) {
	t.Setenv("JOURNAL_STREAM", "8:1")
	var out bytes.Buffer
	log := New("name", &out, "debug")
	log.Error("a", "error", "two words")
	log.Warn("b")
	log.Debug("c")
	log.Trace("below the level")
	assert.Equal(t, "<3>[ERROR] name: a: error=\"two words\"\n<4>[WARN]  name: b\n<7>[DEBUG] name: c\n", out.String())
}

func TestElsewhereLinesHaveATimeAndNoPrefix(t *testing.T) {
	t.Setenv("JOURNAL_STREAM", "")
	var out bytes.Buffer
	New("name", &out, "info").Info("c")
	assert.Regexp(t, `^20\d\d-.* \[INFO\]  name: c\n$`, out.String())
}

// failing is a writer whose journal has gone away.
type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

func TestWriteErrorsAreReturned(t *testing.T) {
	n, err := prefixWriter{failing{}}.Write([]byte("[INFO]  name: a\n"))
	assert.Zero(t, n)
	assert.EqualError(t, err, "broken pipe")
}

func TestLinesWithoutALevelAreLeftUnchanged(t *testing.T) {
	var out bytes.Buffer
	n, err := prefixWriter{&out}.Write([]byte("panic: nil map\n"))
	assert.NoError(t, err)
	assert.Equal(t, 15, n, "the prefix is not counted")
	assert.Equal(t, "panic: nil map\n", out.String())
	n, err = prefixWriter{&out}.Write([]byte("[WARN]  b\n"))
	assert.NoError(t, err)
	assert.Equal(t, 10, n, "the prefix is not counted")
}
