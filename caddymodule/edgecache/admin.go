package edgecache

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/tandem-cdn/tandem/internal/httpcache"
)

func init() {
	caddy.RegisterModule(adminAPI{})
}

// adminAPI answers on the admin endpoint, and changes nothing:
//
//	GET /edgecache/stores          what each store holds
//	GET /edgecache/stores/NAME     what one holds
//	GET /edgecache/object?url=URL  what is stored for a URL, without content
//	GET /edgecache/flights         the fetches under way
//
// Keys are made of URLs, and of fields and cookies if the operator wants so.
// Whoever may use the admin endpoint sees them.
type adminAPI struct{}

// CaddyModule returns the Caddy module information.
func (adminAPI) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "admin.api.edgecache",
		New: func() caddy.Module { return new(adminAPI) },
	}
}

// Provision adds the metrics to the registry of every configuration: after a
// failed reload the admin endpoint goes on with that of the one that failed.
func (adminAPI) Provision(ctx caddy.Context) error {
	return processMetrics().register(ctx.GetMetricsRegistry())
}

// Routes implements [caddy.AdminRouter].
func (adminAPI) Routes() []caddy.AdminRoute {
	return []caddy.AdminRoute{
		{Pattern: "/edgecache/stores", Handler: caddy.AdminHandlerFunc(serveStores)},
		{Pattern: "/edgecache/stores/{name}", Handler: caddy.AdminHandlerFunc(serveStore)},
		{Pattern: "/edgecache/object", Handler: caddy.AdminHandlerFunc(serveObject)},
		{Pattern: "/edgecache/flights", Handler: caddy.AdminHandlerFunc(serveFlights)},
	}
}

// storeJSON is one store in the answers of /edgecache/stores.
type storeJSON struct {
	Name          string `json:"name"`
	Memory        int64  `json:"memory"` // bytes that it may take
	MaxObject     int64  `json:"max_object"`
	Bytes         int64  `json:"bytes"`
	Objects       int64  `json:"objects"`
	Evictions     uint64 `json:"evictions"`
	Flights       int    `json:"flights"`
	Waiters       int    `json:"waiters"`
	Memos         int    `json:"memos"`
	BufferedBytes int64  `json:"buffered_bytes"`
	PinnedBytes   int64  `json:"pinned_bytes"` // of bytes, no longer stored but still read
}

func (s *state) json(name string) storeJSON {
	return storeJSON{
		Name:          name,
		Memory:        s.store.Budget(),
		MaxObject:     s.maxObject.Load(),
		Bytes:         s.store.Bytes(),
		Objects:       s.store.Objects(),
		Evictions:     s.store.Evictions(),
		Flights:       s.flights.Len(),
		Waiters:       s.flights.Waiters(),
		Memos:         s.flights.Memos(),
		BufferedBytes: s.flights.Buffered(),
		PinnedBytes:   s.store.Pinned(),
	}
}

// stores are the states in use by name, in the order of the names.
func stores() (all []namedState) {
	states.Range(func(name, v any) bool {
		all = append(all, namedState{name.(string), v.(*state)})
		return true
	})
	slices.SortFunc(all, func(a, b namedState) int { return cmp.Compare(a.name, b.name) })
	return all
}

type namedState struct {
	name string
	*state
}

func serveStores(w http.ResponseWriter, r *http.Request) error {
	if err := onlyGet(w, r); err != nil {
		return err
	}
	answer := []storeJSON{}
	for _, s := range stores() {
		answer = append(answer, s.json(s.name))
	}
	return writeJSON(w, answer)
}

func serveStore(w http.ResponseWriter, r *http.Request) error {
	if err := onlyGet(w, r); err != nil {
		return err
	}
	name := r.PathValue("name")
	for _, s := range stores() {
		if s.name == name {
			return writeJSON(w, s.json(name))
		}
	}
	return notFound("there is no store %q", name)
}

// objectJSON is what one store has under one key.
type objectJSON struct {
	Store    string        `json:"store"`
	Key      string        `json:"key"`
	KeyHash  string        `json:"key_hash"`
	Variants []variantJSON `json:"variants"`
}

// variantJSON is one stored response. Ages and lifetimes are in seconds.
type variantJSON struct {
	Status               int               `json:"status"`
	Selected             bool              `json:"selected"` // by the fields of the question
	Fresh                bool              `json:"fresh"`
	Age                  int64             `json:"age"`
	TTL                  int64             `json:"ttl"`
	StaleWhileRevalidate *time.Time        `json:"stale_while_revalidate_until,omitempty"`
	StaleIfError         *time.Time        `json:"stale_if_error_until,omitempty"`
	Kept                 time.Time         `json:"kept_until"`
	Size                 int64             `json:"size"`             // bytes of memory, all counted
	Content              int64             `json:"content"`          // bytes of the whole, -1 if that is not known
	Parts                []string          `json:"parts,omitempty"`  // that are stored, if not all: FIRST-LAST
	Sliced               bool              `json:"sliced,omitempty"` // content is stored in slices, each by itself
	Vary                 map[string]string `json:"vary,omitempty"`
	ETag                 string            `json:"etag,omitempty"`
	LastModified         string            `json:"last_modified,omitempty"`
}

// serveObject answers /edgecache/object. A key depends on the recipe of the
// directive that made it, and on the port of the listener where the URL has
// another, so all of the running configuration are tried; what a directive
// stores for a target that was rewritten before it is not found by the URL.
func serveObject(w http.ResponseWriter, r *http.Request) error {
	if err := onlyGet(w, r); err != nil {
		return err
	}
	asked, err := requestFor(r.URL.Query())
	if err != nil {
		return caddy.APIError{HTTPStatus: http.StatusBadRequest, Err: err}
	}
	v, err := caddy.ActiveContext().AppIfConfigured("edgecache")
	if err != nil {
		return notFound("the running configuration has no edgecache")
	}
	now := time.Now()
	answer, seen := []objectJSON{}, make(map[string]bool)
	arrivals := []*http.Request{asked}
	for _, addr := range listeners() {
		to := context.WithValue(asked.Context(), http.LocalAddrContextKey, addr)
		arrivals = append(arrivals, asked.WithContext(to))
	}
	for _, h := range v.(*App).users() {
		for _, asked := range arrivals {
			key := string(h.appendKey(nil, asked))
			if seen[h.Store+"\x00"+key] {
				continue
			}
			seen[h.Store+"\x00"+key] = true
			if variants := h.state.variants(key, asked, now); len(variants) > 0 {
				answer = append(answer, objectJSON{h.Store, httpcache.KeyText(key), keyHash(key), variants})
			}
		}
	}
	if len(answer) == 0 {
		return notFound("nothing is stored for %s", asked.URL.Redacted())
	}
	return writeJSON(w, answer)
}

// maxListeners bounds what one question about an object costs.
const maxListeners = 256

// listeners are where the running configuration serves HTTP, as far as it
// counts in a key.
func listeners() (addrs []net.Addr) {
	v, err := caddy.ActiveContext().AppIfConfigured("http")
	if err != nil {
		return nil
	}
	for _, server := range v.(*caddyhttp.App).Servers {
		for _, listen := range server.Listen {
			addr, err := caddy.ParseNetworkAddress(listen)
			if err != nil {
				continue
			}
			if addr.IsUnixNetwork() {
				name, _, _ := strings.Cut(addr.Host, "|") // behind it, permissions
				addrs = append(addrs, &net.UnixAddr{Name: name, Net: "unix"})
				continue
			}
			for port := addr.StartPort; port <= addr.EndPort && len(addrs) < maxListeners; port++ {
				addrs = append(addrs, &net.TCPAddr{Port: int(port)})
			}
		}
	}
	return addrs
}

// requestFor is the request that a client would make for the URL in query,
// with the fields there.
func requestFor(query url.Values) (*http.Request, error) {
	u, err := url.Parse(query.Get("url"))
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("url %q: want one such as https://example.com/logo.svg", query.Get("url"))
	}
	asked, err := http.NewRequest(http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	if u.Scheme == "https" {
		asked.TLS = &tls.ConnectionState{HandshakeComplete: true}
	}
	for _, field := range query["header"] {
		name, value, ok := strings.Cut(field, ":")
		if name = strings.TrimSpace(name); !ok || name == "" {
			return nil, fmt.Errorf("header %q: want NAME:VALUE", field)
		}
		asked.Header.Add(name, strings.TrimSpace(value))
	}
	return asked, nil
}

// variants describes what is stored under key.
func (s *state) variants(key string, asked *http.Request, now time.Time) (found []variantJSON) {
	selected := false
	for _, e := range s.store.Variants(key) {
		ends := e.Stored.Ends()
		v := variantJSON{
			Status:   e.Stored.Status,
			Selected: !selected && e.Stored.Shareable(asked),
			Fresh:    e.Stored.Fresh(now),
			Age:      int64(e.Stored.Age(now) / time.Second),
			TTL:      httpcache.FloorSeconds(e.Stored.TTL(now)),
			Kept:     ends.Kept.UTC().Truncate(time.Second),
			Size:     e.Size(),
			Content:  e.ContentSize(),
			Sliced:   e.Sliced != nil,
			Vary:     e.Stored.Vary.Values(),
		}
		for _, span := range e.Stored.Have() {
			v.Parts = append(v.Parts, fmt.Sprintf("%d-%d", span.First, span.End()-1))
		}
		v.ETag, v.LastModified = e.Stored.Validators()
		for _, end := range []struct {
			at time.Time
			to **time.Time
		}{{ends.Revalidate, &v.StaleWhileRevalidate}, {ends.OnError, &v.StaleIfError}} {
			if end.at.After(ends.Fresh) {
				at := end.at.UTC().Truncate(time.Second)
				*end.to = &at
			}
		}
		selected = selected || v.Selected
		found = append(found, v)
	}
	return found
}

// flightJSON is one fetch under way that requests may join.
type flightJSON struct {
	Store   string `json:"store"`
	Key     string `json:"key"`
	KeyHash string `json:"key_hash"`
	State   string `json:"state"` // waiting: for a header; streaming; over: about to leave
	AgeMS   int64  `json:"age_ms"`
	Waiters int    `json:"waiters"` // that have no header yet
	Readers int    `json:"readers"` // that get content
	Bytes   int64  `json:"bytes"`   // of content so far
}

// serveFlights answers /edgecache/flights, the oldest first.
func serveFlights(w http.ResponseWriter, r *http.Request) error {
	if err := onlyGet(w, r); err != nil {
		return err
	}
	now := time.Now()
	answer := []flightJSON{}
	for _, s := range stores() {
		for _, f := range s.flights.Flights() {
			key := keyInFlight(f.Key())
			j := flightJSON{
				Store:   s.name,
				Key:     httpcache.KeyText(key),
				KeyHash: keyHash(key),
				State:   "waiting",
				AgeMS:   f.Age(now).Milliseconds(),
				Waiters: f.Waiters(),
			}
			select {
			case <-f.Decided():
				j.State = "over"
				if shared, _, _ := f.Result(); shared != nil && shared.body != nil {
					j.State, j.Readers, j.Bytes = "streaming", shared.body.Readers(), shared.body.Len()
				}
			default:
			}
			answer = append(answer, j)
		}
	}
	slices.SortStableFunc(answer, func(a, b flightJSON) int { return cmp.Compare(b.AgeMS, a.AgeMS) })
	return writeJSON(w, answer)
}

func onlyGet(w http.ResponseWriter, r *http.Request) error {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return nil
	}
	w.Header().Set("Allow", "GET, HEAD")
	return caddy.APIError{HTTPStatus: http.StatusMethodNotAllowed, Err: fmt.Errorf("method %s is not allowed here", r.Method)}
}

func notFound(format string, args ...any) error {
	return caddy.APIError{HTTPStatus: http.StatusNotFound, Err: fmt.Errorf(format, args...)}
}

// writeJSON answers with one line of JSON.
func writeJSON(w http.ResponseWriter, answer any) error {
	body, err := json.Marshal(answer)
	if err != nil {
		return caddy.APIError{HTTPStatus: http.StatusInternalServerError, Err: errors.New("writing the answer: " + err.Error())}
	}
	w.Header().Set("Content-Type", "application/json")
	_, err = w.Write(append(body, '\n'))
	return err
}

// Interface guards
var (
	_ caddy.Provisioner = adminAPI{}
	_ caddy.AdminRouter = adminAPI{}
)
