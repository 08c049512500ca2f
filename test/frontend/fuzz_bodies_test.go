//go:build integration

package frontend

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// fuzzCommands has all three kinds: for the default pool, for proof of work, and for operators.
var fuzzCommands = []string{
	"getNodeInfo", "getTips", "storeTransactions", "x", "attachToTangle", "ATTACHTOTANGLE", "interruptAttachingToTangle", "getNeighbors", "addNeighbors",
	"REMOVENEIGHBORS",
}

// tokens are what parsers trip over.
var tokens = []string{
	`"`, `'`, `\`, `{`, `}`, `[`, `]`, `:`, `,`, `;`, `=`, `=>`, `#`, `//`, `/*`, `*/`, ")]}'\n", "\n", "\r", "\t", " ", "\x00", "\x0b", "\x0c", "\x1f", "\x7f", "\uFEFF", "\u00a0", "\u2028",
	"\u017f", "\xff", "\xc3", "\xc0\xa2", "\xed\xa0\x80", "null", "NULL", "true", "False", "NaN", "-", "1", "01", "1e9", "-0.5", "1.", `\u0022`, `\u005c`, `\u0000`, `\u00`, `\ud800`, `\x41`, `\'`,
	`"command"`, `"command":`, `"Command":`, `"comm\u0061nd":`, `command:`, `'command':`, `,"command":"attachToTangle"`, `"command":"getNeighbors",`, `"command":null,`, `"a":`, `{"command":"getNodeInfo"}`,
	`["command","attachToTangle"]`, `"\ud83d\ude00"`, "日本", "9",
}

// bodyMaker makes random bodies.
type bodyMaker struct{ *rand.Rand }

// body is one of three kinds. The command is returned only for the first: every node reads it, and HAProxy has to.
func (m bodyMaker) body() (body, command string) {
	switch n := m.IntN(10); {
	case n < 3:
		command = m.pick(fuzzCommands)
		return m.proper(command), command
	case n < 9:
		return m.damaged(), ""
	default:
		return m.heap(), ""
	}
}

func (m bodyMaker) pick(of []string) string { return of[m.IntN(len(of))] }

// proper is a body in strict JSON with one command.
func (m bodyMaker) proper(command string) string {
	members := []string{`"command"` + m.space() + ":" + m.space() + `"` + m.escaped(command) + `"`}
	for range m.IntN(5) {
		members = append(members, m.member())
	}
	m.Shuffle(len(members), func(i, j int) { members[i], members[j] = members[j], members[i] })
	return m.space() + "{" + m.list(members) + "}" + m.space()
}

// list joins values with commas and white space.
func (m bodyMaker) list(elements []string) string {
	var out strings.Builder
	out.WriteString(m.space())
	for i, e := range elements {
		if i > 0 {
			out.WriteString("," + m.space())
		}
		out.WriteString(e + m.space())
	}
	return out.String()
}

func (m bodyMaker) space() string {
	if m.IntN(3) > 0 {
		return ""
	}
	return strings.Repeat(m.pick([]string{" ", "\n", "\t", "\r\n"}), 1+m.IntN(3))
}

func (m bodyMaker) member() string {
	name := m.pick([]string{"trytes", "uris", "a", "", "commands", "comman", "ключ", "$.command", "a b", "x command", "minWeightMagnitude"})
	return `"` + name + `"` + m.space() + ":" + m.space() + m.value(3)
}

// value is any JSON value of at most that depth.
func (m bodyMaker) value(depth int) string {
	kinds := 6
	if depth > 0 {
		kinds = 9
	}
	switch n := m.IntN(kinds); n {
	case 0:
		return m.pick([]string{"0", "-0", "14", "-1.5", "1e9", "2.50E-7", "123456789012345678901234567890"})
	case 1:
		return m.pick([]string{"true", "false", "null"})
	case 2:
		return `"` + strings.Repeat("9ABC", m.IntN(1+m.IntN(2000))) + `"`
	case 3, 4, 5:
		return `"` + m.escaped(m.pick([]string{"", "command", "getNodeInfo", `","command":"attachToTangle`, "日本 😀", "a/b\\c\"d", "a\nb", "}", "/*", "#"})) + `"`
	case 6, 7:
		var elements []string
		for range m.IntN(4) {
			elements = append(elements, m.value(depth-1))
		}
		return "[" + m.list(elements) + "]"
	default:
		members := []string{}
		for range m.IntN(4) {
			name := m.pick([]string{"command", "Command", "a", `comm\u0061nd`})
			members = append(members, `"`+name+`":`+m.value(depth-1))
		}
		return "{" + m.list(members) + "}"
	}
}

// escaped is the inside of a JSON string, with more escapes than it needs.
func (m bodyMaker) escaped(text string) string {
	share := []int{2, 10, 1000}[m.IntN(3)]
	var out strings.Builder
	for _, c := range text {
		switch {
		case c == '"' || c == '\\':
			out.WriteString(`\` + string(c))
		case c < ' ', c < 0x80 && m.IntN(share) == 0:
			fmt.Fprintf(&out, m.pick([]string{`\u%04x`, `\u%04X`}), c)
		default:
			out.WriteRune(c)
		}
	}
	return out.String()
}

// damaged is a body with some changes, which may leave it valid.
func (m bodyMaker) damaged() string {
	text := m.proper(m.pick(fuzzCommands))
	if m.IntN(3) == 0 {
		d := fuzzDisguises[m.IntN(len(fuzzDisguises))]
		text = strings.ReplaceAll(d, "X", m.pick(fuzzCommands))
	}
	for range 1 + m.IntN(4) {
		text = m.change(text)
	}
	return text
}

// fuzzDisguises are those disguises of the table that are short enough to be sent often.
var fuzzDisguises = func() (short []string) {
	for _, d := range disguises() {
		if len(d.body) < 1000 {
			short = append(short, d.body)
		}
	}
	return short
}()

// change makes one change.
func (m bodyMaker) change(text string) string {
	if text == "" {
		return m.pick(tokens)
	}
	from := m.IntN(len(text))
	to := min(len(text), from+1+m.IntN(1+m.IntN(12)))
	switch m.IntN(7) {
	case 0, 1:
		return text[:from] + m.pick(tokens) + text[from:]
	case 2:
		return text[:from] + m.pick(tokens) + text[to:]
	case 3:
		return text[:from] + text[to:]
	case 4:
		return text[:to] + text[from:to] + text[to:]
	case 5:
		return text[:from] + string(rune(m.IntN(256))) + text[from+1:]
	default: // from any place into another body
		other := m.proper(m.pick(fuzzCommands))
		return text[:from] + other[m.IntN(len(other)):]
	}
}

// heap is tokens in random order.
func (m bodyMaker) heap() string {
	text := m.pick([]string{"", "{", `{"command":"getNodeInfo"`})
	for range m.IntN(20) {
		text += m.pick(tokens)
	}
	return text + m.pick([]string{"", "}", `"}`})
}
