package iri_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/iri"
)

func TestValidAddressesAreAcceptedAndPrintedWithoutCredentials(t *testing.T) {
	for _, tt := range []struct{ address, public string }{
		{"http://10.10.0.110:14265", "http://10.10.0.110:14265"},
		{"https://node.example.org", "https://node.example.org"},
		{"http://[2001:db8::1]:14265", "http://[2001:db8::1]:14265"},
		{"http://localhost:14265/", "http://localhost:14265/"},
		{"https://proxy.example.org/iri/1", "https://proxy.example.org/iri/1"},
		{"HTTP://node:14265", "http://node:14265"},
		{"http://user:secret@node:14265", "http://node:14265"},
		{"http://user@node:14265", "http://node:14265"},
	} {
		client, err := iri.New(tt.address, iri.Options{})
		require.NoError(t, err, tt.address)
		assert.Equal(t, tt.public, client.Address())
	}
}

func TestInvalidAddressesAreRefusedWithASuggestion(t *testing.T) {
	for _, tt := range []struct{ address, want string }{
		{"", "expected for example http://10.10.0.110:14265"},
		{"10.10.0.110:14265", "write http://10.10.0.110:14265 or https://10.10.0.110:14265"},
		{"node", "write http://node or https://node"},
		{"-i", "lacks http:// or https://"},
		{"ftp://node", "starts with neither http:// nor https://"},
		{"unix:///run/node.sock", "starts with neither"},
		{"http://", "has no host"},
		{"http://:14265", "has no host"},
		{"http://node:", "port after the colon is missing"},
		{"http://node:0", "port 0 is not between"},
		{"http://node:65536", "port 65536 is not between"},
		{"http://node:http", "invalid port"},
		{"http://2001:db8::1:14265", "must be in brackets"},
		{"http://[::1", "missing ']'"},
		{"http://node:1?x=1", `no query ("?")`},
		{"http://node:1/?", `no query ("?")`},
		{"http://node:1#top", `no fragment ("#")`},
		{"node\n", `"node\n" lacks http:// or https://; write http://node or`},
		{"http://no de:1", "invalid character"},
		{"http://node\n:1", "control character"},
	} {
		_, err := iri.New(tt.address, iri.Options{})
		assert.ErrorContains(t, err, tt.want, tt.address)
	}
}

func TestErrorsNeverContainCredentials(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		secret := "S3cr3t" + rapid.StringMatching(`[!-~]{0,8}`).Draw(t, "secret") + "S3cr3t"
		address := rapid.SampledFrom([]string{"http://", "https://", "ftp://", "", "//", "http:/"}).Draw(t, "scheme") +
			rapid.SampledFrom([]string{secret, "user:" + secret, secret + ":x"}).Draw(t, "user") +
			"@" + rapid.SampledFrom([]string{"node:1", "node:x", "[::1", "no de", "", "node:1?q", "::1:1", "node\x00"}).Draw(t, "host")
		client, err := iri.New(address, iri.Options{})
		if err != nil {
			assert.NotContains(t, err.Error(), "S3cr3t")
			return
		}
		assert.NotContains(t, client.Address(), "S3cr3t")
	})
}
