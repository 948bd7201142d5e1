package httpcache

import (
	"cmp"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Field is one header field of a stored response. The values are everybody's:
// who replays them copies them first.
type Field struct {
	Name   string // canonical
	Values []string
}

// Stored is a stored response without its content: what is replayed of it and
// what the rules need to know, worked out once. It is immutable.
type Stored struct {
	Status int
	Fields []Field // sorted by name; no Age, Cache-Status or connection fields
	Vary   Vary

	// CacheStatus is the Cache-Status list of caches nearer the origin server,
	// joined, or empty.
	CacheStatus string

	etag             string // opaque-tag with its W/ prefix, or empty
	lastModified     string
	lastModifiedTime time.Time // zero if lastModified is no date

	generated  time.Time // Date
	requested  time.Time
	received   time.Time
	initialAge time.Duration
	lifetime   time.Duration
	stale      windows
	noCache    bool // never without validation
	immutable  bool // RFC 8246
	shareable  bool // even to authenticated requests
	aged       bool // it came with an age

	have []Span // what of the content is stored; nil means all
	size int64  // of the whole, if parts were stored of it
}

// NewStored records a response that Storable accepted. requested and received
// are the times around the exchange with the origin server.
func (p *Policy) NewStored(req *http.Request, status int, header http.Header, requested, received time.Time) *Stored {
	c := p.caching(req, status, header, requested, received)
	s := &Stored{
		Status:      status,
		CacheStatus: strings.Join(header["Cache-Status"], ", "),
		generated:   dateOf(header, received),
		requested:   requested,
		received:    received,
		initialAge:  c.age,
		lifetime:    c.lifetime,
		noCache:     c.NoCache,
		immutable:   c.Immutable,
		shareable:   c.shareable() || p.Authenticated == IgnoreAuthenticated,
	}
	_, s.aged = ageOf(header)
	s.Vary, _ = p.NewVary(header["Vary"], req.Header)
	s.etag, s.lastModified = validators(header)
	s.lastModifiedTime, _ = parseDate(s.lastModified, received)
	s.stale = p.windows(status, &c, s.etag != "" || s.lastModified != "")
	s.Fields = fieldsOf(header, &c.Directives)
	if _, ok := s.field("Date"); !ok {
		// RFC 9110 §6.6.1: record when it came, so that a later hit does not
		// claim to have been generated just then.
		s.setField("Date", received.UTC().Format(http.TimeFormat))
	}
	s.pack()
	return s
}

// pack puts the values of all fields into one string, and their slices into
// one array. The garbage collector goes through everything that is stored once
// for as many bytes as that is: it shall find few objects there.
func (s *Stored) pack() {
	values, length := 0, 0
	for _, f := range s.Fields {
		values += len(f.Values)
		for _, v := range f.Values {
			length += len(v)
		}
	}
	var b strings.Builder
	b.Grow(length)
	for _, f := range s.Fields {
		for _, v := range f.Values {
			b.WriteString(v)
		}
	}
	text, free := b.String(), make([]string, values)
	for i := range s.Fields {
		f := &s.Fields[i]
		n := len(f.Values)
		for j, v := range f.Values {
			free[j], text = text[:len(v)], text[len(v):]
		}
		f.Values, free = free[:n:n], free[n:]
	}
	// These are in there as well, unless the origin server withheld them.
	for _, own := range []struct {
		of   *string
		name string
	}{{&s.etag, "Etag"}, {&s.lastModified, "Last-Modified"}} {
		if v, ok := s.field(own.name); ok && *own.of == v[0] {
			*own.of = v[0]
		}
	}
}

// WithLength returns s with a Content-Length of n, for content whose length
// was not known before its end.
func (s *Stored) WithLength(n int) *Stored {
	if _, ok := s.field("Content-Length"); ok || s.Status == http.StatusNoContent {
		return s
	}
	t := *s
	t.Fields = slices.Clone(s.Fields)
	t.setField("Content-Length", strconv.Itoa(n))
	return &t
}

// Header returns the stored fields as a fresh header map.
func (s *Stored) Header() http.Header {
	h := make(http.Header, len(s.Fields)+2)
	for _, f := range s.Fields {
		h[f.Name] = f.Values
	}
	if s.CacheStatus != "" {
		h["Cache-Status"] = []string{s.CacheStatus}
	}
	return h
}

// Age is the current age at now (RFC 9111 §4.2.3).
func (s *Stored) Age(now time.Time) time.Duration {
	return s.initialAge + max(now.Sub(s.received), 0)
}

// Aged reports whether the response came from a cache nearer the origin
// server, so that an Age belongs in it for whoever it was fetched for as well
// (RFC 9111 §5.1).
func (s *Stored) Aged() bool { return s.aged }

// TTL is what remains of the freshness lifetime at now; negative once stale.
func (s *Stored) TTL(now time.Time) time.Duration { return s.lifetime - s.Age(now) }

// Supersedes reports whether s is fresh at now and was generated after t, so
// that t, arriving late, must not take its place (RFC 9111 §4: the most
// recent response, as its Date tells, is the one to use). Within one second,
// which is all that Date tells, the one that was asked for later counts.
func (s *Stored) Supersedes(t *Stored, now time.Time) bool {
	return s.NewerThan(t) && s.Fresh(now)
}

// NewerThan reports whether s is the more recent of two responses, as
// Supersedes counts.
func (s *Stored) NewerThan(t *Stored) bool {
	return cmp.Or(s.generated.Compare(t.generated), s.requested.Compare(t.requested)) > 0
}

// Validators are the entity tag and the Last-Modified date of the stored
// response, each empty if it has none.
func (s *Stored) Validators() (etag, lastModified string) { return s.etag, s.lastModified }

// Size is the number of bytes s keeps alive, about.
func (s *Stored) Size() int {
	const self = 464 // the struct and its allocation
	n := self + s.Vary.Size() + len(s.CacheStatus) + 16*len(s.have)
	for _, f := range s.Fields {
		n += len(f.Name) + 40 // the Field
		for _, v := range f.Values {
			n += len(v) + 16 // its string header
		}
	}
	return n
}

func (s *Stored) field(name string) ([]string, bool) {
	i, ok := slices.BinarySearchFunc(s.Fields, name, func(f Field, name string) int {
		return strings.Compare(f.Name, name)
	})
	if !ok {
		return nil, false
	}
	return s.Fields[i].Values, true
}

func (s *Stored) setField(name, value string) {
	i, ok := slices.BinarySearchFunc(s.Fields, name, func(f Field, name string) int {
		return strings.Compare(f.Name, name)
	})
	if !ok {
		s.Fields = slices.Insert(s.Fields, i, Field{Name: name})
	}
	s.Fields[i].Values = []string{value}
}

// fieldsOf are the fields that are stored: all but those of the connection
// (RFC 9111 §3.1), those the origin server withholds from caches, and Age and
// Cache-Status, which are made anew for each use.
func fieldsOf(header http.Header, cc *Directives) []Field {
	fields := make([]Field, 0, len(header)+2)
	for name, values := range header {
		if len(values) == 0 || !storedField(name) || namedByConnection(header, name) || cc.withheld(name) {
			continue
		}
		fields = append(fields, Field{name, values})
	}
	slices.SortFunc(fields, func(a, b Field) int { return strings.Compare(a.Name, b.Name) })
	return fields
}

func storedField(name string) bool {
	switch name {
	case "Connection", "Keep-Alive", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
		"Proxy-Authenticate", "Proxy-Authentication-Info", "Proxy-Authorization",
		"Age", "Cache-Status":
		return false
	}
	return true
}

func namedByConnection(header http.Header, name string) bool {
	for _, line := range header["Connection"] {
		for option := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(trimOWS(option), name) {
				return true
			}
		}
	}
	return false
}

// Withheld are the fields in the header of a response that private="field" or
// no-cache="field" in said keeps from being stored. The client whose request
// it answers gets them nevertheless. said is that header too, or for a 304
// what is stored as it updates that.
func (p *Policy) Withheld(said, header http.Header) http.Header {
	cc, _ := p.responseDirectives(said)
	if cc.Withheld == "" {
		return nil
	}
	h := make(http.Header)
	for name, values := range header {
		if cc.withheld(name) && storedField(name) && !namedByConnection(header, name) {
			h[name] = slices.Clone(values)
		}
	}
	return h
}
