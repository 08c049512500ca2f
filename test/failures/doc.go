// Package failures lets nodes fail under the requests of wallets, and measures what the wallets notice with this
// configuration, with that of an older commit and with nginx: make failures, or one cell of the table:
// make failures RUN='TestFailures/killed/1_of_5/this'. make slow-nodes measures what a slow node costs.
package failures
