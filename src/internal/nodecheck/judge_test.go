package nodecheck_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/iri"
	"github.com/nuriel77/iri-lb-haproxy/src/internal/nodecheck"
)

const second = time.Second

// healthy is the observation of a node that passes with the default limits.
func healthy() nodecheck.Observation {
	return nodecheck.Observation{
		Info: iri.NodeInfo{
			AppName: "IRI", AppVersion: "1.8.6", LatestMilestone: new(int64(1000)), SolidMilestone: new(int64(1000)),
			SnapshotMilestone: new(int64(900)), Neighbours: new(int64(3)),
		},
		Took: 20 * time.Millisecond,
		Probes: map[string]error{
			"getNeighbors": denied(401), "addNeighbors": denied(401), "removeNeighbors": denied(401), "attachToTangle": denied(401),
		},
	}
}

func denied(status int) error { return &iri.Error{Kind: iri.KindDenied, Status: status} }

func missing(command string, status int) error {
	return &iri.Error{Command: command, Kind: iri.KindFailed, Status: status, FromNode: true, Text: "Invalid parameters"}
}

func line(seen nodecheck.Observation, limits nodecheck.Limits) (nodecheck.Verdict, string) {
	r := nodecheck.Result{Address: "http://node:1", Findings: nodecheck.Judge(seen, limits)}
	return r.Verdict(), r.Line()
}

func TestEachRuleGivesItsVerdictAndLine(t *testing.T) {
	const ok, warning, critical = nodecheck.OK, nodecheck.Warning, nodecheck.Critical
	type (
		seen   = nodecheck.Observation
		limits = nodecheck.Limits
	)
	for _, tt := range []struct {
		name    string
		change  func(*seen, *limits)
		verdict nodecheck.Verdict
		line    string // contained in the line
	}{
		{"a healthy node", func(*seen, *limits) {}, ok, "OK: IRI 1.8.6, synchronised, 2 neighbours or more, limited commands refused"},
		{"limited commands not checked", func(_ *seen, l *limits) { l.Limited = false }, ok, "OK: IRI 1.8.6, synchronised, 2 neighbours or more"},

		{"another application", func(s *seen, _ *limits) { s.Info.AppName = "HORNET" }, critical, `the application is "HORNET", not IRI; use -r`},
		{"accepted names with line breaks", func(s *seen, l *limits) { s.Info.AppName, l.AppNames = "HORNET", []string{"I\nR", "I"} }, critical, `"HORNET", not I R or I;`},
		{"an accepted application", func(s *seen, l *limits) { s.Info.AppName, l.AppNames = "HORNET", []string{"IRI", "HORNET"} }, ok, "OK: HORNET 1.8.6"},
		{"a name in lower case", func(s *seen, _ *limits) { s.Info.AppName = "iri" }, critical, `"iri"`},
		{"no name", func(s *seen, _ *limits) { s.Info.AppName = "" }, critical, "no appName"},
		{"a name with a line break", func(s *seen, _ *limits) { s.Info.AppName = "IRI\nOK: IRI" }, critical, `"IRI OK: IRI"`},

		{"the oldest accepted version", func(s *seen, _ *limits) { s.Info.AppVersion = "1.4.2.1" }, ok, "IRI 1.4.2.1"},
		{"an older version", func(s *seen, _ *limits) { s.Info.AppVersion = "1.4.1.7" }, critical, "version 1.4.1.7 is older than 1.4.2.1; upgrade"},
		{"1.10 where 1.9 is required", func(s *seen, l *limits) { s.Info.AppVersion, l.MinVersion = "1.10", version(t, "1.9") }, ok, ""},
		{"a release candidate of the required version", func(s *seen, l *limits) { s.Info.AppVersion, l.MinVersion = "1.9.0-RC7", version(t, "1.9.0") }, critical, "older than 1.9.0"},
		{"an invalid version", func(s *seen, _ *limits) { s.Info.AppVersion = "latest" }, critical, `"latest" is not a version`},
		{"no version", func(s *seen, _ *limits) { s.Info.AppVersion = "" }, critical, "no appVersion"},

		{"one milestone behind", func(s *seen, _ *limits) { *s.Info.SolidMilestone = 999 }, ok, "synchronised"},
		{"two milestones behind", func(s *seen, _ *limits) { *s.Info.SolidMilestone = 998 }, critical, "not synchronised: more than 1 milestone behind; wait"},
		{"solid milestone newer than the latest", func(s *seen, _ *limits) { *s.Info.LatestMilestone = 999 }, ok, "synchronised"},
		{"no milestones", func(s *seen, _ *limits) { *s.Info.SolidMilestone, *s.Info.LatestMilestone = 0, 0 }, critical, "no milestone is solid yet"},
		{"latest milestone not reported", func(s *seen, _ *limits) { s.Info.LatestMilestone = nil }, critical, "lacks latestMilestoneIndex"},
		{"solid milestone not reported", func(s *seen, _ *limits) { s.Info.SolidMilestone = nil }, critical, "latestSolidSubtangleMilestoneIndex"},

		{"just started at its snapshot", func(s *seen, _ *limits) { *s.Info.SnapshotMilestone = 1000 }, warning, "WARNING: http://node:1: no milestone after the snapshot is solid"},
		{"just started, 1.5.5", func(s *seen, _ *limits) {
			s.Info.SnapshotMilestone, s.Info.StartMilestone = nil, new(int64(1000))
		}, warning, "just started"},
		{"without a start milestone", func(s *seen, _ *limits) { s.Info.SnapshotMilestone, s.Info.StartMilestone = nil, new(int64(-1)) }, ok, ""},
		{"snapshot not reported, 1.4.1.7", func(s *seen, _ *limits) { s.Info.SnapshotMilestone = nil }, ok, ""},
		{"behind is worse than just started", func(s *seen, _ *limits) {
			*s.Info.SnapshotMilestone, *s.Info.SolidMilestone = 900, 900
		}, critical, "not synchronised: more than"},

		{"as many neighbours as required", func(s *seen, _ *limits) { *s.Info.Neighbours = 2 }, ok, "2 neighbours or more"},
		{"too few neighbours", func(s *seen, _ *limits) { *s.Info.Neighbours = 1 }, critical, "fewer than 2 neighbours; add"},
		{"one neighbour is required", func(s *seen, l *limits) { *s.Info.Neighbours, l.MinNeighbours = 0, 1 }, critical, "fewer than 1 neighbour;"},
		{"neighbours not reported", func(s *seen, _ *limits) { s.Info.Neighbours = nil }, critical, "lacks neighbors"},

		{"exactly at the limit of the response time", func(s *seen, _ *limits) { s.Took, s.Info.Duration = second, 1000 }, ok, ""},
		{"too slow as measured", func(s *seen, _ *limits) { s.Took = second + 1 }, critical, "slow: getNodeInfo took longer than 1s"},
		{"too slow as reported by the node, in milliseconds", func(s *seen, _ *limits) { s.Info.Duration = 1001 }, critical, "slow: getNodeInfo took longer than 1s"},
		{"2 ms are not 2 s", func(s *seen, _ *limits) { s.Info.Duration = 2 }, ok, ""},

		{"PoW is refused", func(_ *seen, l *limits) { l.PoW = true }, critical, "PoW is not allowed"},
		{"PoW is refused by HORNET", func(s *seen, l *limits) { l.PoW, s.Probes["attachToTangle"] = true, denied(403) }, critical, "PoW is not allowed"},
		{"PoW is allowed, 1.7.0", func(s *seen, l *limits) { l.PoW, s.Probes["attachToTangle"] = true, missing("attachToTangle", 400) }, ok, "PoW allowed, limited commands refused"},
		{"PoW is allowed, 1.7.1", func(s *seen, l *limits) { l.PoW, s.Probes["attachToTangle"] = true, missing("attachToTangle", 500) }, ok, "PoW allowed"},
		{"PoW is switched off in HORNET", func(s *seen, l *limits) {
			l.PoW = true
			s.Probes["attachToTangle"] = &iri.Error{Kind: iri.KindFailed, Status: 400, FromNode: true, Text: "Command [attachToTangle] is unknown"}
		}, critical, "PoW is not allowed"},
		{"a proxy responds to the PoW probe", func(s *seen, l *limits) {
			l.PoW, s.Probes["attachToTangle"] = true, &iri.Error{Command: "attachToTangle", Kind: iri.KindFailed, Status: 502}
		}, critical, "attachToTangle: the node responded with an error (HTTP status 502)"},

		{"one limited command is not refused", func(s *seen, _ *limits) { s.Probes["addNeighbors"] = missing("addNeighbors", 400) }, critical, "not refused to this host: addNeighbors; extend the node's REMOTE_LIMIT_API"},
		{"two limited commands are not refused", func(s *seen, _ *limits) {
			s.Probes["getNeighbors"], s.Probes["removeNeighbors"] = nil, missing("removeNeighbors", 500)
		}, critical, "not refused to this host: getNeighbors, removeNeighbors;"},
		{"attachToTangle is not refused", func(s *seen, _ *limits) { s.Probes["attachToTangle"] = missing("attachToTangle", 500) }, critical, "not refused to this host: attachToTangle;"},
		{"a probe times out", func(s *seen, _ *limits) {
			s.Probes["getNeighbors"] = &iri.Error{Command: "getNeighbors", Kind: iri.KindTimeout}
		}, critical, "getNeighbors: no response in time"},

		{"connection refused", func(s *seen, _ *limits) { s.Err = &iri.Error{Command: "getNodeInfo", Kind: iri.KindRefused} }, critical, "CRITICAL: http://node:1: getNodeInfo: connection refused; is the node running, and"},
		{"an error of another kind", func(s *seen, _ *limits) { s.Err = errors.New("failed") }, critical, "failed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, l := healthy(), nodecheck.Defaults()
			tt.change(&s, &l)
			verdict, text := line(s, l)
			assert.Equal(t, tt.verdict, verdict, text)
			assert.Contains(t, text, tt.line)
			assert.NotContains(t, text, "\n")
		})
	}
}

// Consul wakes all watchers of a check whose output changes.
func TestTheLineIsStableWhileTheReasonIs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		lines := map[string]string{}
		latest := rapid.Int64Range(1, 1<<40)
		for range 20 {
			s := healthy()
			*s.Info.LatestMilestone = latest.Draw(t, "latest")
			*s.Info.SolidMilestone = max(0, *s.Info.LatestMilestone-rapid.Int64Range(-1, 4).Draw(t, "behind"))
			*s.Info.SnapshotMilestone = max(0, *s.Info.SolidMilestone-rapid.Int64Range(0, 2).Draw(t, "since snapshot"))
			*s.Info.Neighbours = rapid.Int64Range(0, 50).Draw(t, "neighbours")
			s.Info.Duration = rapid.Int64Range(0, 1500).Draw(t, "duration")
			s.Took = time.Duration(rapid.Int64Range(0, int64(2*second)).Draw(t, "took"))
			l := nodecheck.Defaults()
			l.MaxBehind, l.WarnBehind, l.WarnNeighbours, l.WarnAnswerTime = 2, new(int64(1)), 5, second/2

			result := nodecheck.Result{Address: "http://node:1", Findings: nodecheck.Judge(s, l)}
			first := "" // the rule that determines the line
			for _, f := range result.Findings {
				if f.Verdict == result.Verdict() && f.Verdict != nodecheck.OK && first == "" {
					first = f.Rule
					if f.Rule == "synchronised" {
						first += fmt.Sprint(*s.Info.SolidMilestone == 0)
					}
				}
			}
			key := result.Verdict().String() + first
			if before, seen := lines[key]; seen {
				require.Equal(t, before, result.Line())
			}
			lines[key] = result.Line()
		}
	})
}

func TestEveryFindingNamesItsRule(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range nodecheck.Judge(healthy(), nodecheck.Defaults()) {
		assert.NotEmpty(t, f.Rule)
		assert.NotEmpty(t, f.Value, f.Rule)
		assert.False(t, seen[f.Rule], f.Rule)
		seen[f.Rule] = true
	}
	assert.Len(t, seen, 9)
}
