package httpcache

import (
	"encoding/base64"
	"strconv"
	"strings"
	"unicode/utf8"
)

// member is the value of one key in a Dictionary of Structured Fields: an
// Item, or the Items of an Inner List. Parameters are checked and dropped.
type member struct {
	items []any // bool, int64, string, token, or opaque for any other type
	inner bool  // an Inner List, of any number of items
}

type (
	token  string
	opaque struct{} // a Decimal, Byte Sequence, Date or Display String
)

// parseDictionary parses a field as a Dictionary (RFC 9651 §4.2.2) and calls
// set for each member in order, of which the last with a key counts. It
// returns false, perhaps after some calls, if the field is not a Dictionary.
// An empty field is one without members.
func parseDictionary(lines []string, set func(key string, m member)) bool {
	s := fieldScanner(strings.Join(lines, ","))
	s.skip(" ")
	for s != "" {
		key, ok := s.key()
		if !ok {
			return false
		}
		m := member{items: []any{true}}
		if s.next('=') {
			if m, ok = s.member(); !ok {
				return false
			}
		} else if !s.parameters() {
			return false
		}
		set(key, m)
		s.skip(" \t")
		if s == "" {
			return true
		}
		if !s.next(',') {
			return false
		}
		if s.skip(" \t"); s == "" {
			return false // a comma at the end
		}
	}
	return true
}

// fieldScanner is what is left to parse.
type fieldScanner string

func (s *fieldScanner) skip(set string) { *s = fieldScanner(strings.TrimLeft(string(*s), set)) }

// next takes c, if it comes next.
func (s *fieldScanner) next(c byte) bool {
	if *s == "" || (*s)[0] != c {
		return false
	}
	*s = (*s)[1:]
	return true
}

// span takes the longest beginning made of bytes that are ok.
func (s *fieldScanner) span(ok func(byte) bool) string {
	n := 0
	for n < len(*s) && ok((*s)[n]) {
		n++
	}
	taken := (*s)[:n]
	*s = (*s)[n:]
	return string(taken)
}

func isLower(c byte) bool { return 'a' <= c && c <= 'z' }
func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func (s *fieldScanner) key() (string, bool) {
	if *s == "" || !isLower((*s)[0]) && (*s)[0] != '*' {
		return "", false
	}
	return s.span(func(c byte) bool { return isLower(c) || isDigit(c) || strings.IndexByte("_-.*", c) >= 0 }), true
}

// member takes an Item or an Inner List, with its parameters.
func (s *fieldScanner) member() (m member, ok bool) {
	if !s.next('(') {
		item, ok := s.item()
		return member{items: []any{item}}, ok && s.parameters()
	}
	m.inner = true
	for {
		s.skip(" ")
		if s.next(')') {
			return m, s.parameters()
		}
		item, ok := s.item()
		if !ok || !s.parameters() || *s == "" || (*s)[0] != ' ' && (*s)[0] != ')' {
			return m, false
		}
		m.items = append(m.items, item)
	}
}

func (s *fieldScanner) parameters() bool {
	for s.next(';') {
		s.skip(" ")
		if _, ok := s.key(); !ok {
			return false
		}
		if s.next('=') {
			if _, ok := s.item(); !ok {
				return false
			}
		}
	}
	return true
}

// item takes a bare Item (RFC 9651 §4.2.3.1).
func (s *fieldScanner) item() (any, bool) {
	if *s == "" {
		return nil, false
	}
	switch c := (*s)[0]; {
	case c == '-' || isDigit(c):
		return s.number()
	case c == '"':
		return s.text()
	case c == '*' || isAlpha(c):
		return token(s.span(func(c byte) bool { return c == ':' || c == '/' || isToken(string(c)) })), true
	case s.next('?'):
		truth := s.next('1')
		return truth, truth || s.next('0')
	case s.next(':'):
		encoded, rest, ok := strings.Cut(string(*s), ":")
		_, err := base64.StdEncoding.DecodeString(encoded)
		*s = fieldScanner(rest)
		return opaque{}, ok && err == nil && !strings.ContainsAny(encoded, "\r\n")
	case s.next('@'):
		n, ok := s.number()
		_, whole := n.(int64)
		return opaque{}, ok && whole
	case s.next('%'):
		return opaque{}, s.display()
	}
	return nil, false
}

// number takes an Integer of at most 15 digits, or a Decimal of at most 12
// and 3.
func (s *fieldScanner) number() (any, bool) {
	negative := s.next('-')
	digits := s.span(isDigit)
	if s.next('.') {
		fraction := s.span(isDigit)
		return opaque{}, digits != "" && len(digits) <= 12 && fraction != "" && len(fraction) <= 3
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if negative {
		n = -n
	}
	return n, err == nil && len(digits) <= 15
}

// text takes a String.
func (s *fieldScanner) text() (any, bool) {
	var b strings.Builder
	for *s = (*s)[1:]; *s != ""; *s = (*s)[1:] {
		switch c := (*s)[0]; {
		case c == '"':
			*s = (*s)[1:]
			return b.String(), true
		case c == '\\':
			if *s = (*s)[1:]; *s == "" || (*s)[0] != '"' && (*s)[0] != '\\' {
				return nil, false
			}
			b.WriteByte((*s)[0])
		case c < ' ' || c > '~':
			return nil, false
		default:
			b.WriteByte(c)
		}
	}
	return nil, false
}

// display takes a Display String behind its "%".
func (s *fieldScanner) display() bool {
	if !s.next('"') {
		return false
	}
	var b []byte
	for *s != "" {
		c := (*s)[0]
		*s = (*s)[1:]
		switch {
		case c == '"':
			return utf8.Valid(b)
		case c < ' ' || c > '~':
			return false
		case c == '%':
			if len(*s) < 2 || strings.Trim(string((*s)[:2]), "0123456789abcdef") != "" {
				return false
			}
			c = unhex((*s)[0])<<4 | unhex((*s)[1])
			*s = (*s)[2:]
		}
		b = append(b, c)
	}
	return false
}
