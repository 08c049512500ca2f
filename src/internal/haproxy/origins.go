package haproxy

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Origins says which lines of a configuration come from which Ansible variable. templates/haproxy.cfg.j2 marks them: a line
// by a comment at its end, "# from haproxy_deny_regex"; several lines by "# from haproxy_extra_frontend" before the first
// and "# end of haproxy_extra_frontend" after the last.
type Origins map[int]string

var (
	marked = regexp.MustCompile(`.*# from ([a-z][a-z_]+(?:, [^#]+)?)$`)
	begins = regexp.MustCompile(`^\s*# from ([a-z][a-z_]+)$`)
)

// ReadOrigins reads the marks of a configuration.
func ReadOrigins(text string) Origins {
	o := Origins{}
	block, first, number := "", 0, 0
	for line := range strings.Lines(text) {
		number++
		line = strings.TrimRight(line, "\r\n")
		if block != "" {
			if strings.TrimSpace(line) == "# end of "+block {
				block = ""
				continue
			}
			o[number] = fmt.Sprintf("%s, line %d", block, number-first)
		} else if m := begins.FindStringSubmatch(line); m != nil {
			block, first = m[1], number
		} else if m := marked.FindStringSubmatch(line); m != nil {
			o[number] = m[1]
		}
	}
	return o
}

// Of is the variable that a line comes from, with the line of its text where it may have several; "" for a line of the
// template's own.
func (o Origins) Of(line int) string { return o[line] }

// Complaint is what HAProxy says is wrong with a configuration, in terms of its variables.
//
// HAProxy writes "[ALERT]    (1) : config : parsing [/etc/haproxy/haproxy.cfg:163] : unknown keyword 'htp-request'". Its
// words about the template's own lines, which follow from a wrong variable, stay as they are.
func (o Origins) Complaint(file, said string) string {
	var mapped, words []string
	for line := range strings.Lines(said) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "[ALERT]") {
			continue
		}
		words = append(words, line)
		// Lines for every backend are complained about once for each.
		if text := o.complaint(file, line); text != "" && !slices.Contains(mapped, text) {
			mapped = append(mapped, text)
		}
	}
	if len(words) == 0 {
		return strings.TrimSpace(said)
	}
	return strings.Join(append(append(mapped, "HAProxy's own words:"), words...), "\n")
}

var placed = regexp.MustCompile(`^\[ALERT\][^\[]*\[([^\]]+):(\d+)\]\s*:?\s*(.*)$`)

func (o Origins) complaint(file, line string) string {
	m := placed.FindStringSubmatch(line)
	if m == nil || m[1] != file {
		return ""
	}
	number, err := strconv.Atoi(m[2])
	name := o.Of(number)
	if err != nil || name == "" {
		return ""
	}
	return name + ": " + m[3]
}
