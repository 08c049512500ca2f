package iri

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

const escapes = "in a user name or password write / as %2F, @ as %40, : as %3A and % as %25"

// parseAddress accepts http(s)://[user:password@]host[:port][/path]. The scheme is never guessed: a node meant to be
// reached over TLS must not be contacted without it. Errors never contain the user name or the password.
func parseAddress(address string) (*url.URL, error) {
	u, err := url.Parse(address)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") {
		return nil, badAddress(address, err)
	}
	if u.Hostname() == "" {
		return nil, fmt.Errorf("%q has no host; expected for example %s://10.10.0.110:14265", redact(address), u.Scheme)
	}
	// An unescaped "/" in the password would end the host early: the request would go to another host, and the rest of
	// the password would be printed as the path.
	if strings.Contains(u.Path, "@") {
		return nil, fmt.Errorf("%q has an \"@\" after the host; %s", redact(address), escapes)
	}
	if err := validPort(u); err != nil {
		return nil, fmt.Errorf("%q: %w", redact(address), err)
	}
	if u.RawQuery != "" || u.ForceQuery || u.Fragment != "" {
		return nil, fmt.Errorf("%q: an API address has no query (\"?\") and no fragment (\"#\")", redact(address))
	}
	return u, nil
}

// badAddress explains why an address is not an http or https URL.
func badAddress(address string, err error) error {
	redacted := redact(address)
	scheme, _, found := strings.Cut(address, "://")
	switch {
	case address == "":
		return errors.New("the address is empty; expected for example http://10.10.0.110:14265")
	case !found:
		plain := Clean(redacted)
		return fmt.Errorf("%q lacks http:// or https://; write http://%s or https://%s", redacted, plain, plain)
	case scheme != "http" && scheme != "https":
		return fmt.Errorf("%q starts with neither http:// nor https://", redacted)
	case strings.Count(redacted, ":") > 2 && !strings.Contains(redacted, "["):
		return fmt.Errorf("%q: an IPv6 address must be in brackets, for example %s://[2001:db8::1]:14265", redacted, scheme)
	default:
		// The parser quotes its input, credentials included, so only its reason is kept.
		var parse *url.Error
		if errors.As(err, &parse) && !strings.Contains(address, "@") {
			err = parse.Err
		} else {
			err = errors.New("not a valid URL; " + escapes)
		}
		return fmt.Errorf("%q: %w", redacted, err)
	}
}

func validPort(u *url.URL) error {
	text := u.Port()
	if text == "" {
		if strings.HasSuffix(u.Host, ":") {
			return errors.New("the port after the colon is missing")
		}
		return nil // 80 or 443: a reverse proxy in front of the node
	}
	if port, err := strconv.Atoi(text); err != nil || port < 1 || port > 65535 {
		return fmt.Errorf("port %s is not between 1 and 65535", text)
	}
	return nil
}

// redact hides everything that may be a user name or a password: all that precedes the last "@", whether or not the
// text is a URL.
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
