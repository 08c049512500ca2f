package nodecheck_test

import (
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/nodecheck"
)

func query(t *testing.T, text string) url.Values {
	t.Helper()
	values, err := url.ParseQuery(text)
	require.NoError(t, err)
	return values
}

func TestAQueryWithOnlyAnAddressHasTheDefaults(t *testing.T) {
	req, err := nodecheck.ParseQuery(query(t, "address=http://10.10.0.110:14265"))
	require.NoError(t, err)
	assert.Equal(t, nodecheck.Request{
		Address: "http://10.10.0.110:14265",
		Limits: nodecheck.Limits{
			AppNames: []string{"IRI"}, MinVersion: version(t, "1.4.2.1"), MaxBehind: 1, AtSnapshot: nodecheck.Warning,
			MinNeighbours: 2, MaxAnswerTime: time.Second, Limited: true, Timeout: 3 * time.Second,
		},
	}, req)
}

func TestAQuerySetsEveryLimit(t *testing.T) {
	req, err := nodecheck.ParseQuery(query(t, "address=https://n:1&timeout=5&min-neighbours=3&min-version=1.8.6&app-name=IRI,%20HORNET"+
		"&max-answer=0.5&pow=true&skip-verify=true&skip-limited=true&max-behind=5&warn-behind=2&warn-neighbours=4&warn-answer=0.3"+
		"&at-snapshot=critical&server-name=node7.example.org"))
	require.NoError(t, err)
	assert.Equal(t, nodecheck.Request{
		Address: "https://n:1", SkipVerify: true, ServerName: "node7.example.org",
		Limits: nodecheck.Limits{
			AppNames: []string{"IRI", "HORNET"}, MinVersion: version(t, "1.8.6"), MaxBehind: 5, WarnBehind: new(int64(2)),
			AtSnapshot: nodecheck.Critical, MinNeighbours: 3, WarnNeighbours: 4, MaxAnswerTime: 500 * time.Millisecond,
			WarnAnswerTime: 300 * time.Millisecond, PoW: true, Timeout: 5 * time.Second,
		},
	}, req)
}

func TestInvalidQueriesNameTheKeyAndAValidValue(t *testing.T) {
	for text, want := range map[string]string{
		"":                                   "address: the address of the node is missing; write for example address=http://10.10.0.110:14265",
		"address=http://n&adress=x":          `unknown key "adress" (known: address, timeout,`,
		"address=http://n&pow=yes":           `pow="yes" is neither true nor false`,
		"address=http://n&pow=true&pow=true": "the key pow occurs 2 times",
		"address=http://n&min-version=new":   `min-version: "new" is not a version such as 1.8.6`,
		"address=http://n&app-name=IRI,":     `app-name "IRI," has an empty name; write for example app-name=IRI or app-name=IRI,HORNET`,
		"address=http://n&timeout=0":         `timeout "0" is not a number of seconds, at least 0.001; write for example timeout=3`,
		"address=http://n&timeout=NaN":       `timeout "NaN" is not a number of seconds`,
		"address=http://n&timeout=26":        "timeout 26: the maximum is 25, because Consul kills a check after 30 seconds",
		"address=http://n&max-answer=1e7":    `max-answer "1e7" is not a number of seconds`,
		"address=http://n&warn-answer=x":     `warn-answer "x" is not a number of seconds`,
		"address=http://n&warn-answer=2":     "warn-answer 2 is more than max-answer 1, above which it is critical",
		"address=http://n&max-behind=-1":     `max-behind "-1" is not a number of milestones; write for example max-behind=1`,
		"address=http://n&warn-behind=2":     "warn-behind 2 is more than max-behind 1, above which it is critical",
		"address=http://n&warn-behind=x":     `warn-behind "x" is not a number of milestones`,
		"address=http://n&min-neighbours=x":  `min-neighbours "x" is not a number of neighbours; write for example min-neighbours=2`,
		"address=http://n&warn-neighbours=1": "warn-neighbours 1 is less than min-neighbours 2, below which it is critical",
		"address=http://n&warn-neighbours=x": `warn-neighbours "x" is not a number of neighbours`,
		"address=http://n&at-snapshot=fine":  `at-snapshot "fine" is none of passing, warning and critical`,
	} {
		_, err := nodecheck.ParseQuery(query(t, text))
		assert.ErrorContains(t, err, want, text)
	}
}

func TestOptionsAreAQueryWithoutTheAddress(t *testing.T) {
	req, err := nodecheck.ParseOptions("skip-limited=true&pow=true&min-version=1.8.6&max-behind=3")
	require.NoError(t, err)
	assert.Empty(t, req.Address)
	assert.True(t, req.Limits.PoW)
	assert.False(t, req.Limits.Limited)
	assert.EqualValues(t, 3, req.Limits.MaxBehind)
	req, err = nodecheck.ParseOptions("")
	require.NoError(t, err)
	assert.Equal(t, nodecheck.Defaults(), req.Limits)
	for text, want := range map[string]string{
		"address=http://n":  "the key address is not an option",
		"pow=yes":           `pow="yes" is neither true nor false`,
		"pwo=true":          `unknown key "pwo"`,
		"pow=true&pow=true": "the key pow occurs 2 times",
		"pow=%zz":           `"pow=%zz" is not written like skip-limited=true&pow=true`,
	} {
		_, err := nodecheck.ParseOptions(text)
		assert.ErrorContains(t, err, want)
	}
}

func TestInvalidFlagsAreNamedAsTheUserWritesThem(t *testing.T) {
	for name, want := range map[string]string{
		"timeout":     `-t "x" is not a number of seconds, at least 0.001; write for example -t 3`,
		"warn-answer": `--warn-answer "x" is not a number of seconds, at least 0.001; write for example --warn-answer 0.5`,
	} {
		settings := nodecheck.NewSettings()
		for _, s := range settings.All() {
			switch s.Name {
			case "address":
				*s.Text = "http://n"
			case name:
				*s.Text = "x"
			}
		}
		_, err := settings.Request()
		assert.ErrorContains(t, err, want)
	}
}

func TestAtSnapshotAcceptsEveryVerdict(t *testing.T) {
	for _, want := range []nodecheck.Verdict{nodecheck.OK, nodecheck.Warning, nodecheck.Critical} {
		req, err := nodecheck.ParseQuery(query(t, "address=http://n&at-snapshot="+want.ConsulStatus()))
		require.NoError(t, err)
		assert.Equal(t, want, req.Limits.AtSnapshot)
	}
}
