package failures

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// wanted is what one failing node of five may cost wallets.
type wanted struct {
	// getNodeInfo and others are how many requests may fail: of twenty wallets that each send twenty in a second, and of
	// the wallets with another command that can be repeated.
	getNodeInfo, others int
	// longest is for getNodeInfo.
	longest time.Duration
}

const (
	anyNumber = 1 << 30
	anyTime   = 24 * time.Hour

	// outWithin is wanted of one failing node, backWithin and triesAtMost where all nodes fail. There every failed
	// request gets an error with a reason, within deadline: four tries of 5 s.
	outWithin   = 1500 * time.Millisecond
	backWithin  = 3 * time.Second
	triesAtMost = 1.2
	deadline    = 20500 * time.Millisecond
)

// misses are the figures of a result that are not as wanted; only this commit's are judged.
type misses struct {
	getNodeInfo, others, unexplained, longest, out, back, tries bool
}

func (r *result) misses() (m misses) {
	if r.key != thisKey {
		return m
	}
	switch {
	case r.failing == 1 && r.wanted != nil:
		info, others := r.commands["getNodeInfo"], r.sum(isOther)
		m.getNodeInfo = info.failed > r.wanted.getNodeInfo
		m.others = others.failed > r.wanted.others
		m.longest = info.longest > r.wanted.longest
		m.out = r.out.never || r.out.unknown || r.out.after > outWithin
	case r.failing == nodesEach:
		all := r.sum(anyCommand)
		m.unexplained = all.unexplained > 0
		m.longest = r.commands["getNodeInfo"].longest > deadline
		m.back = r.back.never || r.back.after > backWithin
		m.tries = float64(all.tries) > triesAtMost*float64(all.during)
	}
	return m
}

// count is the number of misses.
func (m misses) count() (n int) {
	for _, missed := range []bool{m.getNodeInfo, m.others, m.unexplained, m.longest, m.out, m.back, m.tries} {
		if missed {
			n++
		}
	}
	return n
}

func anyCommand(command) bool { return true }

// isOther: it can be repeated, and is not getNodeInfo.
func isOther(c command) bool { return !c.work && c.name != "getNodeInfo" }

func TestMisses(t *testing.T) {
	bad := result{
		cell:     cell{fault: fault{wanted: fewLost}, failing: 1, configuration: &configuration{key: thisKey}},
		commands: map[string]figures{"getNodeInfo": {failed: 21, unexplained: 21, longest: time.Minute, during: 10, tries: 13}},
		out:      moment{never: true}, back: moment{after: 4 * time.Second},
	}
	assert.Equal(t, misses{getNodeInfo: true, out: true}, bad.misses())
	bad.wanted = nothingLost
	assert.Equal(t, misses{getNodeInfo: true, longest: true, out: true}, bad.misses())
	bad.wanted = nil
	assert.Equal(t, misses{}, bad.misses(), "nothing is laid down")
	bad.failing = 2
	assert.Equal(t, misses{}, bad.misses(), "nothing is laid down")
	bad.failing = nodesEach
	assert.Equal(t, misses{unexplained: true, longest: true, back: true, tries: true}, bad.misses())
	assert.Equal(t, 4, bad.misses().count())
	bad.configuration = &configuration{key: "nginx"}
	assert.Equal(t, misses{}, bad.misses(), "another's figures are not judged")
}
