package nodecheck

import (
	"fmt"
	"regexp"
	"strings"

	goversion "github.com/hashicorp/go-version"
)

// Version is a node's version, in three parts or four: 1.4.2.1, 1.8.6,
// 1.5.6-RELEASE, 1.9.0-RC7.
type Version struct{ parsed *goversion.Version }

// versionSyntax bounds the length too: a node can send anything.
var versionSyntax = regexp.MustCompile(`^[0-9]{1,9}(\.[0-9]{1,9}){1,4}(-[0-9A-Za-z][0-9A-Za-z.]{0,31})?$`)

// preRelease are the suffixes that make a version older than the one without.
// "-RELEASE" says nothing, and what is not known ("-legacy") is no reason to
// think a version old.
var preRelease = regexp.MustCompile(`^(alpha|beta|rc|snapshot)\.?([0-9]*)$`)

// ParseVersion reads a version. The error says what a version looks like.
func ParseVersion(text string) (Version, error) {
	if !versionSyntax.MatchString(text) {
		return Version{}, fmt.Errorf("%q is not a version such as 1.8.6 or 1.5.6-RELEASE", text)
	}
	numbers, suffix, _ := strings.Cut(text, "-")
	if m := preRelease.FindStringSubmatch(strings.ToLower(suffix)); m != nil {
		numbers += "-" + m[1] // "rc.7": a part of its own, so that RC10 is newer than RC7
		if m[2] != "" {
			numbers += "." + m[2]
		}
	}
	parsed, err := goversion.NewVersion(numbers)
	if err != nil {
		return Version{}, fmt.Errorf("%q is not a version such as 1.8.6: %w", text, err)
	}
	return Version{parsed}, nil
}

// Compare is negative when v is older than other, positive when it is newer.
func (v Version) Compare(other Version) int { return v.parsed.Compare(other.parsed) }

// String is the version without a suffix that does not count.
func (v Version) String() string { return v.parsed.Original() }
