package nodecheck

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Version is the version of a node, in two to five numbers with an optional suffix: 1.4.2.1, 1.8.6, 1.5.6-RELEASE,
// 1.9.0-RC7.
//
// It is parsed without regular expressions: compiling them would take a tenth of the run time of a single check.
type Version struct {
	numbers []int
	// stage is the kind of pre-release, "" for a release, and stageNumber its number without leading zeros, "" for
	// none.
	stage, stageNumber string
	text               string
}

// Bounds for the text of a version, since a node can send anything.
const (
	maxParts   = 5
	maxDigits  = 9
	maxSuffix  = 32
	digits     = "0123456789"
	suffixRest = digits + "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ."
)

// stages are the suffixes of pre-releases, oldest first. "-RELEASE" and unknown suffixes ("-legacy") do not make a
// version older.
var stages = []string{"alpha", "beta", "rc", "snapshot"}

// ParseVersion parses a version. The error shows valid ones.
func ParseVersion(text string) (Version, error) {
	numbers, suffix, hasSuffix := strings.Cut(text, "-")
	v := Version{text: numbers}
	for part := range strings.SplitSeq(numbers, ".") {
		n, err := strconv.Atoi(part)
		if err != nil || len(part) > maxDigits || strings.Trim(part, digits) != "" {
			return Version{}, notAVersion(text)
		}
		v.numbers = append(v.numbers, n)
		if len(v.numbers) > maxParts {
			return Version{}, notAVersion(text)
		}
	}
	validSuffix := suffix != "" && suffix[0] != '.' && len(suffix) <= maxSuffix && strings.Trim(suffix, suffixRest) == ""
	if len(v.numbers) < 2 || hasSuffix && !validSuffix {
		return Version{}, notAVersion(text)
	}
	v.setStage(suffix)
	return v, nil
}

func notAVersion(text string) error {
	return fmt.Errorf("%q is not a version such as 1.8.6 or 1.5.6-RELEASE", text)
}

func (v *Version) setStage(suffix string) {
	name := strings.ToLower(suffix)
	number := name[len(strings.TrimRight(name, digits)):]
	name = strings.TrimSuffix(strings.TrimSuffix(name, number), ".")
	if slices.Contains(stages, name) {
		v.stage, v.stageNumber = name, strings.TrimLeft(number, "0")
		v.text += "-" + name + number
	}
}

// Compare is negative if v is older than other, positive if it is newer, and 0 otherwise.
func (v Version) Compare(other Version) int {
	for i := range maxParts {
		if c := cmp.Compare(v.number(i), other.number(i)); c != 0 {
			return c
		}
	}
	return cmp.Or(
		cmp.Compare(v.stageRank(), other.stageRank()),
		// Digits without leading zeros: the longer number is the greater one.
		cmp.Compare(len(v.stageNumber), len(other.stageNumber)),
		cmp.Compare(v.stageNumber, other.stageNumber),
	)
}

// number is the i-th number, 0 if it is missing: 1.8 is 1.8.0.
func (v Version) number(i int) int {
	if i >= len(v.numbers) {
		return 0
	}
	return v.numbers[i]
}

// stageRank is the position among the stages; a release comes last.
func (v Version) stageRank() int {
	if v.stage == "" {
		return len(stages)
	}
	return slices.Index(stages, v.stage)
}

// String returns the version without a suffix that is ignored in comparisons.
func (v Version) String() string { return v.text }
