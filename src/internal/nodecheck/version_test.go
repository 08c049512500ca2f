package nodecheck_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/nodecheck"
)

func version(t testing.TB, text string) nodecheck.Version {
	t.Helper()
	v, err := nodecheck.ParseVersion(text)
	require.NoError(t, err)
	return v
}

func TestVersionsAreOrderedByNumbersAndStage(t *testing.T) {
	for _, tt := range []struct{ older, newer string }{
		{"1.9", "1.10"},
		{"1.4.2", "1.4.2.1"},
		{"1.4.1.7", "1.4.2.1"},
		{"1.4.2.1", "1.5.6-RELEASE"},
		{"1.8.6", "1.10.0"},
		{"1.9.0-RC7", "1.9.0"},
		{"1.9.0-RC7", "1.9.0-RELEASE"},
		{"1.9.0-RC7", "1.9.0-RC10"},
		{"1.9.0-RC", "1.9.0-RC1"},
		{"1.9.0-beta2", "1.9.0-rc.1"},
		{"1.9.0-SNAPSHOT", "1.9.0"},
		{"1.8.6", "1.9.0-RC1"},
		{"0.5.0", "0.5.10"},
		{"1.8.6", "1.8.999999999"},
	} {
		t.Run(tt.older+" is older than "+tt.newer, func(t *testing.T) {
			assert.Negative(t, version(t, tt.older).Compare(version(t, tt.newer)))
			assert.Positive(t, version(t, tt.newer).Compare(version(t, tt.older)))
		})
	}
}

func TestEquivalentVersionsCompareAsEqual(t *testing.T) {
	for _, tt := range [][2]string{
		{"1.5.6", "1.5.6-RELEASE"},
		{"1.5.6", "1.5.6-release"},
		{"1.8", "1.8.0"},
		{"1.8.0.0", "1.8"},
		{"1.8.6", "1.8.6-legacy"},
		{"1.9.0-RC7", "1.9.0-rc7"},
		{"01.08", "1.8"},
	} {
		t.Run(tt[0]+" equals "+tt[1], func(t *testing.T) {
			assert.Zero(t, version(t, tt[0]).Compare(version(t, tt[1])))
		})
	}
}

func TestInvalidVersionsAreRefusedWithAnExample(t *testing.T) {
	for _, text := range []string{
		"", "1", "x", "v1.8.6", "1.8.6-", "1..8", ".1.8", "1.8.", "1.8.x", "-1.8", "1.8 ", "1.8\n", "1.2.3.4.5.6",
		"1.99999999999", "1.8.6+meta", "1.8.6_RC1", "1.8.6-é", "null", "1,8", strings.Repeat("1.", 1000) + "1",
	} {
		_, err := nodecheck.ParseVersion(text)
		assert.ErrorContains(t, err, "1.8.6", "%q", text)
	}
}

func FuzzParseVersion(f *testing.F) {
	for _, seed := range [][2]string{
		{"1.4.2.1", "1.8.6"},
		{"1.5.6-RELEASE", "1.9.0-RC7"},
		{"0.5.10", "1.8.6-x.y"},
		{"1.8.6-beta", "1.8.6-rc"},
		{"", "999999999.0"},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		va, errA := nodecheck.ParseVersion(a)
		vb, errB := nodecheck.ParseVersion(b)
		if errA != nil || errB != nil {
			return
		}
		assert.Zero(t, va.Compare(va), "a version equals itself")
		assert.Equal(t, va.Compare(vb), -vb.Compare(va), "%q and %q", a, b)
		assert.Zero(t, version(t, va.String()).Compare(va), "%q is shown as %q", a, va)
	})
}
