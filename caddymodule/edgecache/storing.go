package edgecache

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/tandem-cdn/tandem/internal/httpcache"
	"github.com/tandem-cdn/tandem/internal/store"
)

// Storing is which responses are stored.
type Storing struct {
	// What becomes of a storable response with `Set-Cookie`: `skip` does not
	// store it, `strip` takes the field out for every client and stores the
	// rest, `store` hands the cookie to everybody. Default: `skip`.
	SetCookie string `json:"set_cookie,omitempty"`

	// What the cookies of a request mean. `auto`: they are forwarded, and
	// HTML is then stored only if it is `public`, `s-maxage` or targeted.
	// `ignore`: what is fetched for the cache is fetched without them.
	// `bypass`: requests with cookies are not for this cache. `key`: those
	// that `key` names count, and only those are forwarded. Default: `auto`.
	Cookies string `json:"cookies,omitempty"`

	// What the credentials of a request mean. `rfc`: the response is stored
	// if it is marked `public`, `s-maxage` or `must-revalidate`; to have been
	// named by a handler such as `basic_auth` counts as credentials. `bypass`:
	// requests with `Authorization` are not for this cache. `ignore`: what is
	// fetched for the cache is fetched without `Authorization`, and whoever
	// comes as far as this handler may see what is stored. Default: `rfc`.
	Authenticated string `json:"authenticated,omitempty"`
}

// askedBy copies of r what decides about storing: handlers further on change
// the header of theirs. The target is the one that the client named. It has
// the credentials that the origin server sees, and those that an earlier
// handler took instead.
func (h *Handler) askedBy(r *http.Request) *http.Request {
	target := *r.URL
	if original, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request); ok && original.URL != nil {
		target = *original.URL
	}
	asked := &http.Request{Method: http.MethodGet, Host: r.Host, TLS: r.TLS, URL: &target, Header: r.Header.Clone()}
	h.policy.RewriteFields(asked.Header)
	if h.policy.Authenticated == httpcache.IgnoreAuthenticated || len(asked.Header["Authorization"]) > 0 {
		return asked
	}
	if repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
		// Set by whatever handler of Caddy identifies users, by a cookie or a
		// certificate perhaps.
		if user, ok := repl.Get("http.auth.user.id"); ok && user != "" {
			asked.Header["Authorization"] = []string{"user"}
		}
	}
	return asked
}

// storable is why a response, on its way through w, is not stored: for the
// rules, for its length, or for the number of its variants. A part is stored
// if it was asked for.
func (h *Handler) storable(want want, asked *http.Request, status int, w *originWriter, now time.Time) httpcache.Refusal {
	var refusal httpcache.Refusal
	if status == http.StatusPartialContent && (want.part != nil || want.partial != nil) {
		refusal = h.policy.StorablePart(asked, w.header, now)
	} else {
		refusal = h.policy.Storable(asked, status, w.header, now)
	}
	if refusal != "" {
		return refusal
	}
	if status == http.StatusTooEarly && early(asked) {
		return httpcache.RefusedStatus // it is about the request, whatever it says
	}
	if w.length() > h.maxObject() {
		return httpcache.RefusedTooLarge
	}
	if lines := w.header["Vary"]; len(lines) > 0 {
		if v, _ := h.policy.NewVary(lines, asked.Header); !h.state.store.Admits(want.key, v, now) {
			return httpcache.RefusedVariants
		}
	}
	return ""
}

// newStored records a response that is storable.
func (h *Handler) newStored(asked *http.Request, status int, header http.Header, requested, received time.Time) *httpcache.Stored {
	h.policy.Strip(header)
	if status == http.StatusPartialContent {
		return h.policy.NewPart(asked, header, requested, received)
	}
	return h.policy.NewStored(asked, status, header, requested, received)
}

// successor is e with other fields.
func (h *Handler) successor(e *store.Entry, s *httpcache.Stored) *store.Entry {
	next := e.With(s)
	next.MaxVariants = h.MaxVariants
	return next
}

// entry is what the handler puts into the store.
func (h *Handler) entry(key string, s *httpcache.Stored, body []byte) *store.Entry {
	e := &store.Entry{Key: key, Stored: s, Body: body, MaxVariants: h.MaxVariants}
	if target := h.target(key); target != key {
		e.Target = target
	}
	return e
}

// put stores a response that was fetched.
func (h *Handler) put(e *store.Entry, generation uint64, now time.Time) {
	if !h.state.store.Put(e, generation, now) {
		h.metrics.refuse(refusedSuperseded)
		return
	}
	h.metrics.fetched.Inc()
}

// putFreshened stores e, which is a stored response after a validation.
func (h *Handler) putFreshened(e *store.Entry, generation uint64, now time.Time) {
	if h.state.store.Put(e, generation, now) {
		h.metrics.freshened.Inc()
	}
}

func (s *Storing) apply(p *httpcache.Policy) (err error) {
	if s.SetCookie != "" {
		if p.SetCookie, err = httpcache.ParseSetCookie(s.SetCookie); err != nil {
			return fmt.Errorf("set_cookie %w", err)
		}
	}
	if s.Cookies != "" {
		if p.Cookies, err = httpcache.ParseCookies(s.Cookies); err != nil {
			return fmt.Errorf("cookies %w", err)
		}
		if p.Cookies == httpcache.KeyCookies && len(p.Key.Cookies) == 0 {
			return errors.New("cookies key: want the names of the cookies")
		}
	}
	if s.Authenticated != "" {
		if p.Authenticated, err = httpcache.ParseAuthenticated(s.Authenticated); err != nil {
			return fmt.Errorf("authenticated %w", err)
		}
	}
	return nil
}

// parseCookies reads one word, and behind key the names that become part of
// the key.
func (h *Handler) parseCookies(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	if len(args) == 0 {
		return d.ArgErr()
	}
	mode, err := httpcache.ParseCookies(args[0])
	switch names := args[1:]; {
	case err != nil:
		return d.Errf("bad cookies %v", err)
	case mode != httpcache.KeyCookies && len(names) > 0, mode == httpcache.KeyCookies && len(names) == 0:
		return d.ArgErr()
	case mode == httpcache.KeyCookies:
		if h.Key == nil {
			h.Key = new(Key)
		}
		h.Key.Cookies = append(h.Key.Cookies, names...)
		if err := h.Key.checkWords(); err != nil {
			return d.Errf("bad %v", err)
		}
	}
	h.Cookies = args[0]
	return nil
}
