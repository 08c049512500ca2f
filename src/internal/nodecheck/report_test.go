package nodecheck_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/iri"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/nodecheck"
)

// unhealthy is the result for a node that HORNET reports as unhealthy and that has too few neighbours.
func unhealthy() nodecheck.Result {
	seen := healthy()
	seen.Info.Healthy, seen.Info.Neighbours = new(bool), new(int64(1))
	return nodecheck.Result{Address: "http://node:1", Findings: nodecheck.Judge(seen, nodecheck.Defaults())}
}

func TestTheReportHasTheKeysThatProgramsRead(t *testing.T) {
	text, err := json.Marshal(unhealthy().Report())
	require.NoError(t, err)
	var report struct {
		Address  string              `json:"address"`
		Verdict  string              `json:"verdict"`
		ExitCode int                 `json:"exit_code"`
		Line     string              `json:"line"`
		Rules    []map[string]string `json:"rules"`
	}
	require.NoError(t, json.Unmarshal(text, &report))
	assert.Equal(t, "http://node:1", report.Address)
	assert.Equal(t, "critical", report.Verdict)
	assert.Equal(t, 2, report.ExitCode)
	assert.Equal(t, unhealthy().Line(), report.Line)
	verdicts := map[string]string{}
	for _, rule := range report.Rules {
		verdicts[rule["rule"]] = rule["verdict"]
	}
	assert.Equal(t, map[string]string{
		"application": "passing", "version": "passing", "synchronised": "passing", "progress": "passing", "own-opinion": "warning",
		"neighbours": "critical", "answer-time": "passing", "pow": "passing", "limited": "passing",
	}, verdicts)
	assert.Equal(t, map[string]string{
		"rule": "neighbours", "verdict": "critical", "value": "1 neighbour", "threshold": "2 neighbours or more",
		"reason": "fewer than 2 neighbours", "hint": "add neighbours to the node, or accept fewer with -n",
	}, report.Rules[5])
}

func TestExplainIsATableThatEndsWithTheLine(t *testing.T) {
	lines := strings.Split(strings.TrimSuffix(unhealthy().Explain(), "\n"), "\n")
	require.Len(t, lines, 11)
	assert.Equal(t, []string{"rule", "found", "wanted", "verdict"}, strings.Fields(lines[0]))
	assert.Equal(t, unhealthy().Line(), lines[10])
	column := strings.Index(lines[0], "wanted")
	for _, line := range lines[1:10] {
		assert.Equal(t, byte(' '), line[column-1], "columns are aligned: %s", line)
	}
	assert.Regexp(t, `^own-opinion +isHealthy is false +isHealthy, if reported +WARNING$`, lines[5])
}

func TestEveryFailureWithoutResponseHasAHint(t *testing.T) {
	for err, want := range map[*iri.Error]string{
		{Kind: iri.KindFailed, Status: 502}:                 "the response does not come from the node",
		{Kind: iri.KindFailed, Status: 500, FromNode: true}: "(HTTP status 500)",
		{Kind: iri.KindDenied, Status: 403}:                 "the response does not come from the node",
		{Kind: iri.KindDenied, Status: 401, FromNode: true}: "REMOTE_LIMIT_API",
		{Kind: iri.KindAuth, Status: 401}:                   "--user-file",
		{Kind: iri.KindTimeout}:                             "overloaded",
		{Kind: iri.KindDNS}:                                 "name server",
		{Kind: iri.KindUnreachable}:                         "route",
		{Kind: iri.KindNotTLS}:                              "http:// instead of https://",
		{Kind: iri.KindNotHTTP}:                             "https:// instead of http://",
	} {
		_, text := line(nodecheck.Observation{Err: err}, nodecheck.Defaults())
		assert.Contains(t, text, want)
	}
}
