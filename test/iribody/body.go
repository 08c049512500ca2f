// Package iribody reads requests' bodies as the nodes do, to judge what the front end
// lets through.
package iribody

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// Body is what IRI reads in a request's body.
type Body struct {
	// Null: the body is empty or null, and IRI calls it an invalid payload.
	Null bool
	// Members are those of the object. Of those with the same name it is the last
	// one. Values are as encoding/json has them, numbers are a json.Number.
	Members map[string]any
	// Duplicate is the name of a member for which gson refuses the body: it was
	// there before, with another value than null. Empty: none.
	Duplicate string
}

var (
	errEnd     = errors.New("the text ends too early")
	errNoMatch = errors.New("an object is wanted")
)

const (
	// maxDepth is encoding/json's. gson 2.8 has none, and ends with Java's stack.
	maxDepth = 10_000
	// longNumber is the size of gson's buffer: a number that fills it is a text.
	longNumber = 1024
)

var number = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$`)

// Read reads a body as IRI does: API.process calls Gson.fromJson(body,
// Map.class), of gson 2.8.0 and 2.8.1 (pom.xml). It takes much more than JSON:
//
//   - Gson.fromJson sets the JsonReader lenient. That skips a byte order mark, a
//     line )]}' at the beginning, and comments (#, //, /* */); it takes names and
//     texts in single quotes or without quotes, = and => for the colon, ; for the
//     comma, keywords in any letter case, and nothing for null in an array.
//   - What is neither keyword nor number by the letter of JSON (NaN, 012, 1.) is a
//     text.
//   - MapTypeAdapterFactory also takes a list of pairs for an object:
//     [["command","getNodeInfo"]].
//   - MapTypeAdapterFactory refuses a name that it has a value for, which is not
//     so for null. ObjectTypeAdapter, for objects within, takes the last value.
//   - Gson.assertFullConsumption is strict again: nothing but white space may
//     follow. It is not called for null.
//
// The bytes are UTF-8 (RestEasy.processRequest); Java, like this, has U+FFFD for
// what is none. The bytes of JSON's own signs are in no other character of it.
func Read(body []byte) (Body, error) {
	r := &bodyReader{rest: bytes.TrimPrefix(body, []byte("\uFEFF"))}
	c, err := r.next()
	if err == nil && bytes.HasPrefix(r.rest, []byte(")]}'\n")) {
		r.rest = r.rest[len(")]}'\n"):]
		c, err = r.next()
	}
	switch {
	case errors.Is(err, errEnd): // Gson.fromJson: an empty document is null
		return Body{Null: true}, nil
	case err != nil:
		return Body{}, err
	}
	m := &topMembers{body: Body{Members: map[string]any{}}}
	switch c {
	case '{':
		err = r.object(func(key string) error { return r.member(m, key) })
	case '[':
		err = r.list(func() error { return r.pair(m) })
	default:
		value, err := r.value()
		if err == nil && value != nil {
			err = errNoMatch
		}
		return Body{Null: err == nil}, err
	}
	if err == nil && len(bytes.Trim(r.rest, whiteSpace)) > 0 {
		err = errors.New("something follows the object")
	}
	return m.body, err
}

// IRI is the command that IRI reads in a body, at worst: if it took the
// last one of duplicates, as it takes it when the first one is null.
func IRI(body []byte) (string, error) {
	read, err := Read(body)
	if err != nil {
		return "", err
	}
	command, ok := read.Members["command"].(string)
	if !ok {
		return "", errors.New("there is no command, or it is no text")
	}
	return command, nil
}

// HORNET is the command that HORNET up to 0.5.x reads: ShouldBindJSON of
// gin decodes the first value of the body into a map, whatever follows, and the
// letter case of the command itself is ignored then (webapi's server.go).
// A number beyond a float64, which HORNET refuses and others do not, is no error
// here: a body that a node refuses carries no command.
func HORNET(body []byte) (string, error) {
	var members map[string]any
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	if err := decoder.Decode(&members); err != nil {
		return "", err
	}
	command, has := members["command"]
	if !has {
		return "", errors.New("there is no command")
	}
	return fmt.Sprint(command), nil // as HORNET does, which makes a text of all
}

// Struct is the command that a node reads which decodes into a struct, as
// Hercules does: names match in any letter case, and the last one wins.
func Struct(body []byte) (string, error) {
	var members struct {
		Command *string `json:"command"`
	}
	if err := json.NewDecoder(bytes.NewReader(body)).Decode(&members); err != nil {
		return "", err
	}
	if members.Command == nil {
		return "", errors.New("there is no command")
	}
	return *members.Command, nil
}

// topMembers are the members of the outermost object, as they come.
type topMembers struct {
	body Body
	// kind is the type of the names, which are only comparable with each other.
	kind string
}

// put does what LinkedTreeMap.put does, which fails for names that it cannot
// compare.
func (m *topMembers) put(key, value any) error {
	kind := fmt.Sprintf("%T", key)
	switch key.(type) {
	case string, bool, json.Number:
	default:
		return fmt.Errorf("%s cannot be a name", kind)
	}
	if m.kind != "" && m.kind != kind {
		return fmt.Errorf("names are %s and %s", m.kind, kind)
	}
	m.kind = kind
	name, ok := key.(string)
	if !ok { // nobody can ask for it by its name
		return nil
	}
	if m.body.Members[name] != nil && m.body.Duplicate == "" {
		m.body.Duplicate = name
	}
	m.body.Members[name] = value
	return nil
}

// bodyReader reads as gson's lenient JsonReader. The state is what is not read.
type bodyReader struct {
	rest  []byte
	depth int
}

const (
	whiteSpace = " \t\r\n"
	// notLiteral ends a text without quotes (JsonReader.isLiteral).
	notLiteral = "/\\;#={}[]:, \t\f\r\n"
)

// next goes to the next sign that is neither white space nor a comment.
func (r *bodyReader) next() (byte, error) {
	for {
		r.rest = bytes.TrimLeft(r.rest, whiteSpace)
		switch {
		case len(r.rest) == 0:
			return 0, errEnd
		case r.rest[0] == '#', bytes.HasPrefix(r.rest, []byte("//")):
			end := bytes.IndexAny(r.rest, "\r\n")
			if end < 0 {
				end = len(r.rest)
			}
			r.rest = r.rest[end:]
		case bytes.HasPrefix(r.rest, []byte("/*")):
			_, after, closed := bytes.Cut(r.rest[2:], []byte("*/"))
			if !closed {
				return 0, errors.New("a comment does not end")
			}
			r.rest = after
		default:
			return r.rest[0], nil
		}
	}
}

// take is next, and goes beyond the sign.
func (r *bodyReader) take() (byte, error) {
	c, err := r.next()
	if err == nil {
		r.rest = r.rest[1:]
	}
	return c, err
}

func (r *bodyReader) value() (any, error) {
	c, err := r.next()
	if err != nil {
		return nil, err
	}
	switch c {
	case '{':
		members := map[string]any{}
		err := r.object(func(key string) (err error) {
			members[key], err = r.value()
			return err
		})
		return members, err
	case '[':
		elements := []any{}
		err := r.list(func() error {
			element, err := r.element()
			elements = append(elements, element)
			return err
		})
		return elements, err
	case '"', '\'':
		return r.quoted()
	}
	return r.literal()
}

// element is a value in an array, where none is null. The array's end is one
// too, behind a comma.
func (r *bodyReader) element() (any, error) {
	if c, err := r.next(); err != nil || strings.IndexByte(",;]", c) >= 0 {
		return nil, err
	}
	return r.value()
}

func (r *bodyReader) member(m *topMembers, key string) error {
	value, err := r.value()
	if err != nil {
		return err
	}
	return m.put(key, value)
}

// pair is a list of a name and a value, no more.
func (r *bodyReader) pair(m *topMembers) error {
	c, err := r.next()
	if err != nil {
		return err
	}
	if c != '[' {
		return errors.New("a list of a name and a value is wanted")
	}
	var both []any
	err = r.list(func() error {
		element, err := r.element()
		both = append(both, element)
		return err
	})
	if err == nil && len(both) != 2 {
		err = errors.New("a name and a value are wanted")
	}
	if err != nil {
		return err
	}
	return m.put(both[0], both[1])
}

// object calls each for the value behind each name.
func (r *bodyReader) object(each func(key string) error) error {
	return r.sequence('}', func() error {
		key, err := r.name()
		if err != nil {
			return err
		}
		c, err := r.take()
		switch {
		case err != nil:
			return err
		case c == '=':
			r.rest = bytes.TrimPrefix(r.rest, []byte(">"))
		case c != ':':
			return errors.New("a colon is wanted")
		}
		return each(key)
	})
}

// list calls each for each element.
func (r *bodyReader) list(each func() error) error { return r.sequence(']', each) }

// sequence reads from the sign that opens an object or an array to its end.
func (r *bodyReader) sequence(end byte, each func() error) error {
	if r.depth++; r.depth > maxDepth {
		return errors.New("too deep")
	}
	defer func() { r.depth-- }()
	r.rest = r.rest[1:]
	if c, err := r.next(); err != nil || c == end {
		_, err = r.take()
		return err
	}
	for {
		if err := each(); err != nil {
			return err
		}
		c, err := r.take()
		switch {
		case err != nil:
			return err
		case c == end:
			return nil
		case c != ',' && c != ';':
			return errors.New("an array or object does not go on with a comma")
		}
	}
}

func (r *bodyReader) name() (string, error) {
	c, err := r.next()
	if err != nil {
		return "", err
	}
	if c == '"' || c == '\'' {
		return r.quoted()
	}
	text := r.bare()
	if text == "" {
		return "", errors.New("a name is wanted")
	}
	return text, nil
}

// bare is a text without quotes; it is empty where there is none.
func (r *bodyReader) bare() string {
	end := bytes.IndexAny(r.rest, notLiteral)
	if end < 0 {
		end = len(r.rest)
	}
	text := r.rest[:end]
	r.rest = r.rest[end:]
	return toText(text)
}

func (r *bodyReader) literal() (any, error) {
	text := r.bare()
	switch {
	case text == "":
		return nil, errors.New("a value is wanted")
	case strings.EqualFold(text, "null"):
		return nil, nil
	case strings.EqualFold(text, "true"):
		return true, nil
	case isFalse(text):
		return false, nil
	case len(text) < longNumber && number.MatchString(text):
		return json.Number(text), nil
	}
	return text, nil
}

// isFalse compares in ASCII: EqualFold would take the long s (U+017F) for an s.
func isFalse(text string) bool { return len(text) == len("false") && strings.EqualFold(text, "false") }

// toText has U+FFFD for each byte that is not UTF-8.
func toText(raw []byte) string { return string([]rune(string(raw))) }
