//go:build integration

package frontend

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf16"
)

// limit is the longest body: IRI's MAX_BODY_LENGTH.
const limit = 1_000_000

// bodyRows are the requests that differ in their bodies.
func bodyRows() []tableRow {
	rows := spellingRows()
	rows = append(rows, chunkRows()...)
	rows = append(rows, sizeRows()...)
	rows = append(rows, disguiseRows()...)
	return append(rows, otherCommandRows()...)
}

// order is a command from a source, and what has to happen to it.
type order struct {
	command, source string
	want            verdict
}

func orders() []order {
	return []order{
		{"attachToTangle", "", atPoW},
		{"interruptAttachingToTangle", "", atPoW},
		{"getNodeInfo", "", atDefault},
		{"getNeighbors", "", denied("getNeighbors")},
		{"getNeighbors", trusted, atDefault},
		{"removeNeighbors", "", denied("removeNeighbors")},
	}
}

// mainOrders has one order for each kind of verdict, which is enough where bodies are large.
func mainOrders() []order {
	all := orders()
	return []order{all[0], all[2], all[3]}
}

func (o order) tableRow(how, body string) tableRow {
	name := o.command + ", " + how
	if o.source != "" {
		name += ", from the whitelist"
	}
	return tableRow{name: name, request: request{body: body, source: o.source}, want: o.want}
}

// spelling is a way to write a body that every JSON parser reads alike. X stands for the command.
type spelling struct{ how, body string }

func spellings() []spelling {
	return []spelling{
		{"alone", `{"command":"X"}`},
		{"a key before", `{"uris":[],"command":"X"}`},
		{"a key after", `{"command":"X","uris":[]}`},
		{"keys around", `{"a":1,"command":"X","b":{"c":[1,2,{"d":null}]}}`},
		{"spaces", `  {  "command"  :  "X"  ,  "a"  :  1  }  `},
		{"tabs", "\t{\t\"command\"\t:\t\"X\"\t}\t"},
		{"line feeds", "\n{\n\"command\"\n:\n\"X\"\n}\n"},
		{"carriage returns", "\r\n{\r\n\"command\"\r\n:\r\n\"X\"\r\n}\r\n"},
		{"much space", strings.Repeat(" ", 20000) + `{"command":` + strings.Repeat("\n", 20000) + `"X"}` + strings.Repeat("\t", 20000)},
		{"a nested command before", `{"a":{"command":"getTips"},"command":"X"}`},
		{"a nested command for proof of work before", `{"a":{"command":"attachToTangle"},"command":"X"}`},
		{"a nested command after", `{"command":"X","a":{"command":"getTips"}}`},
		{"nested commands in an array", `{"a":[{"command":"getTips"},{"command":"attachToTangle"}],"command":"X"}`},
		{"a command in a string before", `{"a":"\",\"command\":\"getTips\"","command":"X"}`},
		{"a command in a string after", `{"command":"X","a":"\",\"command\":\"attachToTangle\",\""}`},
		{"a value that ends in a backslash", `{"a":"\\","b":"\\\"\\\\","command":"X"}`},
		{"keys that begin with command", `{"commands":"getTips","command2":1,"command ":2,"command":"X"}`},
		{"keys that end with command", `{"xcommand":"getTips"," command":"attachToTangle","command":"X"}`},
		{"a key with a dot", `{"$.command":"getTips","a.command":"getTips","command":"X"}`},
		{"an empty key", `{"":"getTips","command":"X"}`},
		{"command as a value", `{"a":"command","command":"X","b":"command"}`},
		{"numbers of all forms", `{"a":[0,-0,12,-1.5,1e9,1E+3,2.5e-7],"command":"X"}`},
		{"literals", `{"a":[true,false,null],"command":"X"}`},
		{"empty containers", `{"a":{},"b":[],"c":[[],{}],"command":"X"}`},
		{"all escapes in a value", `{"a":"\"\\\/\b\f\n\r\t\u0041\ud83d\ude00","command":"X"}`},
		{"a NUL escape in a value", `{"a":"\u0000","command":"X"}`},
		{"half a surrogate pair in a value", `{"a":"\ud800","command":"X"}`},
		{"text in other scripts", `{"tag":"日本語 Ωmega é 😀","ключ":"значение","command":"X"}`},
		{"DEL in a value", "{\"a\":\"\x7f\",\"command\":\"X\"}"},
		{"a thousand keys before", "{" + strings.Repeat(`"k":[1,"x"],`, 1000) + `"command":"X"}`},
		{"ten levels deep after", `{"command":"X","a":` + nested(10) + `}`},
		{"ten levels deep before", `{"a":` + nested(10) + `,"command":"X"}`},
		{"100 kB before", `{"trytes":["` + strings.Repeat("9", 100_000) + `"],"command":"X"}`},
	}
}

func nested(levels int) string { return strings.Repeat("[", levels) + strings.Repeat("]", levels) }

// escapings write the command's value with escapes.
func escapings() map[string]func(string) string {
	each := func(form string, which func(i, n int) bool) func(string) string {
		return func(command string) string {
			var out strings.Builder
			for i, c := range command {
				if which(i, len(command)) {
					fmt.Fprintf(&out, form, c)
				} else {
					out.WriteRune(c)
				}
			}
			return out.String()
		}
	}
	return map[string]func(string) string{
		"its first letter escaped":              each(`\u%04x`, func(i, _ int) bool { return i == 0 }),
		"its last letter escaped":               each(`\u%04x`, func(i, n int) bool { return i == n-1 }),
		"all letters escaped, lower-case hex":   each(`\u%04x`, func(int, int) bool { return true }),
		"all letters escaped, upper-case hex":   each(`\u%04X`, func(int, int) bool { return true }),
		"every second letter escaped":           each(`\u%04X`, func(i, _ int) bool { return i%2 == 1 }),
		"only the capital in its middle as hex": each(`\u%04x`, func(i, _ int) bool { return i == 3 || i == 6 || i == 8 }),
	}
}

// spellingRows: how a body is written does not change where it goes.
func spellingRows() []tableRow {
	var rows []tableRow
	for _, o := range orders() {
		for _, s := range spellings() {
			rows = append(rows, o.tableRow(s.how, strings.ReplaceAll(s.body, "X", o.command)))
		}
		for how, escape := range escapings() {
			rows = append(rows, o.tableRow(how, `{"command":"`+escape(o.command)+`"}`))
		}
		// HORNET reads commands in any letter case.
		for how, change := range map[string]func(string) string{"upper case": strings.ToUpper, "lower case": strings.ToLower} {
			changed := o
			if o.want.status == 403 {
				changed.want = denied(change(o.command))
			}
			rows = append(rows, changed.tableRow(how, `{"command":"`+change(o.command)+`"}`))
		}
	}
	return rows
}

// chunkRows: nor do the pieces in which it arrives.
func chunkRows() []tableRow {
	var rows []tableRow
	for _, o := range orders() {
		small := `{"trytes":["9999"],"command":"` + o.command + `","minWeightMagnitude":14}`
		for _, size := range []int{1, 2, 7, 16, 64, 4096} {
			r := o.tableRow(fmt.Sprintf("pieces of %d bytes", size), small)
			r.chunk = size
			rows = append(rows, r)
		}
	}
	for _, o := range mainOrders() {
		for _, size := range []int{997, 65536} {
			r := o.tableRow(fmt.Sprintf("900 kB in pieces of %d bytes, the command last", size), padded(900_000, o.command))
			r.chunk = size
			rows = append(rows, r)
		}
	}
	return rows
}

// padded is a body of exactly size bytes with the command at its end.
func padded(size int, command string) string {
	head, tail := `{"trytes":["`, `"],"command":"`+command+`"}`
	return head + strings.Repeat("9", size-len(head)-len(tail)) + tail
}

// sizeRows: nor does its size, up to IRI's own limit.
func sizeRows() []tableRow {
	var rows []tableRow
	for _, o := range mainOrders() {
		for _, size := range []int{16_384, 65_536, 524_288, limit - 1, limit} {
			rows = append(rows, o.tableRow(fmt.Sprintf("%d bytes, the command last", size), padded(size, o.command)))
		}
		last := o.tableRow("exactly the limit, in pieces", padded(limit, o.command))
		last.chunk = 50_000
		rows = append(rows, last, o.tableRow("900 kB after it", `{"command":"`+o.command+`","trytes":["`+strings.Repeat("9", 900_000)+`"]}`))
		for _, size := range []int{limit + 1, limit + 40_000, 1_048_576, 3_000_000} {
			r := o.tableRow(fmt.Sprintf("%d bytes: too long", size), padded(size, o.command))
			r.want = tooLong
			inPieces := r
			inPieces.name, inPieces.chunk = r.name+", in pieces", 30_000
			rows = append(rows, r, inPieces)
		}
	}
	return append(rows,
		tableRow{"a bundle of 100 transactions", request{body: bundle(100)}, atPoW},
		tableRow{"a bundle of 300 transactions in pieces", request{body: bundle(300), chunk: 8192}, atPoW},
		tableRow{"ten thousand hashes", request{body: hashes(10_000)}, atDefault},
		tableRow{"eleven thousand hashes in pieces", request{body: hashes(11_000), chunk: 8192}, atDefault},
	)
}

func bundle(transactions int) string {
	trytes := make([]string, transactions)
	for i := range trytes {
		trytes[i] = strings.Repeat("ABC9", 669)[:2673]
	}
	return object("attachToTangle", map[string]any{"trunkTransaction": strings.Repeat("A", 81), "minWeightMagnitude": 14, "trytes": trytes})
}

func hashes(n int) string {
	list := make([]string, n)
	for i := range list {
		list[i] = strings.Repeat("HASH9", 17)[:81]
	}
	return object("getTrytes", map[string]any{"hashes": list})
}

func object(command string, members map[string]any) string {
	members["command"] = command
	text, err := json.Marshal(members)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// disguises are bodies that two parsers may read differently. X stands for a command that must not get through.
func disguises() []spelling {
	return []spelling{
		// Which of two counts?
		{"", `{"command":"getNodeInfo","command":"X"}`},
		{"", `{"command":"X","command":"getNodeInfo"}`},
		{"", `{"command":"X","command":"X"}`},
		{"", `{"command":null,"command":"X"}`},
		{"", `{"command":"X","command":null}`},
		{"", `{"command":1,"command":"X"}`},
		{"", `{"command":{},"command":"X"}`},
		{"", `{"command":["getNodeInfo"],"command":"X"}`},
		{"", `{"command":"getNodeInfo","a":1,"command":"X","b":2}`},
		{"", `{"command":"getNodeInfo","command":"getTips","command":"X"}`},
		{"900 kB between two commands", `{"command":"getNodeInfo","a":"` + strings.Repeat("9", 900_000) + `","command":"X"}`},
		// A key in disguise.
		{"", `{"comm\u0061nd":"X"}`},
		{"", `{"command":"getNodeInfo","comm\u0061nd":"X"}`},
		{"", `{"comm\u0061nd":"X","command":"getNodeInfo"}`},
		{"", `{"\u0063\u006f\u006d\u006d\u0061\u006e\u0064":"X","command":"getNodeInfo"}`},
		{"", `{"\u0063ommand":"X"}`},
		{"an escape in another key", `{"a\u0062c":1,"command":"X"}`},
		{"a key that ends in a backslash", `{"a\\":1,"command":"X"}`},
		{"a solidus escaped in a key", `{"a\/b":1,"command":"X"}`},
		{"", `{"Command":"X"}`},
		{"", `{"COMMAND":"X","command":"getNodeInfo"}`},
		{"", `{"command":"getNodeInfo","COMMAND":"X"}`},
		{"", `{"command":"getNodeInfo","cOmMaNd":"X"}`},
		{"a NUL in a key", "{\"command\x00\":\"X\",\"command\":\"getNodeInfo\"}"},
		{"", `{"command\u0000":"X","command":"getNodeInfo"}`},
		// Not at the top, or not an object.
		{"", `{"a":{"command":"X"}}`},
		{"", `{"a":[{"command":"X"}]}`},
		{"", `[{"command":"X"}]`},
		{"", `["command","X"]`},
		{"", `"X"`},
		{"", `"{\"command\":\"X\"}"`},
		// Lenient parsers.
		{"", `{'command':'X'}`},
		{"", `{'command':"X"}`},
		{"", `{"command":'X'}`},
		{"", `{command:"X"}`},
		{"", `{command:X}`},
		{"", `{"command":X}`},
		{"", `{"command"="X"}`},
		{"", `{"command"=>"X"}`},
		{"", `{"command":"X";"a":1}`},
		{"", `{"command":"X",}`},
		{"", `{,"command":"X"}`},
		{"", `{"a":1,,"command":"X"}`},
		{"", `{"a":1 "command":"X"}`},
		{"", `{"a":[1,],"command":"X"}`},
		{"", `{"a":[,1],"command":"X"}`},
		{"", `{"a":01,"command":"X"}`},
		{"", `{"a":+1,"command":"X"}`},
		{"", `{"a":.5,"command":"X"}`},
		{"", `{"a":1.,"command":"X"}`},
		{"", `{"a":0x10,"command":"X"}`},
		{"", `{"a":NaN,"command":"X"}`},
		{"", `{"a":-Infinity,"command":"X"}`},
		{"", `{"a":True,"command":"X"}`},
		{"", `{"a":undefined,"command":"X"}`},
		{"", `{"a":"\x41","command":"X"}`},
		{"", `{"a":"\u12","command":"X"}`},
		{"", `{"a":"\'","command":"X"}`},
		{"a line feed in a string", "{\"a\":\"1\n2\",\"command\":\"X\"}"},
		{"a tab in a string", "{\"a\":\"1\t2\",\"command\":\"X\"}"},
		{"a control character in a string", "{\"a\":\"1\x012\",\"command\":\"X\"}"},
		{"a NUL in a string", "{\"a\":\"1\x002\",\"command\":\"X\"}"},
		// Comments.
		{"", `/* {"command":"getNodeInfo"} */{"command":"X"}`},
		{"", `{/*"command":"getNodeInfo",*/"command":"X"}`},
		{"", `{"command":/**/"X"}`},
		{"a line comment", "{//\"command\":\"getNodeInfo\",\n\"command\":\"X\"}"},
		{"a hash comment", "#{\"command\":\"getNodeInfo\"}\n{\"command\":\"X\"}"},
		// Before, after, cut off.
		{"", `)]}'{"command":"X"}`},
		{"the prefix that gson skips", ")]}'\n{\"command\":\"X\"}"},
		{"", `{"command":"X"}}`},
		{"", `{"command":"X"}x`},
		{"", `{"command":"X"},`},
		{"", `{"command":"getNodeInfo"}{"command":"X"}`},
		{"", `{"command":"X"}{"command":"getNodeInfo"}`},
		{"two objects in two lines", "{\"command\":\"getNodeInfo\"}\n{\"command\":\"X\"}"},
		{"", `{"command":"X"} null`},
		{"a NUL behind", "{\"command\":\"X\"}\x00"},
		{"a NUL before", "\x00{\"command\":\"X\"}"},
		{"bytes before that are in no UTF-8", "\xff\xff{\"command\":\"X\"}"},
		{"a NUL and another behind", "{\"command\":\"getNodeInfo\"}\x00{\"command\":\"X\"}"},
		{"", `{"command":"X"`},
		{"", `{"command":"X`},
		{"", `"command":"X"`},
		{"", `{"command":"X","a":`},
		{"", `{"command":"X","a":[1,2}`},
		{"", `{"a":[1,2,"command":"X"}`},
		// Encodings.
		{"UTF-8 with a mark", "\xef\xbb\xbf{\"command\":\"X\"}"},
		{"UTF-16, little endian", wide(`{"command":"X"}`, "\xff\xfe", false)},
		{"UTF-16, big endian", wide(`{"command":"X"}`, "\xfe\xff", true)},
		{"UTF-16 without a mark", wide(`{"command":"X"}`, "", false)},
		{"UTF-7", "+AHsAIg-command+ACIAOgAi-X+ACIAfQ-"},
		{"compressed", gzipped(`{"command":"X"}`)},
		{"a form", `command=X`},
		{"a space that is none: NBSP", "{\u00a0\"command\":\"X\"}"},
		{"a space that is none: vertical tab", "{\v\"command\":\"X\"}"},
		{"a space that is none: form feed", "{\f\"command\":\"X\"}"},
		{"a space that is none: line separator", "{\u2028\"command\":\"X\"}"},
		{"a space that is none: NEL", "{\"command\":\u0085\"X\"}"},
		{"UTF-8 cut off", "{\"a\":\"\xc3\",\"command\":\"X\"}"},
		{"UTF-8 that swallows a quote", "{\"a\":\"\xf0\"\",\"command\":\"X\"}"},
		{"UTF-8, overlong", "{\"a\":\"\xc0\xaf\",\"command\":\"X\"}"},
		{"UTF-8, an overlong quote", "{\"a\":\"\xc0\xa2\",\"command\":\"X\"}"},
		{"UTF-8, a surrogate", "{\"a\":\"\xed\xa0\x80\",\"command\":\"X\"}"},
		{"UTF-8, beyond Unicode", "{\"a\":\"\xf4\x90\x80\x80\",\"command\":\"X\"}"},
		{"Latin-1", "{\"a\":\"\xe9t\xe9\",\"command\":\"X\"}"},
		// The value.
		{"", `{"command":["X"]}`},
		{"", `{"command":{"command":"X"}}`},
		{"", `{"command":"X"+""}`},
		{"", `{"command":"X" "X"}`},
		{"a line feed after it", "{\"command\":\"X\n\"}"},
		{"an escaped line feed after it", `{"command":"X\n"}`},
		{"an escaped NUL after it", `{"command":"X\u0000"}`},
		{"an escaped tab before it", `{"command":"\tX"}`},
		{"an escape that JSON has not", `{"command":"\X"}`},
		{"a zero-width space in it", "{\"command\":\"\u200bX\"}"},
		{"a zero-width space escaped", `{"command":"X\u200b"}`},
		{"a no-break space after it", "{\"command\":\"X\u00a0\"}"},
		{"DEL after it", "{\"command\":\"X\x7f\"}"},
		{"DEL escaped", `{"command":"X\u007f"}`},
		{"an acute accent after it", "{\"command\":\"X\u0301\"}"},
		{"129 characters", `{"command":"X` + strings.Repeat(" ", 129) + `"}`},
		{"900 kB of value", `{"command":"X` + strings.Repeat("9", 900_000) + `"}`},
		// Depth. A parser that gives up must not let anything through.
		{"100 levels before", `{"a":` + nested(100) + `,"command":"X"}`},
		{"10000 levels before", `{"a":` + nested(10_000) + `,"command":"X"}`},
		{"400000 levels before", `{"a":` + nested(400_000) + `,"command":"X"}`},
		{"400000 levels after", `{"command":"X","a":` + nested(400_000) + `}`},
		{"100000 objects deep", strings.Repeat(`{"a":`, 100_000) + `{"command":"X"}` + strings.Repeat("}", 100_000)},
		{"an array that does not end", `{"command":"X","a":` + strings.Repeat("[", 900_000)},
	}
}

func wide(text, mark string, big bool) string {
	out := []byte(mark)
	for _, unit := range utf16.Encode([]rune(text)) {
		if big {
			out = append(out, byte(unit>>8), byte(unit))
		} else {
			out = append(out, byte(unit), byte(unit>>8))
		}
	}
	return string(out)
}

func gzipped(text string) string {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, _ = w.Write([]byte(text))
	_ = w.Close()
	return out.String()
}

// disguiseRows: a body that could be read in two ways reaches no node.
func disguiseRows() []tableRow {
	var rows []tableRow
	for _, command := range []string{"attachToTangle", "getNeighbors"} {
		for _, d := range disguises() {
			body := strings.ReplaceAll(d.body, "X", command)
			how := d.how
			if how == "" {
				how = shorten(d.body)
			}
			rows = append(rows, tableRow{command + " disguised: " + how, request{body: body}, unreadable})
		}
	}
	for name, body := range map[string]string{
		"nothing": "", "a space": " ", "null": "null", "an empty object": "{}", "an empty array": "[]", "true": "true", "a number": "1",
		"a number as command": `{"command":1}`, "null as command": `{"command":null}`, "true as command": `{"command":true}`,
		"an object as command": `{"command":{}}`, "an array as command": `{"command":[]}`, "no colon": `{"command"}`, "text": "hello",
		"an empty command": `{"command":""}`, "a brace": "{", "1 MB of nothing": strings.Repeat(" ", limit),
		"1 MB of quotes": strings.Repeat(`"`, limit), "1 MB of braces": strings.Repeat("{", limit), "1 MB of backslashes": `{"` + strings.Repeat(`\`, limit-2),
		"100000 empty keys": "{" + strings.Repeat(`"":0,`, 100_000) + `"":0}`,
	} {
		rows = append(rows, tableRow{"no command: " + name, request{body: body}, unreadable})
	}
	return append(rows, tableRow{"no command: only other keys", request{body: `{"a":1}`}, noCommand})
}

// otherCommandRows: commands that look like others.
func otherCommandRows() []tableRow {
	var rows []tableRow
	add := func(name, command string, want verdict) {
		text, _ := json.Marshal(map[string]string{"command": command})
		rows = append(rows, tableRow{name, request{body: string(text)}, want})
	}
	// Neither IRI nor HORNET knows these; what matters is that neither takes them for proof of work in the wrong pool.
	add("a space after attachToTangle", "attachToTangle ", atDefault)
	add("a space before attachToTangle", " attachToTangle", atDefault)
	add("attachToTangle as a part", "xattachToTanglex", atDefault)
	add("a solidus in it", "attachTo/Tangle", atDefault)
	add("a space after getNeighbors", "getNeighbors ", denied("getNeighbors "))
	add("a quote in it", `get"Neighbors`, unreadable)
	add("a backslash in it", `get\Neighbors`, unreadable)
	add("the Kelvin sign", "getN\u212aighbors", unreadable)
	add("a long s", "getNeighbor\u017f", unreadable)
	add("a Cyrillic letter", "\u0430ttachToTangle", unreadable)
	add("a full-width letter", "\uff47etNeighbors", unreadable)
	add("a soft hyphen", "getNeigh\u00adbors", unreadable)
	add("a command of a module", "Snapshot.getState", atDefault)
	add("an unknown command", "foo", atDefault)
	add("128 characters", strings.Repeat("x", 128), atDefault)
	for _, command := range []string{
		"getTips", "findTransactions", "getTrytes", "getInclusionStates", "getBalances", "getTransactionsToApprove",
		"storeTransactions", "wereAddressesSpentFrom", "checkConsistency", "getNodeAPIConfiguration", "getMissingTransactions",
	} {
		add("the command "+command, command, atDefault)
	}
	add("addNeighbors", "addNeighbors", denied("addNeighbors"))
	// No command has a solidus, and HAProxy does not read an escaped one.
	rows = append(rows, tableRow{"an escaped solidus in the command", request{body: `{"command":"getNodeInfo\/x"}`}, unreadable})
	for how, body := range map[string]string{
		"an escaped quote":     `{"command":"get\u0022NodeInfo"}`,
		"an escaped backslash": `{"command":"get\u005cNodeInfo"}`,
	} {
		rows = append(rows, tableRow{how + " in the command", request{body: body}, atDefault})
	}
	notHere := verdict{status: 403, error: `^This request is not allowed here$`}
	return append(rows,
		tableRow{"haproxy_bad_command", request{body: `{"command":"broadcastTransactions","trytes":[]}`}, notHere},
		tableRow{"haproxy_bad_command in any letter case", request{body: `{"command":"getTips","a":"XYZZY"}`}, notHere},
		tableRow{"haproxy_bad_command after 900 kB", request{body: `{"command":"getTips","a":"` + strings.Repeat("9", 900_000) + `xyzzy"}`}, notHere},
		tableRow{"haproxy_bad_command for the whitelist too", request{body: `{"command":"getTips","a":"xyzzy"}`, source: trusted}, notHere},
		tableRow{"not quite haproxy_bad_command", request{body: `{"command":"getTips","a":"xyzz"}`}, atDefault},
	)
}
