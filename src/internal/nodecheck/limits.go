package nodecheck

import (
	"slices"
	"time"
)

// Limits is what is required of a node. [Defaults] returns those of iri-node-check.
type Limits struct {
	// AppNames are the accepted values of appName.
	AppNames []string
	// MinVersion is the oldest accepted appVersion.
	MinVersion Version
	// MaxBehind is how many milestones the node may be behind. More than WarnBehind, if not nil, gives a warning.
	MaxBehind  int64
	WarnBehind *int64
	// AtSnapshot is the verdict for a node that has just started: it looks synchronised because both its milestones are
	// that of its snapshot.
	AtSnapshot Verdict
	// MinNeighbours is the required number of neighbours. Fewer than WarnNeighbours give a warning.
	MinNeighbours, WarnNeighbours int64
	// MaxAnswerTime limits both the response time of getNodeInfo, as measured here, and the processing time the node
	// reports. More than WarnAnswerTime, if not 0, gives a warning.
	MaxAnswerTime, WarnAnswerTime time.Duration
	// PoW requires that attachToTangle is permitted.
	PoW bool
	// Limited requires that the LimitedCommands are refused.
	Limited bool
	// Timeout limits each request.
	Timeout time.Duration
}

// LimitedCommands lists the commands that a public node must refuse; with PoW, attachToTangle is not one of them.
//
// interruptAttachingToTangle should be refused too, but it is never sent: it takes no parameters, so a node that does
// not refuse it would cancel running work.
func (l Limits) LimitedCommands() []string {
	commands := []string{"getNeighbors", "addNeighbors", "removeNeighbors", attachToTangle}
	if l.PoW {
		commands = slices.DeleteFunc(commands, func(c string) bool { return c == attachToTangle })
	}
	return commands
}

const attachToTangle = "attachToTangle"

// probes lists the commands that are sent after getNodeInfo, without parameters: a node that does not refuse them
// reports a missing parameter.
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
