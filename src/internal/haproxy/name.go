package haproxy

import (
	"errors"
	"fmt"
	"strings"
)

// BackendName is the name of a backend that is safe in a command.
type BackendName struct{ name string }

// NewBackendName refuses every name that HAProxy would not take in its configuration, and with it every character that
// could end a command.
func NewBackendName(name string) (BackendName, error) {
	if !validName(name) {
		return BackendName{}, fmt.Errorf("backend name %q: want letters, digits, '.', ':', '_' or '-'", name)
	}
	return BackendName{name}, nil
}

func (b BackendName) String() string { return b.name }

// ServerID names one server of one backend.
type ServerID struct {
	backend, name string
}

// NewServerID makes an ID from two names that HAProxy would take in its configuration.
func NewServerID(backend, name string) (ServerID, error) {
	if _, err := NewBackendName(backend); err != nil {
		return ServerID{}, err
	}
	if !validName(name) {
		return ServerID{}, fmt.Errorf("server name %q: want letters, digits, '.', ':', '_' or '-'", name)
	}
	return ServerID{backend, name}, nil
}

// Backend is the name of the backend that the server belongs to.
func (id ServerID) Backend() string { return id.backend }

// Name is the server's name within its backend.
func (id ServerID) Name() string { return id.name }

// String is "backend/server", as HAProxy's commands want it.
func (id ServerID) String() string { return id.backend + "/" + id.name }

// validName follows HAProxy's configuration manual, section 2: the characters of a proxy's and a server's name.
func validName(s string) bool {
	for _, r := range s {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9',
			r == '-', r == '_', r == '.', r == ':':
		default:
			return false
		}
	}
	return s != ""
}

// Path is the absolute path of a file that commands name: a map, a certificate, a file of certificate authorities. The
// runtime API knows each by the path that the configuration loads it from.
type Path struct{ path string }

// NewPath refuses a path that a command could not carry.
func NewPath(path string) (Path, error) {
	for _, r := range path {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9',
			r == '-', r == '_', r == '.', r == '/':
		default:
			return Path{}, fmt.Errorf("%q: want letters, digits, '.', '_', '-' and '/'", path)
		}
	}
	if !strings.HasPrefix(path, "/") {
		return Path{}, fmt.Errorf("%q is not an absolute path", path)
	}
	return Path{path}, nil
}

func (p Path) String() string { return p.path }

// Hostname is a DNS name that is safe in a command.
type Hostname struct{ name string }

// NewHostname takes names of RFC 1123: labels of letters, digits and '-', at most 253 characters. It writes them in
// lower case, without a trailing dot.
func NewHostname(name string) (Hostname, error) {
	lower := strings.TrimSuffix(strings.ToLower(name), ".")
	if lower == "" || len(lower) > 253 {
		return Hostname{}, fmt.Errorf("%d characters are not a host name", len(lower))
	}
	for label := range strings.SplitSeq(lower, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return Hostname{}, errors.New("not a host name: a label is empty, too long, or has '-' at an end")
		}
		for _, r := range label {
			if (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' {
				return Hostname{}, fmt.Errorf("not a host name: %q is not a letter, digit or '-'", r)
			}
		}
	}
	return Hostname{lower}, nil
}

func (h Hostname) String() string { return h.name }
