// Package handler tests iri-lb-handler against a real Consul and a real HAProxy, each in a container:
// make test-integration RUN=TestReload.
package handler
