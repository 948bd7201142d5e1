package geosched

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tandem-cdn/tandem/internal/dnscookie"
)

// cookies are the secrets of DNS cookies (RFC 7873): those in files, which all
// servers of a zone can share, or one that nobody else has. They outlive reloads,
// and so do the cookies of the clients.
type cookies struct {
	files []string
	now   func() time.Time

	// owned by reload
	seen []os.FileInfo

	secrets atomic.Pointer[[]dnscookie.Secret] // the first signs; written by run
}

// holdCookies returns the cookies of the files, from the pool.
func holdCookies(p *pool, h *holder, files []string) (*cookies, error) {
	return hold(p, h, fmt.Sprintf("cookies %q", files), func() (*cookies, func(), error) {
		c := &cookies{files: files, now: time.Now}
		if len(files) == 0 {
			var s dnscookie.Secret
			rand.Read(s[:])
			c.secrets.Store(&[]dnscookie.Secret{s})
			return c, func() {}, nil
		}
		c.seen = look(c.files...)
		if err := c.load(); err != nil {
			return nil, nil, err
		}
		ctx, cancel := context.WithCancel(context.Background())
		go keepLooking(ctx, &p.announced, c.reload)
		return c, cancel, nil
	})
}

func (c *cookies) load() error {
	secrets := make([]dnscookie.Secret, len(c.files))
	for i, file := range c.files {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if secrets[i], err = dnscookie.ParseSecret(string(text)); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
	}
	c.secrets.Store(&secrets)
	return nil
}

// reload reads the files again if one of them has changed. When one is wrong or gone
// the secrets stay.
func (c *cookies) reload() {
	now := look(c.files...)
	if unchanged(c.seen, now) {
		return
	}
	c.seen = now
	if err := c.load(); err != nil {
		reloads.WithLabelValues("refused").Inc()
		log.Errorf("refused, the cookie secrets stay: %v", err)
		return
	}
	reloads.WithLabelValues("loaded").Inc()
	log.Infof("cookie secrets from %s", strings.Join(c.files, ", "))
}

// cookie is the COOKIE option of a query.
type cookie struct {
	data [40]byte
	n    int
}

// cookieOf returns the first COOKIE option of a query; others do not count (RFC
// 7873, section 5.2). One that is longer than any may be is as malformed as one
// byte more.
func cookieOf(r *dns.Msg) (c cookie, ok bool) {
	opt := r.IsEdns0()
	if opt == nil {
		return c, false
	}
	for _, o := range opt.Option {
		if e, is := o.(*dns.EDNS0_COOKIE); is {
			if c.n = len(e.Cookie) / 2; c.n <= len(c.data) {
				hex.Decode(c.data[:], []byte(e.Cookie)) // the library has made it of bytes
			}
			return c, true
		}
	}
	return c, false
}

func (c *cookie) wellFormed() bool { return dnscookie.WellFormed(c.n) }

// bytes returns a well-formed cookie.
func (c *cookie) bytes() []byte { return c.data[:c.n] }

// credit is what a query's cookie says of its sender.
type credit uint8

const (
	cookieNone      credit = iota // there is no cookie
	cookieClient                  // the client's half alone: it has none of ours
	cookieStale                   // not one that we would have made now, for that address
	cookieValid                   // the sender receives what is sent to its address
	cookieMalformed               // deserves a FORMERR (RFC 7873, section 5.2.2)
	credits                       // how many there are
)

var creditNames = [credits]string{"none", "client", "stale", "valid", "malformed"}

// judge verifies the cookie of a query.
func (c *cookies) judge(r *dns.Msg, from netip.Addr) credit {
	sent, ok := cookieOf(r)
	switch {
	case !ok:
		return cookieNone
	case !sent.wellFormed():
		return cookieMalformed
	case sent.n == 8:
		return cookieClient
	case dnscookie.Verify(*c.secrets.Load(), sent.bytes(), from, c.now()):
		return cookieValid
	}
	return cookieStale
}

// reply returns the option to answer with. It is always a new one, which a server
// may do as often as it likes (RFC 9018, section 4.3).
func (c *cookies) reply(sent *cookie, from netip.Addr) *dns.EDNS0_COOKIE {
	made := (*c.secrets.Load())[0].Make(sent.bytes(), from, c.now())
	return &dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: hex.EncodeToString(made[:])}
}

var credited [credits]counter

func (c credit) count() {
	credited[c].inc(func() prometheus.Counter { return cookiesSeen.WithLabelValues(creditNames[c]) })
}
