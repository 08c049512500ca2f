// Package ha breaks three hosts with a virtual address under traffic and measures what the clients notice
// (docs/high-availability.md).
package ha
