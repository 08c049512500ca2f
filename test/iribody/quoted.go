package iribody

import (
	"bytes"
	"errors"
	"strconv"
	"strings"
	"unicode/utf16"
)

// escapes are those of one letter. A line end behind a backslash is itself.
var escapes = map[byte]rune{
	't': '\t', 'b': '\b', 'n': '\n', 'r': '\r', 'f': '\f', '\n': '\n', '\'': '\'', '"': '"', '\\': '\\', '/': '/',
}

// quoted reads a text up to the quote that it begins with. It may hold any
// character, control characters too (JsonReader.nextQuotedValue).
func (r *bodyReader) quoted() (string, error) {
	quote := r.rest[0]
	r.rest = r.rest[1:]
	var text strings.Builder
	for {
		end := bytes.IndexAny(r.rest, string(rune(quote))+`\`)
		if end < 0 {
			return "", errors.New("a text does not end")
		}
		text.WriteString(toText(r.rest[:end]))
		sign := r.rest[end]
		r.rest = r.rest[end+1:]
		if sign == quote {
			return text.String(), nil
		}
		char, err := r.escape()
		if err != nil {
			return "", err
		}
		text.WriteRune(char)
	}
}

// escape reads what follows a backslash (JsonReader.readEscapeCharacter). Java's
// characters are UTF-16: two escapes can be one character.
func (r *bodyReader) escape() (rune, error) {
	if len(r.rest) == 0 {
		return 0, errors.New("an escape does not end")
	}
	if r.rest[0] != 'u' {
		char, known := escapes[r.rest[0]]
		if !known {
			return 0, errors.New("there is no such escape")
		}
		r.rest = r.rest[1:]
		return char, nil
	}
	first, ok := unit(r.rest[1:])
	if !ok {
		return 0, errors.New("\\u needs four hexadecimal digits")
	}
	r.rest = r.rest[5:]
	if utf16.IsSurrogate(first) && len(r.rest) >= 6 && r.rest[0] == '\\' && r.rest[1] == 'u' {
		if second, ok := unit(r.rest[2:]); ok && utf16.DecodeRune(first, second) != '\uFFFD' {
			r.rest = r.rest[6:]
			return utf16.DecodeRune(first, second), nil
		}
	}
	return first, nil // WriteRune makes U+FFFD of half a character
}

// unit is the number of four hexadecimal digits.
func unit(digits []byte) (rune, bool) {
	if len(digits) < 4 {
		return 0, false
	}
	value, err := strconv.ParseUint(string(digits[:4]), 16, 16)
	return rune(value), err == nil
}
