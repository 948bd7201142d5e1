package geosched

import (
	"fmt"
	"strings"
	"testing"
)

func TestParseExplain(t *testing.T) {
	for _, tt := range []struct{ name, line, want string }{
		{"alone", "explain", "chaos [127.0.0.0/8 ::1/128]"},
		{"chaos", "explain chaos", "chaos [127.0.0.0/8 ::1/128]"},
		{"allow-alone", "explain allow 192.0.2.0/24 2001:db8::1", "chaos [192.0.2.0/24 2001:db8::1/128]"},
		{"http", "explain http 127.0.0.1:8054", "http 127.0.0.1:8054 [127.0.0.0/8 ::1/128]"},
		{"http-6", "explain http [::1]:8054", "http [::1]:8054 [127.0.0.0/8 ::1/128]"},
		{"http-localhost", "explain http localhost:8054", "http localhost:8054 [127.0.0.0/8 ::1/128]"},
		{"http-everywhere-is-loopback", "explain http :8054", "http 127.0.0.1:8054 [127.0.0.0/8 ::1/128]"},
		{"both", "explain chaos http :8054", "chaos http 127.0.0.1:8054 [127.0.0.0/8 ::1/128]"},
		{"any-order", "explain allow 10.0.0.0/8 http :8054 chaos", "chaos http :8054 [10.0.0.0/8]"},
		{"http-elsewhere", "explain http 192.0.2.1:8054 allow 192.0.2.0/24", "http 192.0.2.1:8054 [192.0.2.0/24]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := block("node lon 192.0.2.1 51.5 -0.12\nsteer www\n" + tt.line)
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			if c.Explain.Chaos {
				got = "chaos "
			}
			if c.Explain.HTTP != "" {
				got += "http " + c.Explain.HTTP + " "
			}
			if got += fmt.Sprint(c.Explain.Allow); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
	if c, err := block("node lon 192.0.2.1 51.5 -0.12\nsteer www"); err != nil || c.Explain != nil {
		t.Errorf("without the line: %+v, %v", c.Explain, err)
	}
}

func TestParseExplainRefuses(t *testing.T) {
	for _, tt := range []struct{ name, lines, want string }{
		{"word", "explain everything", `explain "everything" is unknown, want chaos, http, allow`},
		{"twice", "explain\nexplain", `"explain" is on line 4 already`},
		{"chaos-twice", "explain chaos chaos", `explain "chaos" is given twice`},
		{"chaos-what", "explain chaos yes", `explain "chaos" wants nothing, got "yes"`},
		{"http-nothing", "explain http allow 10.0.0.0/8", `explain "http" wants one address, got ""`},
		{"http-two", "explain http :1 :2", `explain "http" wants one address, got ":1 :2"`},
		{"http-word", "explain http here", `"here" is not an address`},
		{"http-port", "explain http 127.0.0.1:http", `"http" is not a port`},
		{"http-open", "explain http 192.0.2.1:80", `explain http "192.0.2.1:80" is not a loopback address: want "allow" networks that may ask`},
		{"http-everywhere", "explain http 0.0.0.0:80", `explain http "0.0.0.0:80" is not a loopback address`},
		{"allow-nobody", "explain allow", `explain "allow" wants networks`},
		{"allow-whom", "explain allow 10.0.0.1/8", `"10.0.0.1/8" has bits set beyond its length, want "10.0.0.0/8"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := block("node lon 192.0.2.1 51.5 -0.12\nsteer www\n" + tt.lines)
			if err == nil || !strings.HasPrefix(err.Error(), "Testfile:") || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want Testfile:… %s", err, tt.want)
			}
		})
	}
}
