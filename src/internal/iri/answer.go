package iri

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"unicode"
)

// NodeInfo is the answer to getNodeInfo, as far as it says how a node is. A
// pointer is nil when the node does not send the field.
type NodeInfo struct {
	AppName    string `json:"appName"`
	AppVersion string `json:"appVersion"`
	// LatestMilestone is the newest milestone that the node has heard of,
	// SolidMilestone the newest up to which it has everything.
	LatestMilestone *int64 `json:"latestMilestoneIndex"`
	SolidMilestone  *int64 `json:"latestSolidSubtangleMilestoneIndex"`
	// StartMilestone is sent since 1.5.5 (-1: none), SnapshotMilestone since 1.6.0.
	StartMilestone    *int64 `json:"milestoneStartIndex"`
	SnapshotMilestone *int64 `json:"lastSnapshottedMilestoneIndex"`
	// Neighbours counts the connected ones since 1.8.0, before that the
	// configured ones.
	Neighbours *int64   `json:"neighbors"`
	Features   []string `json:"features"`
	// Healthy is HORNET's own opinion: synchronised within 2 milestones, with a
	// peer, and the latest milestone younger than 5 minutes. IRI has none.
	Healthy *bool `json:"isHealthy"`
	// Duration is how long the node worked on the answer, in milliseconds.
	// HORNET 0.5.10 leaves it 0.
	Duration int64 `json:"duration"`
}

// failure is the part of an answer that says what went wrong.
type failure struct {
	Error     json.RawMessage `json:"error"`
	Exception json.RawMessage `json:"exception"`
}

// decode sorts a complete HTTP answer: out is filled, or the *Error says why not.
// An error is JSON too, so "is JSON" is not "is well".
func decode(status int, asksPassword bool, body []byte, out any) error {
	var said failure
	isObject := bytes.HasPrefix(bytes.TrimLeft(body, " \t\r\n"), []byte("{")) && json.Unmarshal(body, &said) == nil
	failed := &Error{Status: status, Text: said.text(), FromNode: isObject}
	switch {
	case status == http.StatusUnauthorized && asksPassword:
		failed.Kind = KindPassword
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		failed.Kind = KindDenied
	case status != http.StatusOK:
		failed.Kind = KindFailed
	case !isObject:
		failed.Kind = KindNotIRI
	case failed.Text != "":
		failed.Kind = KindFailed
	default:
		return decodeInto(body, out)
	}
	return failed
}

func decodeInto(body []byte, out any) error {
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(body, out); err != nil {
		return &Error{Kind: KindNotIRI, Status: http.StatusOK, FromNode: true, Err: err}
	}
	return nil
}

// text is the node's own explanation, "" when it gives none.
func (f failure) text() string {
	for _, raw := range []json.RawMessage{f.Error, f.Exception} {
		var text string
		var object struct {
			Message string `json:"message"`
		}
		switch {
		case len(raw) == 0 || string(raw) == "null":
		case json.Unmarshal(raw, &text) == nil && text != "":
			return Clean(text)
		case json.Unmarshal(raw, &object) == nil && object.Message != "":
			return Clean(object.Message)
		default:
			return "an error without a text"
		}
	}
	return ""
}

// maxText keeps a node from filling logs and Consul's output with its texts.
const maxText = 120

// Clean makes a text that a node sent fit to be printed: one line, no control
// characters, not too long.
func Clean(text string) string {
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, text)
	text = strings.Join(strings.Fields(text), " ")
	if runes := []rune(text); len(runes) > maxText {
		return string(runes[:maxText]) + "…"
	}
	return text
}
