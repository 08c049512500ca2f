package registry

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"github.com/hashicorp/consul/api"

	"github.com/nuriel77/iri-lb-haproxy/src/internal/pool"
)

// cache keeps what was parsed from each entry of the last answer. One changed check makes Consul send all nodes again: of two
// thousand, all but one have the same text as before, and decoding them takes longer than Consul needs for the answer.
type cache struct {
	parser parser
	mu     sync.Mutex
	last   map[string]*parsed
}

// parsed is what one entry of an answer means.
type parsed struct {
	text     string
	node     Node
	problems []Problem
	// ok is false for a service that cannot be used at all.
	ok bool
}

// entries reads an answer's body: a JSON array of api.ServiceEntry.
func (c *cache) entries(body []byte) ([]*parsed, error) {
	texts, ok := elements(body)
	if !ok {
		// Consul does not write this; encoding/json knows what is wrong with it.
		var raw []json.RawMessage
		if err := json.Unmarshal(body, &raw); err != nil {
			return nil, fmt.Errorf("not a list of services: %w", err)
		}
		if raw == nil {
			return nil, errors.New("not a list of services: null")
		}
		texts = texts[:0]
		for _, r := range raw {
			texts = append(texts, r)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	now := make(map[string]*parsed, len(texts))
	list := make([]*parsed, 0, len(texts))
	for _, text := range texts {
		p := c.last[string(text)]
		if p == nil {
			var entry *api.ServiceEntry
			if err := json.Unmarshal(text, &entry); err != nil {
				return nil, fmt.Errorf("a service that cannot be read: %w", err)
			}
			p = &parsed{text: string(text)}
			p.node, p.problems, p.ok = c.parser.parse(entry)
			if p.node.Health == pool.Unchecked {
				p.node.FirstCheckWithin = firstCheckWithin(text)
			}
		}
		now[p.text] = p
		list = append(list, p)
	}
	c.last = now
	return list, nil
}

// elements cuts a JSON array into the texts of its elements, which must be objects, without decoding them. It returns false
// for everything else; encoding/json then says what is wrong. Each element still has to be decoded: brackets are counted and
// not matched.
func elements(body []byte) (list [][]byte, ok bool) {
	depth, start := 0, 0
	comma := false // the last thing at the array's level was a comma
	for i := 0; i < len(body); i++ {
		switch c := body[i]; c {
		case '"':
			if depth < 2 {
				return nil, false
			}
			length := stringLength(body[i:])
			if length == 0 {
				return nil, false
			}
			i += length - 1
		case '[', '{':
			if depth == 0 && (c != '[' || start > 0) || depth == 1 && (c != '{' || len(list) > 0 && !comma) {
				return nil, false
			}
			if depth < 2 {
				start, comma = i+1, false
			}
			depth++
		case ']', '}':
			depth--
			if depth < 0 || depth == 0 && (c != ']' || comma) {
				return nil, false
			}
			if depth == 1 {
				list = append(list, body[start-1:i+1])
			}
		case ',':
			if depth == 1 && (comma || len(list) == 0) || depth == 0 {
				return nil, false
			}
			comma = comma || depth == 1
		case ' ', '\t', '\r', '\n':
		default:
			if depth < 2 {
				return nil, false
			}
		}
	}
	return list, depth == 0 && start > 0
}

// stringLength is the length of the JSON string that text begins with, both quotes included, and 0 when it does not end.
func stringLength(text []byte) int {
	for i := 1; i < len(text); i++ {
		end := bytes.IndexByte(text[i:], '"')
		if end < 0 {
			return 0
		}
		i += end
		backslashes := 0
		for text[i-1-backslashes] == '\\' {
			backslashes++
		}
		if backslashes%2 == 0 {
			return i + 1
		}
	}
	return 0
}
