package haproxy

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestListenersOfEachKindOfLine(t *testing.T) {
	for line, want := range map[string][]string{
		"bind 127.0.0.1:80":                           {"127.0.0.1:80"},
		"bind *:80 ssl crt /x.pem":                    {"0.0.0.0:80"},
		"bind :80,10.0.0.1:81":                        {"0.0.0.0:80", "10.0.0.1:81"},
		"bind 10.0.0.1:80-82":                         {"10.0.0.1:80", "10.0.0.1:81", "10.0.0.1:82"},
		"bind :::80":                                  {"[::]:80"},
		"bind [::1]:80":                               {"[::1]:80"},
		"bind ipv6@:80":                               {"[::]:80"},
		"bind ipv4@192.0.2.1:80,ipv6@2001:db8::1:80":  {"192.0.2.1:80", "[2001:db8::1]:80"},
		"bind :::80 v6only":                           {"[::]:80 IPv6 only"},
		`bind "127.0.0.1:80" # :81`:                   {"127.0.0.1:80"},
		`bind 127.0.0.1\:80`:                          {"127.0.0.1:80"},
		"stats socket ipv4@127.0.0.1:9999 level user": {"127.0.0.1:9999"},
		"peer lb1 10.0.0.1:10000":                     {"10.0.0.1:10000"},
		"peer lb2 10.0.0.2:10000":                     nil, // another process's
		"bind /run/x.sock":                            nil,
		"bind unix@/run/x.sock":                       nil,
		"bind abns@x":                                 nil,
		"bind fd@3":                                   nil,
		"bind quic4@:443 ssl crt /x.pem":              nil,
		`bind "$ADDRESS:80"`:                          nil,
		"bind lb.example.org:80":                      nil,
		"bind :80 interface eth0":                     nil,
		"bind 192.0.2.1:80 transparent":               nil,
		"bind":                                        nil,
		"bind :0":                                     nil,
		"bind :99999":                                 nil,
		"bind :90-80":                                 nil,
		"stats socket /run/admin.sock level admin":    nil,
		"# bind :80":                                  nil,
		"http-request set-header X 'bind :80'":        nil,
		".if feature(QUIC)\nbind :80\n.else\nbind :81\n.endif": nil,
	} {
		var got []string
		for _, l := range Listeners("global\n    localpeer lb1\n    " + line + "\n") {
			text := l.Address.String()
			if l.V6Only {
				text += " IPv6 only"
			}
			got = append(got, text)
			assert.Equal(t, 3, l.Line, line)
		}
		assert.Equal(t, want, got, line)
	}
}

func TestAfterAConditionListenersCountAgain(t *testing.T) {
	all := Listeners(".if a\n.if b\nbind :80\n.endif\nbind :81\n.endif\nbind :82\n")
	assert.Equal(t, "[{7 0.0.0.0:82 false}]", fmt.Sprint(all))
}

func FuzzListeners(f *testing.F) {
	f.Add("bind :80,[::1]:81-90 # x\nstats socket ipv4@127.0.0.1:1")
	f.Fuzz(func(t *testing.T, text string) {
		for _, l := range Listeners(text) {
			assert.NotZero(t, l.Address.Port())
			assert.True(t, l.Address.IsValid())
		}
	})
}
