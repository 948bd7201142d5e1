package edgecache

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"golang.org/x/net/http/httpguts"

	"github.com/tandem-cdn/tandem/internal/httpcache"
)

// Key is what the cache key is made of.
type Key struct {
	// The parts of the target that count: `path`, always, and `scheme`,
	// `host`, `query`. One of `scheme` and `host` has to be there. A query
	// that does not count is not forwarded either. Default: all four.
	Parts []string `json:"parts,omitempty"`

	// Names of query parameters that do not count and are not forwarded. A
	// `*` at the end stands for any ending.
	IgnoreQuery []string `json:"ignore_query,omitempty"`

	// Whether query parameters count, and are forwarded, in the order of
	// their names.
	SortQuery bool `json:"sort_query,omitempty"`

	// Request fields that count beside the target.
	Headers []string `json:"headers,omitempty"`

	// Cookies that count beside the target.
	Cookies []string `json:"cookies,omitempty"`
}

var keyParts = []string{"scheme", "host", "path", "query"}

func (k *Key) apply(p *httpcache.Policy) error {
	if k == nil {
		return nil
	}
	if err := k.checkWords(); err != nil {
		return err
	}
	p.Key = httpcache.Recipe{IgnoreQuery: k.IgnoreQuery, SortQuery: k.SortQuery, Cookies: sorted(k.Cookies)}
	for _, name := range k.Headers {
		p.Key.Headers = append(p.Key.Headers, http.CanonicalHeaderKey(name))
	}
	p.Key.Headers = sorted(p.Key.Headers)
	if len(k.Parts) == 0 {
		return nil
	}
	lacks := func(part string) bool { return !slices.Contains(k.Parts, part) }
	p.Key.NoScheme, p.Key.NoHost, p.Key.NoQuery = lacks("scheme"), lacks("host"), lacks("query")
	switch {
	case lacks("path"):
		return errors.New("key without path: every URL would have the same response")
	case p.Key.NoScheme && p.Key.NoHost:
		return errors.New("key without scheme and host: want at least one of them")
	case p.Key.NoQuery && (len(k.IgnoreQuery) > 0 || k.SortQuery):
		return errors.New("key without query: nothing to ignore or to sort")
	}
	return nil
}

func (k *Key) checkWords() error {
	for _, part := range k.Parts {
		if !slices.Contains(keyParts, part) {
			return fmt.Errorf("key part %q: want scheme, host, path or query", part)
		}
	}
	for _, pattern := range k.IgnoreQuery {
		if name, _ := strings.CutSuffix(pattern, "*"); pattern == "" || strings.Contains(name, "*") {
			return fmt.Errorf("query ignore %q: want a name, or the beginning of one and *", pattern)
		}
	}
	for _, name := range k.Headers {
		switch canonical := http.CanonicalHeaderKey(name); {
		case !httpguts.ValidHeaderFieldName(name):
			return fmt.Errorf("key header %q: not a field name", name)
		case canonical == "Cookie" || canonical == "Host":
			return fmt.Errorf("key header %q: it has a word of its own, %s", name, strings.ToLower(name))
		case canonical == "Accept-Encoding":
			return fmt.Errorf("key header %q: it has a subdirective of its own, accept_encoding", name)
		case slices.Contains(httpcache.ConditionalFields, canonical), canonical == "Connection", canonical == "Upgrade":
			return fmt.Errorf("key header %q: it is not forwarded for the cache", name)
		}
	}
	for _, name := range k.Cookies {
		if !httpguts.ValidHeaderFieldName(name) { // RFC 6265 §4.1.1: a token
			return fmt.Errorf("cookie %q: not a cookie name", name)
		}
	}
	return nil
}

func sorted(names []string) []string { return slices.Compact(slices.Sorted(slices.Values(names))) }

// parseKey reads
//
//	key {
//	    scheme host path query
//	    query  ignore <pattern...>
//	    query  sort
//	    header <name...>
//	    cookie <name...>
//	}
func (h *Handler) parseKey(d *caddyfile.Dispenser) error {
	if d.NextArg() {
		return d.ArgErr()
	}
	if h.Key == nil {
		h.Key = new(Key)
	}
	k := h.Key
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		word := d.Val()
		args := d.RemainingArgs()
		switch {
		case word == "query" && len(args) > 1 && args[0] == "ignore":
			k.IgnoreQuery = append(k.IgnoreQuery, args[1:]...)
		case word == "query" && len(args) == 1 && args[0] == "sort":
			k.SortQuery = true
		case word == "query" && len(args) > 0 && args[0] == "ignore":
			return d.ArgErr()
		case word == "query" && len(args) > 0 && !slices.Contains(keyParts, args[0]):
			return d.Errf("bad query %q: want ignore NAME... or sort", args[0])
		case word == "header" && len(args) > 0:
			k.Headers = append(k.Headers, args...)
		case word == "cookie" && len(args) > 0:
			k.Cookies = append(k.Cookies, args...)
		case word == "header" || word == "cookie":
			return d.ArgErr()
		case !slices.Contains(keyParts, word):
			return d.Errf("unrecognized subdirective %q", word)
		default:
			k.Parts = append(append(k.Parts, word), args...)
		}
		if err := k.checkWords(); err != nil {
			return d.Errf("bad %v", err)
		}
	}
	if d.Val() != "}" {
		return d.Err("key needs a block")
	}
	if err := k.apply(new(httpcache.Policy)); err != nil {
		return d.Errf("bad %v", err)
	}
	return nil
}

// appendKey appends the primary key of r: what httpcache makes of the request
// as it is now and, where an earlier handler has rewritten it, the target the
// client named. Either alone would confuse responses: two handle_path blocks
// make one path of two, and an application behind a rewrite to its index.php
// answers by the original.
func (h *Handler) appendKey(dst []byte, r *http.Request) []byte {
	dst = appendListener(h.policy.AppendKey(dst, r), r)
	if original, ok := rewrittenFrom(r); ok {
		dst = h.policy.AppendOriginal(dst, original.URL)
	}
	return dst
}

// appendListener appends the port that r came to, unless it is the one that
// the host names, or the socket. Sites on two ports may share a store, and
// whoever asks the one under the name of the other must not fill it for the
// other.
func appendListener(dst []byte, r *http.Request) []byte {
	var port int
	switch addr := r.Context().Value(http.LocalAddrContextKey).(type) {
	case *net.TCPAddr:
		port = addr.Port
	case *net.UDPAddr: // HTTP/3
		port = addr.Port
	case *net.UnixAddr:
		return httpcache.AppendListener(dst, addr.Name)
	default:
		return dst
	}
	var buf [8]byte
	if text := strconv.AppendInt(buf[:0], int64(port), 10); string(text) != httpcache.Port(r) {
		dst = httpcache.AppendListener(dst, string(text))
	}
	return dst
}

// rewrittenFrom returns what r was before earlier handlers gave it another
// target.
func rewrittenFrom(r *http.Request) (original http.Request, ok bool) {
	original, ok = r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request)
	return original, ok && original.URL != nil && original.RequestURI != r.RequestURI
}

// contradicts reports whether r names two hosts, which the next server may
// take for the one or the other. net/http settles that for HTTP/1.1 (RFC 9112
// §3.2.2) and refuses it for HTTP/2; whoever else calls may leave both.
func contradicts(r *http.Request) bool {
	for _, host := range r.Header["Host"] {
		if !strings.EqualFold(host, r.Host) {
			return true
		}
	}
	return r.URL.Host != "" && !strings.EqualFold(r.URL.Host, r.Host)
}

// target is what a key has in common with those of the same target and other
// fields and cookies.
func (h *Handler) target(key string) string {
	if k := &h.policy.Key; len(k.Headers) == 0 && len(k.Cookies) == 0 {
		return key
	}
	return httpcache.KeyTarget(key)
}

// generation is what to hand the store with what is fetched from now on.
func (h *Handler) generation(key string) uint64 { return h.state.store.Generation(h.target(key)) }

// invalidate makes invalid what is stored under a key, and for other fields and
// cookies.
func (h *Handler) invalidate(key []byte) {
	h.state.store.Invalidate(key)
	if target := h.target(string(key)); target != string(key) {
		h.state.store.Invalidate([]byte(target))
	}
}
