package haproxy

import "strings"

// ParseMap reads an answer of "show map": the value of each key. A line is "0x55d0c5e2a650 https1 node.example".
func ParseMap(text string) map[string]string {
	values := map[string]string{}
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		values[fields[1]] = strings.Join(fields[2:], " ")
	}
	return values
}
