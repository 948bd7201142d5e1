package cachemodel

import (
	"fmt"
	"net/http"
	"strings"
	"time"
)

// Step is one request of a client, and what the origin server says if it, or
// something that it causes, gets there.
type Step struct {
	Wait    time.Duration // before it
	Overlap bool          // the next one does not wait for its end
	Method  string
	Path    string
	Fields  []string // "Name: value"
	Say     Say
}

// Say is how the origin server answers.
type Say struct {
	Change       bool // the content changes before
	Status       int
	Fields       []string // "Name: value"
	ETag         bool
	LastModified bool
	Secret       bool          // a field for this client alone
	Cookie       bool          // the same, Set-Cookie
	Old          time.Duration // since Date
	Latency      time.Duration
	Wrong304     bool // to any condition, also one that does not hold
	Break        bool // half of the content, and a broken transfer
	Short        bool // half of the content, and nobody says so
	Fail         bool // no connection
}

// The alphabets of Steps. What is there twice comes twice as often.
var (
	waits   = []time.Duration{0, 0, 0, 0, 0, 1, 1, 1, 1, 4, 4, 9, 11, 25, 61, 700, 90_000} // seconds
	methods = []string{"GET", "GET", "GET", "GET", "GET", "GET", "GET", "GET", "HEAD", "POST", "DELETE"}
	paths   = []string{"/a", "/a", "/a", "/a", "/b"}
	// One of each of these lists, which are mostly nothing.
	requestFields = [][]string{
		{"", "", "", "Accept-Language: de", "Accept-Language: en"},
		{"", "", "", "Accept-Encoding: gzip"},
		{"", "", "", "", "", "", "", "", "Authorization: Basic eA==", "Cookie: a=b"},
		{"", "", "", "", "", "", "", "", "", "", "If-None-Match: *", "If-None-Match: \"/a.1.-.-\", \"/a.2.-.-\", \"/a.1.de.-\"", "If-None-Match: W/\"/b.1.-.-\"",
			"If-None-Match: \"\""},
		{"", "", "", "", "", "", "", "", "", "", "If-Modified-Since: Wed, 01 Dec 1999 00:00:15 GMT", "If-Modified-Since: Thu, 02 Dec 1999 00:00:00 GMT"},
		{"", "", "", "", "", "", "", "", "", "", "Range: bytes=0-4", "Range: bytes=5-", "Range: bytes=-3", "Range: bytes=1000-", "Range: bytes=0-1, 4-7"},
		{"", "", "", "If-Range: \"/a.1.-.-\"", "If-Range: Wed, 01 Dec 1999 00:00:15 GMT"},
		{"", "", "", "", "", "", "", "", "", "", "Cache-Control: no-cache", "Cache-Control: no-store", "Cache-Control: max-age=0", "Cache-Control: only-if-cached"},
	}
	statuses       = []int{200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 404, 301, 500, 503}
	responseFields = [][]string{
		{"Cache-Control: max-age=1", "Cache-Control: max-age=10", "Cache-Control: max-age=10", "Cache-Control: max-age=60", "Cache-Control: max-age=60",
			"Cache-Control: max-age=0", "Cache-Control: no-cache", "Cache-Control: max-age=60, no-cache", "Cache-Control: no-store", "Cache-Control: private, max-age=60",
			"Cache-Control: public, max-age=10", "Cache-Control: s-maxage=10, max-age=60", "Cache-Control: max-age=10, must-revalidate",
			"Cache-Control: max-age=10, stale-while-revalidate=20", "Cache-Control: max-age=10, stale-if-error=30",
			"Cache-Control: s-maxage=5, stale-while-revalidate=10", "Cache-Control: max-age=10, stale-if-error=0", "Cache-Control: max-age=5, proxy-revalidate", ""},
		{"", "", "", "", "", "", "Cdn-Cache-Control: max-age=20", "Cdn-Cache-Control: public", "Cdn-Cache-Control: no-store"},
		{"", "", "", "", "", "Expires: Sat, 01 Jan 2000 00:00:30 GMT", "Expires: 0"},
		{"", "", "", "", "", "", "", "Vary: Accept-Language", "Vary: Accept-Encoding", "Vary: Accept-Language, Accept-Encoding", "Vary: *", "Vary: Cookie"},
		{"", "", "", "", "Age: 7", "Age: 30"},
	}
	olds      = []time.Duration{0, 0, 0, 0, 3, 50}    // seconds
	latencies = []time.Duration{0, 0, 0, 0, 1, 3, 15} // seconds
)

// MaxSteps bounds what Steps returns.
const MaxSteps = 60

// Steps reads steps from arbitrary bytes.
func Steps(data []byte) (steps []Step) {
	next := func() byte {
		if len(data) == 0 {
			return 0
		}
		b := data[0]
		data = data[1:]
		return b
	}
	for len(data) > 0 && len(steps) < MaxSteps {
		flags, trouble := next(), next()
		s := Step{
			Wait:    of(waits, next()) * time.Second,
			Overlap: flags&1 != 0,
			Method:  of(methods, next()),
			Path:    of(paths, next()),
			Say: Say{
				Change:       flags&2 != 0,
				ETag:         flags&4 != 0,
				LastModified: flags&8 != 0,
				Secret:       flags&16 != 0 && flags&32 != 0,
				Cookie:       trouble%16 == 1,
				Fail:         trouble%16 == 2,
				Break:        trouble%16 == 3,
				Wrong304:     trouble%16 == 4,
				Short:        trouble%16 == 5,
				Status:       of(statuses, next()),
				Old:          of(olds, next()) * time.Second,
				Latency:      of(latencies, next()) * time.Second,
			},
		}
		choose := func(lists [][]string) (fields []string) {
			for _, list := range lists {
				if f := of(list, next()); f != "" {
					fields = append(fields, f)
				}
			}
			return fields
		}
		s.Fields, s.Say.Fields = choose(requestFields), choose(responseFields)
		if s.Say.Secret {
			for i, f := range s.Say.Fields {
				if strings.HasPrefix(f, "Cache-Control: ") {
					s.Say.Fields[i] = f + `, private="` + strings.ToLower(SecretField) + `"`
				}
			}
		}
		steps = append(steps, s)
	}
	return steps
}

func of[T any](list []T, b byte) T { return list[int(b)%len(list)] }

// Header is a header made of the fields.
func Header(fields []string) http.Header {
	h := make(http.Header)
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		h.Add(name, value)
	}
	return h
}

// String is the step on a line.
func (s Step) String() string {
	line := fmt.Sprintf("+%v %s %s %s", s.Wait, s.Method, s.Path, strings.Join(s.Fields, " | "))
	if s.Overlap {
		line += " (overlapping)"
	}
	line += fmt.Sprintf("  →  %d %s", s.Say.Status, strings.Join(s.Say.Fields, " | "))
	for word, is := range map[string]bool{"changed": s.Say.Change, "etag": s.Say.ETag, "last-modified": s.Say.LastModified, "secret": s.Say.Secret,
		"cookie": s.Say.Cookie, "WRONG 304": s.Say.Wrong304, "BREAKS": s.Say.Break, "SHORT": s.Say.Short, "FAILS": s.Say.Fail} {
		if is {
			line += ", " + word
		}
	}
	return line + fmt.Sprintf(", old %v, after %v", s.Say.Old, s.Say.Latency)
}

// Shrink leaves out of steps, and of what they say, all that they fail without.
func Shrink(steps []Step, fails func([]Step) bool) []Step {
	for changed := true; changed; {
		changed = false
		try := func(smaller []Step) {
			if fails(smaller) {
				steps, changed = smaller, true
			}
		}
		for n := len(steps) / 2; n > 0; n /= 2 {
			for i := 0; i+n <= len(steps); {
				before := len(steps)
				try(append(append([]Step{}, steps[:i]...), steps[i+n:]...))
				if len(steps) == before {
					i += n
				}
			}
		}
		for i := range steps {
			for _, simplify := range []func(*Step) bool{
				func(s *Step) bool { was := s.Overlap; s.Overlap = false; return was },
				func(s *Step) bool { was := s.Say.Change; s.Say.Change = false; return was },
				func(s *Step) bool { was := s.Say.ETag; s.Say.ETag = false; return was },
				func(s *Step) bool { was := s.Say.LastModified; s.Say.LastModified = false; return was },
				func(s *Step) bool { was := s.Say.Cookie; s.Say.Cookie = false; return was },
				func(s *Step) bool { was := s.Say.Wrong304; s.Say.Wrong304 = false; return was },
				func(s *Step) bool { was := s.Say.Break; s.Say.Break = false; return was },
				func(s *Step) bool { was := s.Say.Short; s.Say.Short = false; return was },
				func(s *Step) bool { was := s.Say.Fail; s.Say.Fail = false; return was },
				func(s *Step) bool { was := s.Say.Old; s.Say.Old = 0; return was != 0 },
				func(s *Step) bool { was := s.Say.Latency; s.Say.Latency = 0; return was != 0 },
				func(s *Step) bool { was := s.Wait; s.Wait = 0; return was != 0 },
			} {
				smaller := append([]Step{}, steps...)
				if simplify(&smaller[i]) {
					try(smaller)
				}
			}
			for j := len(steps[i].Fields) - 1; j >= 0; j-- {
				smaller := append([]Step{}, steps...)
				smaller[i].Fields = append(append([]string{}, smaller[i].Fields[:j]...), smaller[i].Fields[j+1:]...)
				try(smaller)
			}
			for j := len(steps[i].Say.Fields) - 1; j >= 0; j-- {
				smaller := append([]Step{}, steps...)
				smaller[i].Say.Fields = append(append([]string{}, smaller[i].Say.Fields[:j]...), smaller[i].Say.Fields[j+1:]...)
				try(smaller)
			}
		}
	}
	return steps
}
