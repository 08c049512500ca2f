package iri

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

const escapes = "in a user or a password write / as %2F, @ as %40, : as %3A and % as %25"

// parseAddress accepts http(s)://[user:password@]host[:port][/path]. A scheme is
// not guessed: a node that is meant to be asked by TLS must never be asked
// without. No error tells the user or the password.
func parseAddress(address string) (*url.URL, error) {
	u, err := url.Parse(address)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") {
		return nil, badAddress(address, err)
	}
	if u.Hostname() == "" {
		return nil, fmt.Errorf("%q has no host; write for example %s://10.10.0.110:14265", redact(address), u.Scheme)
	}
	// A "/" in a password ends the host too early: another host would be asked,
	// and what is left of the password be shown as the path.
	if strings.Contains(u.Path, "@") {
		return nil, fmt.Errorf("%q has an \"@\" after the host; %s", redact(address), escapes)
	}
	if err := validPort(u); err != nil {
		return nil, fmt.Errorf("%q: %w", redact(address), err)
	}
	if u.RawQuery != "" || u.ForceQuery || u.Fragment != "" {
		return nil, fmt.Errorf("%q: an API address has no \"?\" and no \"#\" part", redact(address))
	}
	return u, nil
}

// badAddress explains an address that is not a URL, or not one of http.
func badAddress(address string, err error) error {
	text := redact(address)
	scheme, _, found := strings.Cut(address, "://")
	switch {
	case address == "":
		return errors.New("the address is empty; write for example http://10.10.0.110:14265")
	case !found:
		plain := Clean(text)
		return fmt.Errorf("%q does not say http or https; write http://%s or https://%s", text, plain, plain)
	case scheme != "http" && scheme != "https":
		return fmt.Errorf("%q starts with neither http:// nor https://", text)
	case strings.Count(text, ":") > 2 && !strings.Contains(text, "["):
		return fmt.Errorf("%q: an IPv6 address goes in brackets, for example %s://[2001:db8::1]:14265", text, scheme)
	default:
		// The parser quotes what it was given, credentials too: only the reason is told.
		var parse *url.Error
		if errors.As(err, &parse) && !strings.Contains(address, "@") {
			err = parse.Err
		} else {
			err = errors.New("not a valid URL; " + escapes)
		}
		return fmt.Errorf("%q: %w", text, err)
	}
}

func validPort(u *url.URL) error {
	text := u.Port()
	if text == "" {
		if strings.HasSuffix(u.Host, ":") {
			return errors.New("the port after the colon is missing")
		}
		return nil // 80 or 443: a proxy in front of the node
	}
	if port, err := strconv.Atoi(text); err != nil || port < 1 || port > 65535 {
		return fmt.Errorf("port %s is not between 1 and 65535", text)
	}
	return nil
}

// redact hides all that can be a user or a password: what comes before the last
// "@", whether the rest is a URL or not.
func redact(address string) string {
	at := strings.LastIndex(address, "@")
	if at < 0 {
		return address
	}
	scheme, _, found := strings.Cut(address[:at], "://")
	if !found {
		return "***" + address[at:]
	}
	return scheme + "://***" + address[at:]
}
