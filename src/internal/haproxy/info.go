package haproxy

import (
	"errors"
	"strconv"
	"strings"
	"time"
)

// Worker tells one HAProxy process from the next. A process id alone can repeat in a container, and the start time has a
// resolution of one second.
type Worker struct {
	Pid   string
	Start string
}

// StartTime is when the process was started; the zero value when HAProxy does not say.
func (w Worker) StartTime() time.Time {
	seconds, err := strconv.ParseInt(w.Start, 10, 64)
	if err != nil {
		return time.Time{}
	}
	return time.Unix(seconds, 0).UTC()
}

// Info is what is read from "show info".
type Info struct {
	Worker  Worker
	Version string
	// Stopping is set on the old worker after a reload.
	Stopping bool
}

// ParseInfo reads an answer of "show info".
func ParseInfo(text string) (Info, error) {
	var info Info
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		value = strings.TrimSpace(value)
		switch key {
		case "Pid":
			info.Worker.Pid = value
		case "Start_time_sec":
			info.Worker.Start = value
		case "Version":
			info.Version = value
		case "Stopping":
			info.Stopping = value != "0"
		}
	}
	if info.Worker.Pid == "" {
		return Info{}, errors.New("show info: no Pid in the answer")
	}
	return info, nil
}
