// Package mirror keeps one HAProxy in line with the registry: it reads what is, plans what should be, applies the plan and
// verifies it.
//
// The parts: a session (the connection and what is known of HAProxy), a reconciler (session × desired nodes × clock), a
// guard (decides whether a snapshot is to be believed), and a loop (timers, and the reason why a reconciliation is due).
// HAProxy holds all state: the process can be killed at any moment, and the next one reads the slots back.
package mirror
