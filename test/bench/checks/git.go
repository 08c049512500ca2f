package main

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
)

// requireCommittedTree returns an error if the Git work tree has uncommitted changes: results must be reproducible
// from a commit. Changes of the report itself do not count.
func requireCommittedTree(ctx context.Context, report string) error {
	out, err := exec.CommandContext(ctx, "git", "status", "--porcelain", "--", ":/", ":(exclude)"+report).Output()
	if err != nil {
		return fmt.Errorf("git status: %w", err)
	}
	if changes := strings.TrimRight(string(out), "\n"); changes != "" {
		return fmt.Errorf("refusing to write %s: there are uncommitted changes, commit them first:\n%s", report, changes)
	}
	return nil
}

// commit is the version of the work tree.
func commit() string {
	out, err := exec.Command("git", "describe", "--tags", "--always").Output()
	if err != nil {
		return "an unknown commit"
	}
	return strings.TrimSpace(string(out))
}
