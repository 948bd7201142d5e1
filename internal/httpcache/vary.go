package httpcache

import (
	"encoding/binary"
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
	names []string // canonical, sorted, each once
	key   string   // length-prefixed normalised values, in that order
}

// NewVary returns what a response with these Vary lines, answered to a
// request with these fields, varies by. ok is false if no other request can
// ever match, which is what a member "*" means, or if there are more than 16
// names.
func NewVary(lines []string, request http.Header) (v Vary, ok bool) {
	names, ok := varyNames(lines)
	if !ok || len(names) == 0 {
		return Vary{}, ok
	}
	return Vary{names: names, key: string(appendSecondaryKey(nil, names, request))}, true
}

// Matches reports whether a request with these fields selects the response.
func (v Vary) Matches(request http.Header) bool {
	if len(v.names) == 0 {
		return true
	}
	var buf [256]byte
	return string(appendSecondaryKey(buf[:0], v.names, request)) == v.key
}

// AppendKey appends the secondary key that a request with these fields has
// under the names of v.
func (v Vary) AppendKey(dst []byte, request http.Header) []byte {
	return appendSecondaryKey(dst, v.names, request)
}

// Equal reports whether two responses are the same variant: same names, same
// values.
func (v Vary) Equal(u Vary) bool {
	return v.key == u.key && slices.Equal(v.names, u.names)
}

// Size is the number of bytes v keeps alive beyond itself.
func (v Vary) Size() int {
	n := len(v.key)
	for _, name := range v.names {
		n += len(name) + 16 // and its string header
	}
	return n
}

func varyNames(lines []string) (names []string, ok bool) {
	for _, line := range lines {
		for name := range strings.SplitSeq(line, ",") {
			switch name = trimOWS(name); name {
			case "":
			case "*":
				return nil, false
			default:
				names = append(names, http.CanonicalHeaderKey(name))
			}
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	return names, len(names) <= maxVaryNames
}

func appendSecondaryKey(dst []byte, names []string, request http.Header) []byte {
	for _, name := range names {
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
		if name == "Accept-Encoding" {
			dst = appendAcceptEncoding(dst, lines)
		} else {
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

// codings are the content codings this cache tells apart. Everything else a
// client lists counts as identity, so that made-up codings make no variants.
var codings = [...]string{"br", "gzip", "zstd"}

// AcceptEncoding returns the value to forward instead of the client's
// Accept-Encoding, so that the origin server sees exactly what the secondary
// key says: the codings out of br, gzip and zstd that the client takes, in
// that order, or "identity". Weights other than zero are dropped.
func AcceptEncoding(lines []string) string {
	var buf [32]byte
	if v := appendAcceptEncoding(buf[:0], lines); len(v) > 0 {
		return string(v)
	}
	return "identity"
}

func appendAcceptEncoding(dst []byte, lines []string) []byte {
	var accepted [len(codings)]bool
	for _, line := range lines {
		for member := range strings.SplitSeq(line, ",") {
			coding, params, _ := strings.Cut(member, ";")
			coding = trimOWS(coding)
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
