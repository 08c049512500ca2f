package registry

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// service is an entry as Consul writes it, shortened.
func service(id, status string) string {
	return fmt.Sprintf(`{"Node":{"Node":"n","Address":"10.0.0.9"},"Service":{"ID":%q,"Service":"iri","Address":"10.0.0.1","Port":14265,`+
		`"Tags":["a ] } \\\\","haproxy.weight=3"],"Weights":{"Passing":1,"Warning":1}},`+
		`"Checks":[{"CheckID":"c","Status":%q,"Output":"it said: \"]}\""}]}`, id, status)
}

func TestAnAnswerIsReadElementByElement(t *testing.T) {
	m := cache{parser: newParser([]string{"default", "pow"}, 14267)}
	first, err := m.entries([]byte("[" + service("a", "passing") + ",\n " + service("b", "passing") + "]\n"))
	require.NoError(t, err)
	require.Len(t, first, 2)
	assert.Equal(t, "b", first[1].node.ID)
	assert.Equal(t, 3, first[1].node.Weight)

	second, err := m.entries([]byte("[" + service("b", "passing") + "," + service("c", "passing") + "," + service("a", "critical") + "]"))
	require.NoError(t, err)
	require.Len(t, second, 3)
	assert.Same(t, first[1], second[0], "what has not changed is not read again")
	assert.NotEqual(t, first[0].node.Health, second[2].node.Health)

	empty, err := m.entries([]byte(" [ ] "))
	require.NoError(t, err)
	assert.Empty(t, empty)
}

func TestWhatIsNoListOfServicesIsAnError(t *testing.T) {
	good := service("a", "passing")
	for _, body := range []string{
		"", "null", "{}", "[", "]", "[" + good, "[" + good + ",]", "[," + good + "]", "[" + good + good + "]", "[" + good + "] x", "[]]", "[][]",
		"[" + good + "," + good[:40], "[1]", `["x"]`, "[" + good + "}", "[{]}]", `[{"Service": 5}]`, `[{"Node": "}]`, "x[]", "[[]]",
	} {
		m := cache{parser: newParser([]string{"default", "pow"}, 14267)}
		_, err := m.entries([]byte(body))
		assert.Error(t, err, "%q", body)
	}
}

func FuzzElementsAreThoseOfEncodingJSON(f *testing.F) {
	f.Add("[" + service("a", "passing") + "," + service("b", "critical") + "]")
	f.Add(`[{"a":"\\\""},{"b":[{}]} , {}]`)
	f.Add("[{}{}]")
	f.Fuzz(func(t *testing.T, body string) {
		list, ok := elements([]byte(body))
		if !ok {
			return
		}
		for _, text := range list {
			if !json.Valid(text) {
				return // the decoder says so
			}
		}
		var want []json.RawMessage
		if err := json.Unmarshal([]byte(body), &want); err != nil {
			t.Fatalf("taken for a list, and is none: %v", err)
		}
		if len(want) != len(list) {
			t.Fatalf("%d elements, want %d", len(list), len(want))
		}
		for i := range want {
			if strings.TrimSpace(string(want[i])) != string(list[i]) {
				t.Fatalf("element %d is %q, want %q", i, list[i], want[i])
			}
		}
	})
}

func BenchmarkTwoThousandNodesOneChanged(b *testing.B) {
	body := func(status string) []byte {
		list := []string{service("toggled", status)}
		for i := range 1999 {
			list = append(list, service(fmt.Sprint("node", i), "passing"))
		}
		return []byte("[" + strings.Join(list, ",") + "]")
	}
	bodies := [][]byte{body("passing"), body("critical")}
	m := cache{parser: newParser([]string{"default", "pow"}, 14267)}
	b.SetBytes(int64(len(bodies[0])))
	for i := range b.N {
		if _, err := m.entries(bodies[i%2]); err != nil {
			b.Fatal(err)
		}
	}
}
