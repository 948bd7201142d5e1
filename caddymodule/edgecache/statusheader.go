package edgecache

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/tandem-cdn/tandem/internal/httpcache"
)

// debugField is the request field that carries the token.
const debugField = "Edgecache-Debug"

// minToken is the fewest characters of a debug token: with fewer it is soon
// guessed.
const minToken = 8

// StatusHeader is what clients are told about the cache.
type StatusHeader struct {
	// Whether responses have a `Cache-Status` field of this cache: `on`,
	// `off`, or `debug`, which is `on` and adds the cache key for requests
	// that carry the token. Default: `on`.
	StatusHeader string `json:"status_header,omitempty"`

	// The value of the `Edgecache-Debug` request field that asks for the
	// key. At least 8 characters; `{env.NAME}` and `{file.PATH}` stand for
	// what is there.
	DebugToken string `json:"debug_token,omitempty"`
}

// provision puts in what placeholders stand for.
func (s *StatusHeader) provision() (err error) {
	if s.DebugToken, err = caddy.NewReplacer().ReplaceOrErr(s.DebugToken, true, true); err != nil {
		return fmt.Errorf("status_header debug: %w", err)
	}
	s.DebugToken = strings.TrimSpace(s.DebugToken) // a file ends in a line feed
	return s.validate()
}

func (s *StatusHeader) validate() error {
	switch {
	case s.StatusHeader == "debug" && len(s.DebugToken) < minToken:
		return errors.New("status_header debug: want a token of at least " + strconv.Itoa(minToken) + " characters")
	case s.StatusHeader != "debug" && s.DebugToken != "":
		return errors.New("debug_token is for status_header debug")
	}
	switch s.StatusHeader {
	case "", "on", "off", "debug":
		return nil
	}
	return errors.New("status_header " + strconv.Quote(s.StatusHeader) + ": want on, off or debug")
}

func (s *StatusHeader) parseStatusHeader(d *caddyfile.Dispenser) error {
	switch args := d.RemainingArgs(); len(args) {
	case 1:
		s.StatusHeader = args[0]
	case 2:
		s.StatusHeader, s.DebugToken = args[0], args[1]
	default:
		return d.ArgErr()
	}
	if strings.Contains(s.DebugToken, "{") {
		return nil // only provision can tell
	}
	if err := s.validate(); err != nil {
		return d.Errf("bad %v", err)
	}
	return nil
}

// setStatus puts this cache's member of Cache-Status into header, behind
// those of caches nearer the origin server.
func setStatus(header http.Header, own httpcache.CacheStatus, upstream string) {
	if text := own.AppendTo(nil, upstream); len(text) > 0 {
		header["Cache-Status"] = []string{string(text)}
	} else {
		delete(header, "Cache-Status")
	}
}

// debugged returns a writer that adds the key to Cache-Status if r carries
// the token. The token goes no further.
func (s *StatusHeader) debugged(w http.ResponseWriter, r *http.Request, key []byte) http.ResponseWriter {
	token := r.Header.Get(debugField)
	if token == "" {
		return w
	}
	delete(r.Header, debugField)
	if subtle.ConstantTimeCompare([]byte(token), []byte(s.DebugToken)) == 0 {
		return w
	}
	return &debugWriter{
		ResponseWriterWrapper: &caddyhttp.ResponseWriterWrapper{ResponseWriter: w},
		param:                 "; key=" + quoted(httpcache.KeyText(string(key))),
	}
}

// debugWriter adds a parameter to the last member of Cache-Status, which is
// this cache's own.
type debugWriter struct {
	*caddyhttp.ResponseWriterWrapper
	param string
}

// WriteHeader completes the header of a final response.
func (d *debugWriter) WriteHeader(status int) {
	if v := d.Header()["Cache-Status"]; status >= 200 && len(v) > 0 {
		last := len(v) - 1
		d.Header()["Cache-Status"] = append(v[:last:last], v[last]+d.param)
		d.param = ""
	}
	d.ResponseWriter.WriteHeader(status)
}

// quoted returns s as a Structured Fields string (RFC 9651 §3.3.3); what
// cannot stand in one is percent-encoded.
func quoted(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for i := range len(s) {
		switch c := s[i]; {
		case c < ' ' || c > '~':
			const digits = "0123456789ABCDEF"
			b.Write([]byte{'%', digits[c>>4], digits[c&15]})
		case c == '"' || c == '\\':
			b.Write([]byte{'\\', c})
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}
