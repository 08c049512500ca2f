package iribody_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nuriel77/iri-lb-haproxy/test/iribody"
)

// What three kinds of nodes read in the same body; "-" is an error.
func TestCommandsOfBodies(t *testing.T) {
	for body, want := range map[string][3]string{ // IRI, HORNET, a node that decodes into a struct
		`{"command":"getTips"}`:                          {"getTips", "getTips", "getTips"},
		" {\"a\":[1,{}],\n\"command\" : \"getTips\" } ":  {"getTips", "getTips", "getTips"},
		`{"command":"get\u0054ips"}`:                     {"getTips", "getTips", "getTips"},
		`{"comm\u0061nd":"getTips"}`:                     {"getTips", "getTips", "getTips"},
		`{"command":"a","command":"b"}`:                  {"b", "b", "b"},
		`{"command":null,"command":"b"}`:                 {"b", "b", "b"},
		`{"command":"a","COMMAND":"b"}`:                  {"a", "a", "b"},
		`{"Command":"a"}`:                                {"-", "-", "a"},
		`{"command":1}`:                                  {"-", "1", "-"},
		`{"command":"a"}}`:                               {"-", "a", "a"},
		`{"command":"a"} {"command":"b"}`:                {"-", "a", "a"},
		"\uFEFF{\"command\":\"a\"}":                      {"a", "-", "-"},
		")]}'\n{\"command\":\"a\"}":                      {"a", "-", "-"},
		`{'command':'a'}`:                                {"a", "-", "-"},
		`{command=>a;b=c}`:                               {"a", "-", "-"},
		`#x` + "\n" + `{/*"*/"command"://` + "\r" + `a}`: {"a", "-", "-"},
		`[["command","a"],["b",[,1,]]]`:                  {"a", "-", "-"},
		`[[command,a]]`:                                  {"a", "-", "-"},
		`[["command","a","b"]]`:                          {"-", "-", "-"},
		`{"command":"\'a"}`:                              {"'a", "-", "-"},
		"{\"command\":\"a\nb\"}":                         {"a\nb", "-", "-"},
		"{\"command\":\"a\\\nb\"}":                       {"a\nb", "-", "-"},
		`{"command":"\x41"}`:                             {"-", "-", "-"},
		`{"command":"a",}`:                               {"-", "-", "-"},
		`{"command":TRUE}`:                               {"-", "-", "-"},
		`{"command":01}`:                                 {"01", "-", "-"},
		`{"command":"a","b":1e999}`:                      {"a", "a", "a"},
		`{"command":"a"`:                                 {"-", "-", "-"},
		`{"command":"a"/*`:                               {"-", "-", "-"},
		"":                                               {"-", "-", "-"},
		"{\"command\":\"\xff\"}":                         {"\uFFFD", "\uFFFD", "\uFFFD"},
		`{"command":"\ud83d\ude00\ud83d"}`:               {"😀\uFFFD", "😀\uFFFD", "😀\uFFFD"},
	} {
		for i, read := range []func([]byte) (string, error){iribody.IRI, iribody.HORNET, iribody.Struct} {
			got, err := read([]byte(body))
			if err != nil {
				got = "-"
			}
			assert.Equal(t, want[i], got, "reader %d of %q: %v", i, body, err)
		}
	}
}

func TestReadTellsWhatGsonRefusesLater(t *testing.T) {
	read, err := iribody.Read([]byte(`{"a":1,"a":2,"command":"b"}`))
	require.NoError(t, err)
	assert.Equal(t, "a", read.Duplicate)

	read, err = iribody.Read([]byte(` null `))
	require.NoError(t, err)
	assert.True(t, read.Null)

	_, err = iribody.Read([]byte(strings.Repeat("[", 1_000_000)))
	require.Error(t, err)
}

// FuzzRead: where both can read a body, they read the same command.
func FuzzRead(f *testing.F) {
	for _, body := range []string{`{"command":"a"}`, `{'a'=>b;c:[,1]}`, ")]}'\n[[a,b]]", `{"a":"\ud83d\ude00\n"}//`, "#\n/**/{}"} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		command, err := iribody.HORNET(body)
		read, ours := iribody.Read(body)
		if err != nil || ours != nil {
			return
		}
		if text, ok := read.Members["command"].(string); ok && read.Duplicate == "" {
			assert.Equal(t, command, text)
		}
	})
}
