// Package integration tests the programs against a real Consul and a real
// HAProxy, each in a container: go test -tags integration ./test/integration/...
// (make test-integration). All traffic stays on 127.0.0.0/8.
package integration
