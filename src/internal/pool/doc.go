// Package pool decides what the slots of one HAProxy backend should be: it compares the registered nodes with the slots as
// they are and returns the smallest plan that makes them agree.
//
// It is pure: no I/O, no clock, no log. The same nodes and slots always give the same plan, on every load balancer.
package pool
