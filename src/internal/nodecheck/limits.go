package nodecheck

import (
	"slices"
	"time"
)

// Limits is what is asked of a node. [Defaults] are those of the program.
type Limits struct {
	// AppNames are the accepted values of appName.
	AppNames []string
	// MinVersion is the oldest accepted appVersion.
	MinVersion Version
	// MaxBehind is how many milestones the node may lack. One that lacks more
	// than WarnBehind, when that is set, gives a warning.
	MaxBehind  int64
	WarnBehind *int64
	// AtSnapshot is the verdict on a node that has only just started: it looks
	// synchronised, because both its milestones are those of its snapshot.
	AtSnapshot Verdict
	// MinNeighbours is how many neighbours it must have. Fewer than
	// WarnNeighbours give a warning.
	MinNeighbours, WarnNeighbours int64
	// MaxAnswerTime bounds both the time that getNodeInfo takes, seen from here,
	// and the time that the node says it worked on it. More than WarnAnswerTime,
	// when that is not 0, gives a warning.
	MaxAnswerTime, WarnAnswerTime time.Duration
	// PoW asks that attachToTangle is allowed.
	PoW bool
	// Limited asks that the commands of LimitedCommands are refused.
	Limited bool
	// Timeout bounds each request.
	Timeout time.Duration
}

// LimitedCommands are the commands that a public node must refuse.
// interruptAttachingToTangle is one more, but it needs no parameter and would
// cancel running work on a node that does not refuse it: it is never sent.
// With PoW attachToTangle is wanted, so it is not among them.
func (l Limits) LimitedCommands() []string {
	commands := []string{"getNeighbors", "addNeighbors", "removeNeighbors", attachToTangle}
	if l.PoW {
		commands = slices.DeleteFunc(commands, func(c string) bool { return c == attachToTangle })
	}
	return commands
}

const attachToTangle = "attachToTangle"

// probes are the commands that are sent after getNodeInfo, without parameters:
// a node that does not refuse them answers that a parameter is missing.
func (l Limits) probes() []string {
	var commands []string
	if l.PoW {
		commands = append(commands, attachToTangle)
	}
	if l.Limited {
		commands = append(commands, l.LimitedCommands()...)
	}
	return commands
}
