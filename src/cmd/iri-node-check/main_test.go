package main

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/stretchr/testify/assert"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/iritest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"iri-node-check": main})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Cmds:                map[string]func(*testscript.TestScript, bool, []string){"node": node, "tls-node": tlsNode, "sent": sent, "exit": exit},
		Setup: func(env *testscript.Env) error {
			env.Values[nodeKey{}] = &nodes{}
			env.Defer(env.Values[nodeKey{}].(*nodes).close)
			return nil
		},
	})
}

type nodeKey struct{}

// nodes are the fake nodes of one script.
type nodes struct{ plain, tls, other *iritest.Server }

func (n *nodes) close() {
	for _, s := range []*iritest.Server{n.plain, n.tls, n.other} {
		if s != nil {
			s.Close()
		}
	}
}

// node {JSON} starts the nodes of the script or changes their state: $NODE is the URL of the one with http and $HOST
// its host and port, $TLS the URL of the one with https and $CERT its certificate.
func node(ts *testscript.TestScript, _ bool, args []string) {
	n := ts.Value(nodeKey{}).(*nodes)
	if n.plain == nil {
		n.plain, n.tls = iritest.NewServer(), iritest.NewTLSServer()
		ts.Setenv("NODE", n.plain.URL)
		ts.Setenv("HOST", strings.TrimPrefix(n.plain.URL, "http://"))
		ts.Setenv("TLS", n.tls.URL)
		cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: n.tls.Certificate().Raw})
		ts.Check(os.WriteFile(ts.MkAbs("node.pem"), cert, 0o600))
		ts.Setenv("CERT", ts.MkAbs("node.pem"))
	}
	for _, s := range []*iritest.Server{n.plain, n.tls} {
		state, err := s.State().Merge([]byte(strings.Join(args, " ")))
		ts.Check(err)
		s.Update(func(old *iritest.State) { *old = state })
	}
}

// tls-node NAME starts a node at $TLS7 that has a certificate for this name and requires a client certificate. It
// writes ca.pem, lb.pem and lb.key.
func tlsNode(ts *testscript.TestScript, _ bool, args []string) {
	authority, end := iritest.NewAuthority(), time.Now().Add(time.Hour)
	server, err := iritest.NewServerOn("127.0.0.1:0", &tls.Config{
		Certificates: []tls.Certificate{authority.Certificate(end, args[0])}, ClientCAs: authority.Pool(), ClientAuth: tls.RequireAndVerifyClientCert,
	})
	ts.Check(err)
	ts.Value(nodeKey{}).(*nodes).other = server
	ts.Setenv("TLS7", server.URL)
	cert, key := iritest.PEM(authority.Certificate(end, "lb.example.org"))
	for name, text := range map[string][]byte{"ca.pem": authority.PEM(), "lb.pem": cert, "lb.key": key} {
		ts.Check(os.WriteFile(ts.MkAbs(name), text, 0o600))
	}
}

// sent COMMAND fails unless a node received this command; "! sent" fails if one did.
func sent(ts *testscript.TestScript, neg bool, args []string) {
	n := ts.Value(nodeKey{}).(*nodes)
	if count := n.plain.Count(args[0]) + n.tls.Count(args[0]); (count > 0) == neg {
		ts.Fatalf("%s was sent %d times", args[0], count)
	}
}

// exit CODE ARGS… runs the program in this process, which is much faster than exec, and fails unless it returns this
// exit code. stdout and stderr can be checked as usual.
func exit(ts *testscript.TestScript, _ bool, args []string) {
	for i, arg := range args {
		if i > 0 && strings.HasSuffix(args[i-1], "-file") { // paths are relative to the folder of the script
			if path := ts.MkAbs(arg); exists(path) {
				args[i] = path
			}
		}
	}
	got := fmt.Sprint(run(context.Background(), args[1:], ts.Stdout(), ts.Stderr()))
	if got != args[0] {
		ts.Fatalf("exit code %s, wanted %s", got, args[0])
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func TestCombinedShortFlagsAreSplitAsByGetopts(t *testing.T) {
	for _, tt := range []struct{ args, want string }{
		{"-a URL -i", "-a URL -i"},
		{"-ik -a URL", "-i -k -a URL"},
		{"-pikh", "-p -i -k -h"},
		{"-aURL -t5", "-a URL -t 5"},
		{"-kaURL", "-k -a URL"},
		{"-ia URL", "-i -a URL"},
		{"-a -i", "-a -i"},
		{"-r -ik -ik", "-r -ik -i -k"},
		{"-t", "-t"},
		{"-ix", "-i -x"},
		{"-x1", "-x1"},
		{"--version", "--version"},
		{"-a URL - x -ik", "-a URL - x -i -k"},
		{"-- -ik", "-- -i -k"},
	} {
		assert.Equal(t, tt.want, strings.Join(splitShortFlags(strings.Fields(tt.args)), " "), tt.args)
	}
}

func FuzzFlags(f *testing.F) {
	for _, seed := range []string{"-a http://u:S3cr3t@n:1 -i", "-ik -t5 -w 0.5", "-m 1.8 -r A,B -n 3", "-t NaN", "-- -a", "-a http://[::1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		opts, err := parse(strings.Split(line, " "))
		if err != nil || opts.version {
			return
		}
		assert.NotEmpty(t, opts.request.Address)
		assert.Positive(t, opts.request.Limits.Timeout)
		assert.Positive(t, opts.request.Limits.MaxAnswerTime)
		assert.NotEmpty(t, opts.request.Limits.AppNames)
	})
}
