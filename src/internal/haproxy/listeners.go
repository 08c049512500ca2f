package haproxy

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Listener is an address that HAProxy listens on, and the line of its configuration that says so.
type Listener struct {
	Line    int
	Address netip.AddrPort
	// V6Only leaves the port free for IPv4.
	V6Only bool
}

// Listeners reads the TCP addresses that a configuration listens on: `bind` lines, `stats socket`, and this process's own
// `peer`. It leaves out what only HAProxy can work out: variables, names, what stands between `.if` and `.endif`, and binds
// to an interface, a namespace or a foreign address.
func Listeners(text string) []Listener {
	lines := settings(text)
	self := ""
	for _, l := range lines {
		if l.words[0] == "localpeer" && len(l.words) > 1 {
			self = l.words[1]
		}
	}
	var all []Listener
	for _, l := range lines {
		addresses, options := listening(l.words, self)
		if slices.ContainsFunc(options, elsewhere) {
			continue
		}
		for part := range strings.SplitSeq(addresses, ",") {
			for _, address := range parseListen(part) {
				all = append(all, Listener{Line: l.number, Address: address, V6Only: slices.Contains(options, "v6only")})
			}
		}
	}
	return all
}

// listening splits a line into the addresses that it listens on, "" for none, and what follows them.
func listening(words []string, self string) (addresses string, options []string) {
	switch {
	case words[0] == "bind" && len(words) > 1:
		return words[1], words[2:]
	case words[0] == "stats" && len(words) > 2 && words[1] == "socket":
		return words[2], words[3:]
	case words[0] == "peer" && len(words) > 2 && words[1] == self:
		return words[2], words[3:]
	}
	return "", nil
}

// elsewhere is an option of bind with which the address is not simply one of this host's.
func elsewhere(option string) bool {
	return option == "interface" || option == "namespace" || option == "transparent"
}

// tcp are the prefixes of addresses that stand for a TCP port.
var tcp = []string{"ipv4", "ipv6", "tcp", "tcp4", "tcp6", "mptcp", "mptcp4", "mptcp6"}

// parseListen reads one address with its port or range of ports, such as "*:80", "ipv6@:80", "[::1]:80" or ":::80-90".
func parseListen(s string) (all []netip.AddrPort) {
	family, rest, prefixed := strings.Cut(s, "@")
	if !prefixed {
		family, rest = "", s
	} else if !slices.Contains(tcp, family) {
		return nil
	}
	colon := strings.LastIndexByte(rest, ':')
	if colon < 0 {
		return nil
	}
	host, ports := strings.Trim(rest[:colon], "[]"), rest[colon+1:]
	if host == "" || host == "*" {
		if host = "0.0.0.0"; strings.HasSuffix(family, "6") {
			host = "::"
		}
	}
	address, err := netip.ParseAddr(host)
	if err != nil {
		return nil
	}
	first, last, isRange := strings.Cut(ports, "-")
	if !isRange {
		last = first
	}
	from, err1 := strconv.ParseUint(first, 10, 16)
	to, err2 := strconv.ParseUint(last, 10, 16)
	if err1 != nil || err2 != nil || from == 0 {
		return nil
	}
	for port := from; port <= to; port++ {
		all = append(all, netip.AddrPortFrom(address, uint16(port)))
	}
	return all
}

// setting is a line of a configuration that is neither empty nor conditional.
type setting struct {
	number int
	words  []string
}

func settings(text string) (all []setting) {
	number, depth := 0, 0
	for line := range strings.Lines(text) {
		number++
		w := words(line)
		switch {
		case len(w) == 0:
		case w[0] == ".if":
			depth++
		case w[0] == ".endif":
			depth--
		case depth == 0:
			all = append(all, setting{number, w})
		}
	}
	return all
}

// words splits a line as HAProxy does (its configuration manual, 2.2): quotes, escaped characters, comments.
func words(line string) (all []string) {
	var word strings.Builder
	var quote rune
	begun, escaped := false, false
	end := func() {
		if begun {
			all = append(all, word.String())
		}
		word.Reset()
		begun = false
	}
	for _, r := range line {
		switch {
		case escaped:
			escaped = false
			word.WriteRune(r)
		case r == '\\' && quote != '\'':
			escaped, begun = true, true
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(r)
		case r == '"' || r == '\'':
			quote, begun = r, true
		case r == '#':
			end()
			return all
		case r == ' ' || r == '\t' || r == '\r' || r == '\n':
			end()
		default:
			begun = true
			word.WriteRune(r)
		}
	}
	end()
	return all
}
