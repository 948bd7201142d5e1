package httpcache

import (
	"net/http"
	"strings"
	"time"
)

// maxDelta is the largest number of seconds this cache believes. A larger one
// is read as maxDelta (RFC 9111 §1.2.2).
const maxDelta = 1<<31 - 1

// Delta is the argument of a directive that counts seconds.
type Delta struct {
	Duration time.Duration // zero if the argument was missing or not a number
	Present  bool          // the directive was there, with whatever argument
}

// Directives are the cache directives this cache acts on, of a request or a
// response (RFC 9111 §5.2, RFC 5861 §3 and §4, RFC 8246).
type Directives struct {
	// Of requests and responses.
	NoCache bool
	NoStore bool
	MaxAge  Delta

	// Of requests.
	OnlyIfCached bool
	MinFresh     Delta
	MaxStale     Delta // without an argument: as stale as it may be

	// Of responses.
	MustRevalidate       bool
	ProxyRevalidate      bool
	MustUnderstand       bool
	Private              bool
	Public               bool
	Immutable            bool
	SMaxAge              Delta
	StaleWhileRevalidate Delta
	StaleIfError         Delta

	// Withheld are the fields that private="field" and no-cache="field" name,
	// comma-separated, as they came.
	Withheld string
}

// ParseDirectives reads the lines of a Cache-Control field. It never fails:
// what it does not know it passes over.
//
// Of a repeated directive the first occurrence counts (RFC 9111 §4.2.1). An
// argument that is not a whole number, or has whitespace around its "=",
// counts as zero, so that the response is stale rather than fresh for a
// guess. The qualified forms no-cache="field" and private="field" withhold
// these fields, unless they name nothing, or something without which the
// rest makes no sense: then they count as the unqualified ones, which RFC
// 9111 §5.2.2.4 and §5.2.2.7 permit and which never reveals more than meant.
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
	switch strings.ToLower(trimOWS(name)) {
	case "no-cache":
		d.NoCache = !d.withhold(arg) || d.NoCache
	case "no-store":
		d.NoStore = true
	case "max-age":
		d.MaxAge.set(arg)
	case "only-if-cached":
		d.OnlyIfCached = true
	case "min-fresh":
		d.MinFresh.set(arg)
	case "max-stale":
		if arg == "" && !d.MaxStale.Present {
			d.MaxStale = Delta{maxDelta * time.Second, true}
		}
		d.MaxStale.set(arg)
	case "must-revalidate":
		d.MustRevalidate = true
	case "proxy-revalidate":
		d.ProxyRevalidate = true
	case "must-understand":
		d.MustUnderstand = true
	case "private":
		d.Private = !d.withhold(arg) || d.Private
	case "public":
		d.Public = true
	case "immutable":
		d.Immutable = true
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

// withhold adds the fields that arg names to those withheld, or returns false
// if it names none, no field name, or one that the rest depends on.
func (d *Directives) withhold(arg string) bool {
	some := false
	for name := range strings.SplitSeq(arg, ",") {
		name = trimOWS(name)
		switch {
		case name == "":
			continue
		case !isToken(name), essential(http.CanonicalHeaderKey(name)):
			return false
		}
		some = true
	}
	if some && d.Withheld != "" {
		d.Withheld += ","
	}
	if some {
		d.Withheld += arg
	}
	return some
}

// withheld reports whether a field, by its canonical name, is not to be
// stored.
func (d *Directives) withheld(field string) bool {
	if d.Withheld == "" {
		return false
	}
	for name := range strings.SplitSeq(d.Withheld, ",") {
		if strings.EqualFold(trimOWS(name), field) {
			return true
		}
	}
	return false
}

// essential reports whether a response without that field would mean
// something else.
func essential(field string) bool {
	switch field {
	case "Vary", "Cache-Control", "Expires", "Date", "Age", "Location":
		return true
	}
	return strings.HasPrefix(field, "Content-")
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
		n = min(n*10+int64(c-'0'), maxDelta)
	}
	return time.Duration(n) * time.Second, true
}

// nextDirective cuts the first element off a comma-separated list of
// name[=argument]. Commas inside a quoted-string do not separate; a quote
// that never closes reaches to the end of the line. Whitespace around the "="
// stays where it is.
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
	element := trimOWS(line[:end])
	if end < len(line) {
		rest = line[end+1:]
	}
	name, arg, found := strings.Cut(element, "=")
	if found && trimOWS(name) != name {
		return name, " " + arg, rest
	}
	return name, unquote(arg), rest
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

// isToken reports whether s is a token (RFC 9110 §5.6.2).
func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !isAlpha(c) && (c < '0' || c > '9') && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return false
		}
	}
	return s != ""
}
