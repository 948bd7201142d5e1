// Package dnscookie makes and verifies the server's half of DNS cookies (RFC
// 7873) in the form that servers of all makes share (RFC 9018), so that those
// behind one address can have a secret in common.
//
//	 0         8        9         12          16         24
//	┌─────────┬─────────┬──────────┬───────────┬──────────┐
//	│ client  │ version │ reserved │ timestamp │ hash     │
//	└─────────┴─────────┴──────────┴───────────┴──────────┘
//	  the client's       server cookie
//
// The hash is SipHash-2-4, by the secret, of all before it and the client's
// address. Who brings a cookie back that verifies has received it, so the address
// is not forged.
package dnscookie

import (
	"crypto/subtle"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Length is that of a client cookie together with a server cookie, in bytes.
const Length = clientLength + 16

const (
	clientLength = 8
	hashAt       = Length - 8
	version      = 1
)

// How far the timestamp of a cookie may be away (RFC 9018, section 4.3).
const (
	past   = time.Hour
	future = 5 * time.Minute
)

// Secret is what a server signs with.
type Secret [16]byte

// ParseSecret reads 32 hexadecimal digits, with white space around them. An error
// does not tell what they were.
func ParseSecret(text string) (s Secret, err error) {
	text = strings.TrimSpace(text)
	if n, err := hex.Decode(s[:], []byte(text[:min(len(text), 2*len(s))])); err != nil || n != len(s) || len(text) != 2*len(s) {
		return Secret{}, fmt.Errorf("a cookie secret is %d hexadecimal digits, and nothing else", 2*len(s))
	}
	return s, nil
}

// WellFormed reports whether a COOKIE option of n bytes may be one: a client cookie,
// alone or with a server cookie, of whatever make (RFC 7873, section 4).
func WellFormed(n int) bool { return n == clientLength || n >= clientLength+8 && n <= clientLength+32 }

// Make returns a cookie for a client. Of the option that the client sent, which is
// well-formed, the client cookie counts.
func (s Secret) Make(option []byte, from netip.Addr, now time.Time) (c [Length]byte) {
	copy(c[:clientLength], option)
	c[clientLength] = version
	binary.BigEndian.PutUint32(c[12:], uint32(now.Unix()))
	binary.LittleEndian.PutUint64(c[hashAt:], s.sign(c[:hashAt], from))
	return c
}

// Verify reports whether the option that a client sent has a server cookie that was
// made for it with one of the secrets, at most an hour ago, or five minutes ahead by
// another server's clock.
func Verify(secrets []Secret, option []byte, from netip.Addr, now time.Time) bool {
	if len(option) != Length || option[clientLength] != version {
		return false
	}
	// The difference of serial numbers (RFC 1982), which end in 2106 and go on.
	age := time.Duration(int32(uint32(now.Unix())-binary.BigEndian.Uint32(option[12:]))) * time.Second
	if age > past || age < -future {
		return false
	}
	return slices.ContainsFunc(secrets, func(s Secret) bool {
		var hash [8]byte
		binary.LittleEndian.PutUint64(hash[:], s.sign(option[:hashAt], from))
		return subtle.ConstantTimeCompare(hash[:], option[hashAt:]) == 1
	})
}

// sign hashes the beginning of a cookie and the client's address.
func (s Secret) sign(cookie []byte, from netip.Addr) uint64 {
	var text [hashAt + 16]byte
	copy(text[:], cookie)
	if from = from.Unmap(); from.Is4() {
		a := from.As4()
		return s.sipHash(text[:hashAt+copy(text[hashAt:], a[:])])
	}
	a := from.As16()
	return s.sipHash(text[:hashAt+copy(text[hashAt:], a[:])])
}
