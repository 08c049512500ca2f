// Package frontend tests what HAProxy does with wallets' requests, configured by the playbook's template, in a
// container: make test-integration RUN=TestRequestTable. The handler takes no part but in the test of health checks.
package frontend
