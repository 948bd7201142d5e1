package httpcache

import (
	"cmp"
	"slices"
	"strings"
)

// maxLanguages bounds the work an Accept-Language field can ask of a lookup.
// One with more members is compared as it came.
const maxLanguages = 16

// language is one member of an Accept-Language field.
type language struct {
	span   string // the language range, as it came
	weight int    // in thousandths
}

// appendLanguages appends an Accept-Language value such that values that mean
// the same are the same (RFC 9111 §4.1): without case, the highest weight
// first, and weights in one spelling (RFC 9110 §12.4.2, §12.5.4). Those of
// equal weight stay in order, since some servers prefer the first, unless
// they are said to be unordered. It returns false for what is no such field.
func appendLanguages(dst []byte, lines []string, unordered bool) ([]byte, bool) {
	var buf [maxLanguages]language
	languages := buf[:0]
	for _, line := range lines {
		for member := range strings.SplitSeq(line, ",") {
			if member = trimOWS(member); member == "" {
				continue
			}
			span, params, weighted := strings.Cut(member, ";")
			l := language{trimOWS(span), 1000}
			ok := isToken(l.span)
			if ok && weighted {
				l.weight, ok = parseWeight(trimOWS(params))
			}
			if !ok || len(languages) == maxLanguages {
				return dst, false
			}
			languages = append(languages, l)
		}
	}
	slices.SortStableFunc(languages, func(a, b language) int {
		order := cmp.Compare(b.weight, a.weight)
		if unordered && order == 0 {
			order = strings.Compare(strings.ToLower(a.span), strings.ToLower(b.span))
		}
		return order
	})
	for i, l := range languages {
		if i > 0 {
			dst = append(dst, ',')
		}
		if dst = appendLower(dst, l.span); l.weight < 1000 {
			dst = append(dst, ";q=0."...)
			dst = append(dst, byte('0'+l.weight/100), byte('0'+l.weight/10%10), byte('0'+l.weight%10))
		}
	}
	return dst, true
}

// parseWeight reads a weight, in thousandths (RFC 9110 §12.4.2).
func parseWeight(s string) (int, bool) {
	name, value, _ := strings.Cut(s, "=")
	if !strings.EqualFold(name, "q") || value == "" || len(value) > len("0.999") || value[0] > '1' || value[0] < '0' {
		return 0, false
	}
	whole, fraction, _ := strings.Cut(value, ".")
	n := int(whole[0] - '0')
	for i := range 3 {
		n *= 10
		if i < len(fraction) {
			if !isDigit(fraction[i]) {
				return 0, false
			}
			n += int(fraction[i] - '0')
		}
	}
	return n, len(whole) == 1 && n <= 1000
}
