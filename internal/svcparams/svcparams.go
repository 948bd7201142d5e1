// Package svcparams reads service parameters: what an HTTPS or SVCB record says
// about an endpoint beside its addresses (RFC 9460), in the presentation format of
// zone files,
//
//	alpn=h3,h2 port=8443 ech=AEX+DQBB…
//
// without ipv4hint and ipv6hint, which follow from the choice of a node. It
// refuses what a client would: a record with a parameter that contradicts another
// is ignored, and the client then does without all of them.
package svcparams

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// MaxLength is how many bytes the parameters may take on the wire: an answer
// that fits into one packet has room for them.
const MaxLength = 768

// Parse returns the parameters, ascending by key. They are separated by white
// space, so a value has none. An error names the word that is wrong.
func Parse(text string) ([]dns.SVCBKeyValue, error) {
	var params []dns.SVCBKeyValue
	for _, word := range strings.Fields(text) {
		kv, err := parseOne(word)
		if err != nil {
			return nil, fmt.Errorf("service parameter %q: %w", word, err)
		}
		if slices.ContainsFunc(params, func(o dns.SVCBKeyValue) bool { return o.Key() == kv.Key() }) {
			return nil, fmt.Errorf("service parameter %q: %s is given twice", word, kv.Key())
		}
		params = append(params, kv)
	}
	slices.SortFunc(params, func(a, b dns.SVCBKeyValue) int { return cmp.Compare(a.Key(), b.Key()) })
	if n := dns.Len(&dns.SVCB{Hdr: dns.RR_Header{Name: "."}, Target: ".", Value: params}); n > MaxLength {
		return nil, fmt.Errorf("service parameters take %d bytes, more than %d", n, MaxLength)
	}
	return params, consistent(params)
}

var (
	errForm  = errors.New("want KEY or KEY=VALUE such as alpn=h3,h2, with a key of RFC 9460")
	errValue = errors.New("its value is empty")
)

// parseOne reads one KEY or KEY=VALUE.
func parseOne(word string) (dns.SVCBKeyValue, error) {
	if i := strings.IndexFunc(word, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`;()`, r) }); i >= 0 {
		return nil, errForm // a comment, or a line break, for the zone parser
	}
	rr, err := dns.NewRR(". 0 IN SVCB 1 . " + word)
	if err != nil {
		return nil, errForm
	}
	svcb, ok := rr.(*dns.SVCB)
	if !ok || len(svcb.Value) != 1 {
		return nil, errForm
	}
	// Some errors the library finds only when it packs.
	if _, err := dns.PackRR(svcb, make([]byte, dns.Len(svcb)+len(word)), 0, nil, false); err != nil {
		return nil, errForm
	}
	switch kv := svcb.Value[0].(type) {
	case *dns.SVCBIPv4Hint, *dns.SVCBIPv6Hint:
		return nil, errors.New("the addresses are those of the node")
	case *dns.SVCBAlpn:
		if len(kv.Alpn) == 0 {
			return nil, errValue
		}
	case *dns.SVCBECHConfig:
		if len(kv.ECH) == 0 {
			return nil, errValue
		}
	}
	return svcb.Value[0], nil
}

// consistent checks what concerns several parameters (RFC 9460, sections 7.1.1
// and 8).
func consistent(params []dns.SVCBKeyValue) error {
	has := func(key dns.SVCBKey) bool {
		return slices.ContainsFunc(params, func(kv dns.SVCBKeyValue) bool { return kv.Key() == key })
	}
	if has(dns.SVCB_NO_DEFAULT_ALPN) && !has(dns.SVCB_ALPN) {
		return errors.New("service parameter no-default-alpn stands without alpn")
	}
	for _, kv := range params {
		m, ok := kv.(*dns.SVCBMandatory)
		if !ok {
			continue
		}
		if len(m.Code) == 0 {
			return errors.New("service parameter mandatory names no key")
		}
		for i, key := range m.Code {
			if key == dns.SVCB_MANDATORY || !has(key) || slices.Contains(m.Code[:i], key) {
				return fmt.Errorf("service parameter %q: each key is another one, once, that is there", "mandatory="+m.String())
			}
		}
	}
	return nil
}
