package httpcache

import (
	"encoding/binary"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// maxVaryNames bounds the work a Vary field can ask of every lookup.
const maxVaryNames = 16

// Vary is what a response varies by: the names of its Vary field, and the
// secondary key that the request it answered had under them (RFC 9111 §4.1).
// The zero Vary matches every request.
type Vary struct {
	names     []string // canonical, sorted, each once
	key       string   // length-prefixed normalised values, in that order
	codings   []string // that Accept-Encoding is normalised to; nil for all but the default
	unordered bool     // languages of equal weight are
}

// NewVary returns what a response with these Vary lines, answered to a
// request with these fields, varies by. ok is false if no other request can
// ever match, which is what a member "*" means, or if there are more than 16
// names.
func (p *Policy) NewVary(lines []string, request http.Header) (v Vary, ok bool) {
	names, ok := p.varyNames(lines)
	if !ok || len(names) == 0 {
		return Vary{}, ok
	}
	v = Vary{names: names, codings: p.Codings, unordered: p.UnorderedLanguages}
	v.key = string(v.AppendKey(nil, request))
	return v, true
}

// Matches reports whether a request with these fields selects the response.
func (v Vary) Matches(request http.Header) bool {
	if len(v.names) == 0 {
		return true
	}
	var buf [256]byte
	return string(v.AppendKey(buf[:0], request)) == v.key
}

// Has reports whether a request with that secondary key, of AppendKey for a
// Vary that is Alike, selects the response.
func (v Vary) Has(key []byte) bool { return string(key) == v.key }

// Alike reports whether a request has the same secondary key under v and u.
func (v Vary) Alike(u Vary) bool {
	return v.unordered == u.unordered && slices.Equal(v.names, u.names) && slices.Equal(v.codings, u.codings)
}

// AppendVariant appends what a request with these fields has in common with
// all that select the same variant: the names of v, and its values under them.
// The zero Vary appends nothing.
func (v Vary) AppendVariant(dst []byte, request http.Header) []byte {
	if len(v.names) == 0 {
		return dst
	}
	dst = append(dst, byte(len(v.names)))
	for _, name := range v.names {
		dst = appendPart(dst, name)
	}
	return v.AppendKey(dst, request)
}

// IsZero reports whether v makes no difference between requests.
func (v Vary) IsZero() bool { return len(v.names) == 0 }

// Equal reports whether two responses are the same variant: same names, same
// values.
func (v Vary) Equal(u Vary) bool {
	return v.key == u.key && slices.Equal(v.names, u.names)
}

// Values are the names of v with the values that select the response, in the
// form that is compared, for people: a field that has to be absent is "-".
func (v Vary) Values() map[string]string {
	if len(v.names) == 0 {
		return nil
	}
	values, rest := make(map[string]string, len(v.names)), v.key
	for _, name := range v.names {
		if rest[0] == 0 {
			values[name], rest = "-", rest[1:]
			continue
		}
		n := binary.BigEndian.Uint32([]byte(rest[1:5]))
		values[name], rest = rest[5:5+n], rest[5+n:]
	}
	return values
}

// Size is the number of bytes v keeps alive beyond itself.
func (v Vary) Size() int {
	n := len(v.key)
	for _, name := range v.names {
		n += len(name) + 16 // and its string header
	}
	return n
}

func (p *Policy) varyNames(lines []string) (names []string, ok bool) {
	for _, line := range lines {
		for name := range strings.SplitSeq(line, ",") {
			switch name = trimOWS(name); name {
			case "":
			case "*":
				return nil, false
			default:
				if name = http.CanonicalHeaderKey(name); !p.ignoresVary(name) {
					names = append(names, name)
				}
			}
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	return names, len(names) <= maxVaryNames
}

// ignoresVary reports whether a field makes no difference: the operator says
// so, or the origin server never sees more of it than is in the key.
func (p *Policy) ignoresVary(name string) bool {
	switch name {
	case "Cookie":
		if p.Cookies == IgnoreCookies || p.Cookies == KeyCookies {
			return true
		}
	case "Authorization":
		if p.Authenticated == IgnoreAuthenticated {
			return true
		}
	}
	return slices.Contains(p.VaryIgnore, name)
}

// AppendKey appends the secondary key that a request with these fields has
// under the names of v.
func (v Vary) AppendKey(dst []byte, request http.Header) []byte {
	for _, name := range v.names {
		lines := request[name]
		// A field that is absent and one that is empty are different requests;
		// for Accept-Encoding both mean identity.
		if len(lines) == 0 && name != "Accept-Encoding" {
			dst = append(dst, 0)
			continue
		}
		dst = append(dst, 1)
		at := len(dst)
		dst = append(dst, 0, 0, 0, 0)
		understood := false
		switch name {
		case "Accept-Encoding":
			dst, understood = appendAcceptEncoding(dst, lines, v.codings), true
		case "Accept-Language":
			dst, understood = appendLanguages(dst, lines, v.unordered)
		}
		if !understood {
			dst = appendNormalised(dst, lines)
		}
		binary.BigEndian.PutUint32(dst[at:], uint32(len(dst)-at-4))
	}
	return dst
}

// appendNormalised joins the lines of a field and drops the whitespace around
// commas, as RFC 9111 §4.1 allows. A value with a quoted-string in it is
// taken as it is: commas mean something else in there.
func appendNormalised(dst []byte, lines []string) []byte {
	for i, line := range lines {
		if i > 0 {
			dst = append(dst, ',')
		}
		if strings.Contains(line, `"`) {
			dst = append(dst, line...)
			continue
		}
		first := true
		for member := range strings.SplitSeq(line, ",") {
			if !first {
				dst = append(dst, ',')
			}
			first = false
			dst = append(dst, trimOWS(member)...)
		}
	}
	return dst
}

// maxCodings is how many content codings a policy can tell apart.
const maxCodings = 8

// defaultCodings are the content codings this cache tells apart unless the
// policy names others. Everything else a client lists counts as identity, so
// that made-up codings make no variants.
var defaultCodings = []string{"zstd", "br", "gzip"}

// ParseCodings reads the content codings a cache is to tell apart, the one it
// likes best first; identity by itself means none.
func ParseCodings(words []string) ([]string, error) {
	if len(words) == 1 && words[0] == "identity" {
		return []string{}, nil
	}
	if len(words) > maxCodings {
		return nil, fmt.Errorf("%q: want at most %d codings", words[maxCodings], maxCodings)
	}
	for i, word := range words {
		if !isToken(word) || word == "identity" || word == "*" || word != strings.ToLower(word) || slices.Contains(words[:i], word) {
			return nil, fmt.Errorf("%q: want content codings such as zstd br gzip, each once, or identity alone", word)
		}
	}
	return words, nil
}

// AcceptEncoding returns the value to forward instead of the client's
// Accept-Encoding, so that the origin server sees exactly what the secondary
// key says: the codings of the policy that the client takes, in the policy's
// order, or "identity". Weights other than zero are dropped.
func (p *Policy) AcceptEncoding(lines []string) string {
	var buf [64]byte
	if v := appendAcceptEncoding(buf[:0], lines, p.Codings); len(v) > 0 {
		return string(v)
	}
	return "identity"
}

// appendAcceptEncoding appends those of the codings, nil for the default
// ones, that the lines accept.
func appendAcceptEncoding(dst []byte, lines, codings []string) []byte {
	if codings == nil {
		codings = defaultCodings
	}
	var accepted [maxCodings]bool
	for _, line := range lines {
		for member := range strings.SplitSeq(line, ",") {
			coding, params, _ := strings.Cut(member, ";")
			if coding = trimOWS(coding); strings.EqualFold(coding, "x-gzip") {
				coding = "gzip" // RFC 9110 §8.4.1.3
			}
			for i, known := range codings {
				if strings.EqualFold(coding, known) {
					accepted[i] = !zeroWeight(params)
				}
			}
		}
	}
	start := len(dst)
	for i, known := range codings {
		if accepted[i] {
			if len(dst) > start {
				dst = append(dst, ", "...)
			}
			dst = append(dst, known...)
		}
	}
	return dst
}

// zeroWeight reports whether the parameters say q=0, 0.0 and so on: "not
// acceptable" (RFC 9110 §12.4.2).
func zeroWeight(params string) bool {
	name, value, found := strings.Cut(params, "=")
	if !found || !strings.EqualFold(trimOWS(name), "q") {
		return false
	}
	value = trimOWS(value)
	return value != "" && strings.Trim(value, "0.") == ""
}
