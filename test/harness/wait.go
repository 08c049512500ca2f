package harness

import (
	"errors"
	"testing"
	"time"
)

var errStillRunning = errors.New("it is still running")

// Eventually polls until the condition holds, and fails with its last error.
func Eventually(t *testing.T, within time.Duration, what string, condition func() error) {
	t.Helper()
	deadline := time.Now().Add(within)
	for {
		err := condition()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s: %v", within, what, err)
		}
		time.Sleep(10 * time.Millisecond) // between two looks
	}
}

// Throughout checks for some time that something stays as it is: what must not happen cannot be waited for.
func Throughout(t *testing.T, lasts time.Duration, what string, condition func() error) {
	t.Helper()
	for end := time.Now().Add(lasts); time.Now().Before(end); time.Sleep(50 * time.Millisecond) { // between two looks
		if err := condition(); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
}

// Keep lets a state last for a measured time, such as a fault under load: the duration itself is what is tested.
func Keep(lasts time.Duration) { time.Sleep(lasts) }
