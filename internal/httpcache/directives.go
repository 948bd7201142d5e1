package httpcache

import (
	"strings"
	"time"
)

// MaxDelta is the largest number of seconds this cache believes. A larger one
// is read as MaxDelta (RFC 9111 §1.2.2).
const MaxDelta = 1<<31 - 1

// Delta is the argument of a directive that counts seconds.
type Delta struct {
	Duration time.Duration // zero if the argument was missing or not a number
	Present  bool          // the directive was there, with whatever argument
}

// Directives are the cache directives this cache acts on, of a request or a
// response (RFC 9111 §5.2, RFC 5861 §3 and §4).
type Directives struct {
	// Of requests and responses.
	NoCache bool
	NoStore bool
	MaxAge  Delta

	// Of requests.
	OnlyIfCached bool

	// Of responses.
	MustRevalidate       bool
	ProxyRevalidate      bool
	MustUnderstand       bool
	Private              bool
	Public               bool
	SMaxAge              Delta
	StaleWhileRevalidate Delta
	StaleIfError         Delta
}

// ParseDirectives reads the lines of a Cache-Control field. It never fails:
// what it does not know it passes over.
//
// The qualified forms no-cache="field" and private="field" count as the
// unqualified ones, which RFC 9111 §5.2.2.4 and §5.2.2.7 permit and which
// never reveals more than was meant. Of a repeated directive the first
// occurrence counts (§4.2.1). An argument that is not a whole number counts
// as zero, so that the response is stale rather than fresh for a guess.
func ParseDirectives(lines []string) Directives {
	var d Directives
	for _, line := range lines {
		for line != "" {
			var name, arg string
			name, arg, line = nextDirective(line)
			d.set(name, arg)
		}
	}
	return d
}

func (d *Directives) set(name, arg string) {
	switch strings.ToLower(name) {
	case "no-cache":
		d.NoCache = true
	case "no-store":
		d.NoStore = true
	case "max-age":
		d.MaxAge.set(arg)
	case "only-if-cached":
		d.OnlyIfCached = true
	case "must-revalidate":
		d.MustRevalidate = true
	case "proxy-revalidate":
		d.ProxyRevalidate = true
	case "must-understand":
		d.MustUnderstand = true
	case "private":
		d.Private = true
	case "public":
		d.Public = true
	case "s-maxage":
		d.SMaxAge.set(arg)
	case "stale-while-revalidate":
		d.StaleWhileRevalidate.set(arg)
	case "stale-if-error":
		d.StaleIfError.set(arg)
	}
}

func (d *Delta) set(arg string) {
	if d.Present {
		return
	}
	seconds, _ := parseDelta(arg)
	*d = Delta{Duration: seconds, Present: true}
}

// parseDelta reads delta-seconds: digits only (RFC 9111 §1.2.2).
func parseDelta(s string) (time.Duration, bool) {
	if s == "" {
		return 0, false
	}
	n := int64(0)
	for i := range len(s) {
		c := s[i]
		if c < '0' || c > '9' {
			return 0, false
		}
		n = min(n*10+int64(c-'0'), MaxDelta)
	}
	return time.Duration(n) * time.Second, true
}

// nextDirective cuts the first element off a comma-separated list of
// name[=argument]. Commas inside a quoted-string do not separate; a quote
// that never closes reaches to the end of the line.
func nextDirective(line string) (name, arg, rest string) {
	end, quoted := len(line), false
scan:
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case c == ',' && !quoted:
			end = i
			break scan
		}
	}
	element := line[:end]
	if end < len(line) {
		rest = line[end+1:]
	}
	name, arg, _ = strings.Cut(element, "=")
	return trimOWS(name), unquote(trimOWS(arg)), rest
}

// unquote takes the quotes and backslashes off a quoted-string; anything else
// it returns as it is.
func unquote(s string) string {
	if len(s) < 2 || s[0] != '"' || s[len(s)-1] != '"' {
		return s
	}
	s = s[1 : len(s)-1]
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// trimOWS trims optional whitespace (RFC 9110 §5.6.3).
func trimOWS(s string) string { return strings.Trim(s, " \t") }
