// Package querylog reads what clients have asked, one query a line, to ask it again.
// A line has one of four forms, and a file may have all of them:
//
//	[INFO] 192.0.2.53:4711 - 7 "A IN www.cdn.example. udp 41 …" NOERROR …   the log plugin by default
//	client=81.2.69.0/24 name=www.cdn.example. type=A resolver=192.0.2.53    words in any order, others too
//	{"msg":"…","client_ip":"192.0.2.53","qname":"www.cdn.example.",…}       the log plugin in JSON
//	81.2.69.0/24 1200                                                       a network, and how often it asks
//
// What stands before a query on a line, such as a time, is passed over. A file can
// be larger than memory; nothing of a line is kept.
package querylog

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// A Query is what a line says.
type Query struct {
	// Client is the network that located the client: its subnet, or all bits of
	// the resolver's address. It is invalid when the line has `client=-`, which is
	// what a query says that nobody was located for.
	Client netip.Prefix

	// Resolver is the address that the query came from, or invalid if the line
	// does not say.
	Resolver netip.Addr

	Name  string // absolute, in lower case; empty if the line does not say
	Type  string // such as "A"; empty if the line does not say
	Count uint64 // how often, at least 1
}

// BySubnet reports whether the client was located by its subnet, rather than by
// the address of its resolver.
func (q *Query) BySubnet() bool {
	return q.Client.IsValid() && (!q.Client.IsSingleIP() || q.Client.Addr() != q.Resolver)
}

// ParseClient returns the query of a client as a person names it: a network or an
// address, and perhaps the resolver that asks for it.
func ParseClient(client, resolver string) (q Query, err error) {
	if q.Client, err = parseClient(client); err == nil && resolver != "" {
		q.Resolver, err = parseAddr(resolver)
	}
	q.Count = 1
	return q, err
}

// errNoQuery is the error of lines that are about something else.
var errNoQuery = errors.New("there is no query in it")

// ParseLine reads one line. An error names the word that is wrong.
func ParseLine(line string) (Query, error) {
	line = strings.TrimSpace(line)
	if strings.HasPrefix(line, "{") {
		return parseJSON(line)
	}
	if strings.Contains(line, "client=") {
		return parseWords(line)
	}
	if before, quoted, ok := strings.Cut(line, `"`); ok {
		return parseDefault(before, quoted)
	}
	return parseCount(line)
}

// parseJSON reads a line of the log plugin under `log_format json`. Its message has
// the words of the log line, too, and they win.
func parseJSON(line string) (Query, error) {
	var l struct {
		Msg    string `json:"msg"`
		Client string `json:"client_ip"`
		Name   string `json:"qname"`
		Type   string `json:"qtype"`
		Class  string `json:"qclass"`
	}
	if err := json.Unmarshal([]byte(line), &l); err != nil {
		return Query{}, fmt.Errorf("JSON: %w", err)
	}
	if strings.Contains(l.Msg, "client=") {
		return parseWords(l.Msg)
	}
	if l.Client == "" {
		return Query{}, errNoQuery
	}
	return fromResolver(l.Client, l.Type, l.Class, l.Name)
}

// parseWords reads words of the form key=value.
func parseWords(line string) (Query, error) {
	q := Query{Count: 1}
	seen := false
	for word := range strings.FieldsSeq(line) {
		key, value, _ := strings.Cut(strings.Trim(word, `"`), "=")
		var err error
		switch key {
		case "client":
			seen = true
			if value != "-" {
				q.Client, err = parseClient(value)
			}
		case "resolver":
			if value != "-" {
				q.Resolver, err = parseAddr(value)
			}
		case "name":
			q.Name = Canonical(value)
		case "type":
			q.Type = value
		case "count":
			q.Count, err = parseNumber(value)
		}
		if err != nil {
			return Query{}, fmt.Errorf("%s: %w", key, err)
		}
	}
	if !seen {
		return Query{}, errNoQuery
	}
	return q, nil
}

// parseDefault reads a line of the log plugin, cut at the first quotation mark:
//
//	… 192.0.2.53:4711 - 7 "A IN www.cdn.example. …
func parseDefault(before, quoted string) (Query, error) {
	from := strings.Fields(before)
	asked := strings.Fields(quoted)
	if len(from) < 3 || len(asked) < 3 || from[len(from)-2] != "-" {
		return Query{}, errNoQuery
	}
	word := from[len(from)-3]
	colon := strings.LastIndexByte(word, ':')
	if colon < 0 {
		return Query{}, fmt.Errorf("%.60q is not an address with a port", word)
	}
	return fromResolver(word[:colon], asked[0], asked[1], asked[2])
}

// fromResolver is a query of which only the sender is known.
func fromResolver(addr, qtype, qclass, name string) (Query, error) {
	a, err := parseAddr(addr)
	if err != nil {
		return Query{}, err
	}
	if qclass != "IN" {
		return Query{}, fmt.Errorf("the class is %.60q, not IN", qclass)
	}
	return Query{Client: netip.PrefixFrom(a, a.BitLen()), Resolver: a, Name: Canonical(name), Type: qtype, Count: 1}, nil
}

// parseCount reads a network and perhaps a number.
func parseCount(line string) (Query, error) {
	words := strings.Fields(line)
	if len(words) == 0 || len(words) > 2 {
		return Query{}, errNoQuery
	}
	q := Query{Count: 1}
	var err error
	if q.Client, err = parseClient(words[0]); err != nil {
		return Query{}, err
	}
	if len(words) == 2 {
		if q.Count, err = parseNumber(words[1]); err != nil {
			return Query{}, err
		}
	}
	return q, nil
}

// parseClient reads a network or an address.
func parseClient(word string) (netip.Prefix, error) {
	if !strings.Contains(word, "/") {
		a, err := parseAddr(word)
		if err != nil {
			return netip.Prefix{}, fmt.Errorf("%.60q is neither a network nor an address", word)
		}
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(word)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%.60q is neither a network nor an address", word)
	}
	return p.Masked(), nil
}

// parseAddr reads an address, which the server writes in brackets if it is IPv6.
func parseAddr(word string) (netip.Addr, error) {
	bare := word
	if strings.HasPrefix(bare, "[") && strings.HasSuffix(bare, "]") {
		bare = bare[1 : len(bare)-1]
	}
	a, err := netip.ParseAddr(bare)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("%.60q is not an address", word)
	}
	return a.Unmap().WithZone(""), nil
}

// maxCount keeps the sum of a log far from where it would overflow.
const maxCount = 1 << 40

func parseNumber(word string) (uint64, error) {
	n, err := strconv.ParseUint(word, 10, 64)
	if err != nil || n == 0 || n > maxCount {
		return 0, fmt.Errorf("%.60q is not a number from 1 to %d", word, uint64(maxCount))
	}
	return n, nil
}

// Canonical makes a name absolute and lower case. It is empty if the name is, or "-",
// which is how a line says that it has none.
func Canonical(name string) string {
	if name == "" || name == "-" {
		return ""
	}
	name = strings.ToLower(name)
	if !strings.HasSuffix(name, ".") {
		name += "."
	}
	return name
}
