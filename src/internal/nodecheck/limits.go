package nodecheck

import (
	"slices"
	"time"
)

// Limits is what is asked of a node.
type Limits struct {
	// AppNames are the accepted values of appName.
	AppNames []string
	// MinVersion is the oldest accepted appVersion.
	MinVersion Version
	// MaxBehind is how many milestones the node may lack.
	MaxBehind int64
	// MinNeighbours is how many neighbours it must have.
	MinNeighbours int64
	// MaxAnswerTime bounds both the time that getNodeInfo takes, seen from here,
	// and the time that the node says it worked on it.
	MaxAnswerTime time.Duration
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
