package main

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestTheJournalGetsTheLevelOfEachLine(t *testing.T) {
	t.Setenv("JOURNAL_STREAM", "8:1")
	var out bytes.Buffer
	log := newLogger(&out, "debug")
	log.Error("a", "error", "two words")
	log.Warn("b")
	log.Info("c")
	log.Trace("below the level")
	assert.Equal(t, "<3>[ERROR] iri-lb-handler: a: error=\"two words\"\n<4>[WARN]  iri-lb-handler: b\n<6>[INFO]  iri-lb-handler: c\n", out.String())
}

func TestATerminalGetsTheTime(t *testing.T) {
	t.Setenv("JOURNAL_STREAM", "")
	var out bytes.Buffer
	newLogger(&out, "info").Info("c")
	assert.Regexp(t, `^20\d\d-.* \[INFO\]  iri-lb-handler: c\n$`, out.String())
}
