// Package chaos breaks Consul, HAProxy, the handler and what they say to each other, under load, and counts the requests
// that are lost: make chaos, or one row: make chaos RUN='TestChaos/Consul_has_no_leader'.
package chaos
