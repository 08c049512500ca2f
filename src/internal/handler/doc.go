// Package handler joins the registry, the pools and HAProxy: it fetches what
// should be, reads what is, plans, applies and verifies.
//
// It owns the loop, its timers, the lock between several callers, the metrics
// and the configuration. HAProxy holds all state: the handler can be killed at
// any moment and its next pass reads the slots back.
package handler
