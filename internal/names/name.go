package names

import (
	"errors"
	"fmt"
)

// Bounds of a name (RFC 1035, section 2.3.4), and of its text when every octet is
// escaped.
const (
	maxLabel = 63
	maxName  = 255 // with the length octets of all labels
	maxText  = 4 * maxName
)

// What is wrong with a name.
var (
	errEmptyLabel = errors.New("has an empty label")
	errLongLabel  = errors.New("has a label of more than 63 octets")
	errLongName   = errors.New("is longer than 255 octets")
	errEscape     = errors.New(`has a \ without three digits up to 255 or another character after it`)
	errNoText     = errors.New(`is empty`)
	errWildcard   = errors.New("has a wildcard that is not the first label")
	errNotASCII   = errors.New(`has an octet that is not printable ASCII: write xn--… for a name in another script, or \DDD`)
)

// Append appends the canonical form of a name as it is written in a zone file (RFC
// 1035, section 5.1): relative to origin, which is canonical, unless it ends in a
// dot. @ is the origin itself. An error says what is wrong with the word, which it
// does not quote.
func Append[T string | []byte](dst []byte, word T, origin string) ([]byte, error) {
	if len(word) == 0 {
		return dst, errNoText
	}
	if len(word) == 1 && word[0] == '@' {
		return append(dst, origin...), nil
	}
	if len(word) == 1 && word[0] == '.' {
		return append(dst, '.'), nil
	}
	from := len(dst)
	octets := 1 // the root
	label, star := 0, false
	for i := 0; i < len(word); i++ {
		c := word[i]
		switch kinds[c] {
		case plain:
			dst = append(dst, c)
		case upper:
			dst = append(dst, c+'a'-'A')
		case dot:
			if label == 0 {
				return dst[:from], errEmptyLabel
			}
			if star && label == 1 && len(dst)-from > 1 {
				return dst[:from], errWildcard
			}
			dst = append(dst, '.')
			octets += 1 + label
			label, star = 0, false
			continue
		case backslash:
			var ok bool
			if c, i, ok = unescape(word, i); !ok {
				return dst[:from], errEscape
			}
			dst = appendOctet(dst, c)
		case special:
			dst = append(dst, '\\', c)
		default:
			return dst[:from], errNotASCII
		}
		if label++; label > maxLabel {
			return dst[:from], errLongLabel
		}
		star = label == 1 && c == '*'
	}
	if label > 0 { // relative
		if star && label == 1 && len(dst)-from > 1 {
			return dst[:from], errWildcard
		}
		octets += 1 + label
		dst = append(dst, '.')
		if origin != "." {
			dst = append(dst, origin...)
			octets += wireLen(origin) - 1
		}
	}
	if octets > maxName {
		return dst[:from], errLongName
	}
	return dst, nil
}

// Canonical is Append for a name that stands alone.
func Canonical(word, origin string) (string, error) {
	name, err := Append(nil, word, origin)
	return string(name), err
}

// kind is what a character of a name is when it is written bare.
type kind uint8

const (
	other kind = iota
	plain
	upper
	dot
	backslash
	special // escaped in canonical form
)

var kinds = func() (k [256]kind) {
	for c := '!'; c <= '~'; c++ {
		k[c] = plain
	}
	for c := 'A'; c <= 'Z'; c++ {
		k[c] = upper
	}
	for _, c := range `'@;()"` {
		k[c] = special
	}
	k['.'], k['\\'] = dot, backslash
	return k
}()

// unescape returns the octet that the escape at i stands for, and where it ends.
func unescape[T string | []byte](word T, i int) (c byte, end int, ok bool) {
	if i+1 >= len(word) {
		return 0, i, false
	}
	c = word[i+1]
	if c < '0' || c > '9' {
		return c, i + 1, true
	}
	if i+3 >= len(word) {
		return 0, i, false
	}
	n := 0
	for _, d := range []byte(word[i+1 : i+4]) {
		if d < '0' || d > '9' {
			return 0, i, false
		}
		n = 10*n + int(d-'0')
	}
	return byte(n), i + 3, n <= 255
}

// appendOctet appends one octet of a label.
func appendOctet(dst []byte, c byte) []byte {
	switch kinds[c] {
	case plain:
		return append(dst, c)
	case upper:
		return append(dst, c+'a'-'A')
	case other:
		if c != ' ' {
			return fmt.Appendf(dst, `\%03d`, c)
		}
	}
	return append(dst, '\\', c)
}

// Absolute reports whether a name as it is written ends in a dot.
func Absolute[T string | []byte](word T) bool {
	n := len(word)
	if n == 0 || word[n-1] != '.' {
		return false
	}
	escapes := 0
	for i := n - 2; i >= 0 && word[i] == '\\'; i-- {
		escapes++
	}
	return escapes%2 == 0
}

// wireLen returns how many octets a canonical name has in a message.
func wireLen(name string) int {
	if name == "." {
		return 1
	}
	n := 1
	for i := 0; i < len(name); i++ {
		if name[i] == '\\' {
			i++
			if c := name[i]; c >= '0' && c <= '9' {
				i += 2
			}
		}
		n++
	}
	return n
}

// parent returns the name above, which for a name of one label is the root.
func parent(name string) string {
	for i := 0; i < len(name); i++ {
		switch name[i] {
		case '\\':
			i++ // of \DDD the rest is digits
		case '.':
			if i+1 < len(name) {
				return name[i+1:]
			}
			return "."
		}
	}
	return "."
}

// Zones are the apexes of zones, canonical.
type Zones []string

// ZoneOf returns the index of the zone that a name is in, which is the longest, or -1.
func ZoneOf[T string | []byte](zones Zones, name T) int {
	best := -1
	for i, zone := range zones {
		if Below(name, zone) && (best < 0 || len(zone) > len(zones[best])) {
			best = i
		}
	}
	return best
}

// Below reports whether a name is in a zone: its apex or a name below.
func Below[T string | []byte](name T, zone string) bool {
	n := len(name) - len(zone)
	if n < 0 || string(name[n:]) != zone {
		return false
	}
	return n == 0 || zone == "." || Absolute(name[:n])
}
