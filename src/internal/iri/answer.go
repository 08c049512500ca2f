package iri

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"unicode"
)

// NodeInfo is the part of the response to getNodeInfo that describes the state of a node. A pointer is nil when the
// node does not send the field.
type NodeInfo struct {
	AppName    string `json:"appName"`
	AppVersion string `json:"appVersion"`
	// LatestMilestone is the index of the newest milestone the node knows of, SolidMilestone that of the newest one
	// whose complete history it has.
	LatestMilestone *int64 `json:"latestMilestoneIndex"`
	SolidMilestone  *int64 `json:"latestSolidSubtangleMilestoneIndex"`
	// StartMilestone is sent since IRI 1.5.5 (-1: none), SnapshotMilestone since 1.6.0.
	StartMilestone    *int64 `json:"milestoneStartIndex"`
	SnapshotMilestone *int64 `json:"lastSnapshottedMilestoneIndex"`
	// Neighbours is the number of connected neighbours since IRI 1.8.0; before that, of configured ones.
	Neighbours *int64   `json:"neighbors"`
	Features   []string `json:"features"`
	// Healthy is HORNET's self-assessment: at most 2 milestones behind, at least one neighbour, and a latest milestone
	// younger than 5 minutes. IRI does not send it.
	Healthy *bool `json:"isHealthy"`
	// Duration is the node's processing time in milliseconds. HORNET 0.5.10 always sends 0.
	Duration int64 `json:"duration"`
}

// errorBody is the part of a response that describes an error.
type errorBody struct {
	Error     json.RawMessage `json:"error"`
	Exception json.RawMessage `json:"exception"`
}

// decode evaluates a complete HTTP response: it fills out, or returns an *Error. Errors are JSON objects too, so a body
// that parses is not necessarily a success. wantsAuth: the response asks for basic authentication.
func decode(status int, wantsAuth bool, body []byte, out any) error {
	var parsed errorBody
	isObject := bytes.HasPrefix(bytes.TrimLeft(body, " \t\r\n"), []byte("{")) && json.Unmarshal(body, &parsed) == nil
	failed := &Error{Status: status, Text: parsed.text(), FromNode: isObject}
	switch {
	case status == http.StatusUnauthorized && wantsAuth:
		failed.Kind = KindAuth
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

// text is the node's own explanation, "" if there is none.
func (b errorBody) text() string {
	for _, raw := range []json.RawMessage{b.Error, b.Exception} {
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
			return "an error without a message"
		}
	}
	return ""
}

// maxText, in characters, keeps a node from flooding logs and check outputs.
const maxText = 120

// Clean makes text received from a node safe to print: one line, printable characters only, at most 120 of them.
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
