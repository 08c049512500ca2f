package nodecheck

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Version is a node's version, in two to five parts: 1.4.2.1, 1.8.6,
// 1.5.6-RELEASE, 1.9.0-RC7.
//
// It is read without regular expressions: to compile them would cost a check
// that runs as a process a tenth of its time.
type Version struct {
	numbers []int
	// stage is "" for a release, else what it is not yet: its name, and its
	// number as digits, "" for none.
	stage, stageNumber string
	text               string
}

// The bounds of a version's text: a node can send anything.
const (
	maxParts   = 5
	maxDigits  = 9
	maxSuffix  = 32
	digits     = "0123456789"
	suffixRest = digits + "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ."
)

// stages are the suffixes that make a version older than the one without, the
// oldest first. "-RELEASE" says nothing, and what is not known ("-legacy") is no
// reason to think a version old.
var stages = []string{"alpha", "beta", "rc", "snapshot"}

// ParseVersion reads a version. The error says what a version looks like.
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

// Compare is negative when v is older than other, positive when it is newer.
func (v Version) Compare(other Version) int {
	for i := range maxParts {
		if c := cmp.Compare(v.number(i), other.number(i)); c != 0 {
			return c
		}
	}
	return cmp.Or(
		cmp.Compare(v.age(), other.age()),
		// Digits without leading zeros: the longer is the greater.
		cmp.Compare(len(v.stageNumber), len(other.stageNumber)),
		cmp.Compare(v.stageNumber, other.stageNumber),
	)
}

// number is the i-th part: 1.8 is 1.8.0.
func (v Version) number(i int) int {
	if i >= len(v.numbers) {
		return 0
	}
	return v.numbers[i]
}

func (v Version) age() int {
	if v.stage == "" {
		return len(stages)
	}
	return slices.Index(stages, v.stage)
}

// String is the version without a suffix that does not count.
func (v Version) String() string { return v.text }
