// Package cachemodel is a model of a correct shared HTTP cache, made to judge
// a real one. It is slow and keeps everything:
//
//	clients ──► the cache under test ──► origin server
//	   │                                      │
//	   └── Answer: what came, when            └── Exchange: what was said, when
//	              │                                      │
//	              └───────────► Model.Check ◄────────────┘
//	       could some correct cache have given this answer?
//
// The origin server labels what it says: the number of the exchange is in
// every header, and what is said for one client alone has that client's name
// in it. So an answer tells which exchange it rests on, and the model asks
// whether RFC 9111 lets a shared cache rest it on that one: the exchange was
// this request's own, or it was for everybody, for this URL and variant, and
// fresh, or validated, or stale with permission, and nothing had made it
// invalid. A cache that forwards every request passes; how many hits there
// were is for the test to count.
//
// The rules are written again here, from the RFCs and without the parsers and
// shortcuts of package httpcache, for the plain values that Steps make.
package cachemodel

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// The fields by which the origin server labels what it says.
const (
	ExchangeField = "X-Exchange" // number of the exchange
	StepField     = "X-Step"     // in requests: number of the step that asks
	SecretField   = "X-Secret"   // what private="x-secret" and its like keep from caches
)

// Moment is when something happened, by the clock and among all other things.
type Moment struct {
	Time time.Time
	Seq  int
}

func (m Moment) before(n Moment) bool { return m.Seq < n.Seq }

// Exchange is one request to the origin server, and its response.
type Exchange struct {
	ID      int
	Step    int // of the request that caused it
	Method  string
	Path    string
	Request http.Header
	Asked   Moment

	// Set when the header is sent.
	Answered Moment // zero: never
	Told     Moment // when the cache had the header
	Status   int
	Header   http.Header
	Content  string // all of the representation that it speaks of, sent or not
	Broken   bool   // the content breaks off
	Failed   bool   // there was no way to the origin server
}

// Answer is what a client got.
type Answer struct {
	Step     int
	Method   string
	Path     string
	Request  http.Header
	Asked    Moment
	Answered Moment // when the header came
	Ended    Moment

	Status int
	Header http.Header
	Body   string
	Broken bool // the content broke off
}

// Model knows every exchange and every answer.
type Model struct {
	// StaleIfError is for how long the operator lets stale responses stand in
	// for errors where the origin server does not say, and Slow how long an
	// origin server may take until that counts as an error.
	StaleIfError, Slow time.Duration
	// Slack is how long the way from the origin server to the cache may take:
	// no time at all in simulated time.
	Slack time.Duration

	mu        sync.Mutex
	seq       int
	exchanges []*Exchange
	answers   []*Answer
}

// Now is the next moment, at that time.
func (m *Model) Now(now time.Time) Moment {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.seq++
	return Moment{now, m.seq}
}

// Asked notes a request that reached the origin server.
func (m *Model) Asked(r *http.Request, now time.Time) *Exchange {
	at := m.Now(now)
	m.mu.Lock()
	defer m.mu.Unlock()
	step, _ := strconv.Atoi(r.Header.Get(StepField))
	x := &Exchange{ID: len(m.exchanges) + 1, Step: step, Method: r.Method, Path: r.URL.Path, Request: r.Header.Clone(), Asked: at}
	m.exchanges = append(m.exchanges, x)
	return x
}

// Answered notes what a client got.
func (m *Model) Answered(a *Answer) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.answers = append(m.answers, a)
}

// Answers are all that were noted.
func (m *Model) Answers() []*Answer { return m.answers }

// Exchanges is how often the origin server was asked.
func (m *Model) Exchanges() int { return len(m.exchanges) }

// Check judges all answers, once everything is over. It returns the first that
// no correct cache could have given, and why.
func (m *Model) Check() (*Answer, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, a := range m.answers {
		if err := m.check(a); err != nil {
			return a, err
		}
	}
	return nil, nil
}

func (m *Model) check(a *Answer) error {
	label := a.Header.Get(ExchangeField)
	if label == "" {
		return m.checkError(a)
	}
	n, err := strconv.Atoi(label)
	if err != nil || n < 1 || n > len(m.exchanges) {
		return fmt.Errorf("rests on the exchange %q, which there was not", label)
	}
	x := m.exchanges[n-1]
	if x.Path != a.Path {
		return fmt.Errorf("rests on exchange %d, which is for %s", x.ID, x.Path)
	}
	own := x.Step == a.Step && a.Asked.before(x.Asked)
	updated, err := m.updated(a, x)
	if err == nil {
		err = m.checkAll(a, updated, own)
	}
	if err != nil && x.Status == http.StatusPartialContent {
		err = m.checkAll(a, x, own) // what the fields of other parts add need not count
	}
	if err != nil {
		return fmt.Errorf("rests on exchange %d: %w", n, err)
	}
	return nil
}

func (m *Model) checkAll(a *Answer, x *Exchange, own bool) error {
	checks := []func(*Answer, *Exchange, bool) error{checkContent, checkStatus, checkPersonal, m.checkPermission, m.checkAge}
	if a.Status == http.StatusRequestedRangeNotSatisfiable && (x.Status == http.StatusNotModified || x.Method == http.MethodHead) {
		checks = checks[:2] // it need not tell what the stored response said of caching
	}
	for _, check := range checks {
		if err := check(a, x, own); err != nil {
			return err
		}
	}
	return nil
}

// updated is x with all that the stored response which it validated said, if
// it did: what is not in a 304, or in the header of a HEAD, stays as it was
// (RFC 9111 §3.2). The answer tells what that is; it has to come from an
// earlier exchange.
func (m *Model) updated(a *Answer, x *Exchange) (*Exchange, error) {
	u := *x
	u.Header = x.Header.Clone()
	for _, name := range []string{"Cache-Control", "Cdn-Cache-Control", "Expires", "Vary", "Etag", "Last-Modified"} {
		got, said, others := a.Header.Get(name), x.Header.Get(name), m.exchanges[:x.ID-1]
		switch {
		case got == said, a.Status == http.StatusRequestedRangeNotSatisfiable:
			continue // which may leave out anything
		case x.Status == http.StatusPartialContent: // its fields and those of other parts, which may be newer (§3.4)
			others = m.exchanges
		case said != "" || x.Status != http.StatusNotModified && x.Method != http.MethodHead:
			return nil, fmt.Errorf("%s: %q, and the origin server said %q", name, got, said)
		}
		if !slices.ContainsFunc(others, func(y *Exchange) bool { return y.Path == x.Path && y.Header.Get(name) == got }) {
			return nil, fmt.Errorf("%s: %q, which nobody said", name, got)
		}
		u.Header.Set(name, got)
	}
	return &u, nil
}

// checkError judges an answer that the origin server did not give.
func (m *Model) checkError(a *Answer) error {
	switch {
	case a.Status == http.StatusGatewayTimeout && has(a.Request, "Cache-Control", "only-if-cached"):
		return nil
	case a.Status == http.StatusTooEarly, a.Status < 500:
		return fmt.Errorf("status %d, and nothing of the origin server", a.Status)
	case m.trouble(a):
		return nil
	}
	return fmt.Errorf("status %d, and the origin server was well", a.Status)
}

// trouble reports whether there was an error of the origin server, for this
// URL, that a may be told of, or that something stale may hide from it. An
// error may answer for a second.
func (m *Model) trouble(a *Answer) bool {
	for _, x := range m.exchanges {
		switch {
		case x.Path != a.Path || a.Answered.before(x.Asked):
		case x.Answered.Seq == 0, x.Answered.Time.Sub(x.Asked.Time) >= m.Slow-m.Slack && a.Answered.Time.Sub(x.Asked.Time) >= m.Slow-m.Slack:
			return true
		case (x.Failed || x.Broken || x.Status >= 500) && !x.Answered.Time.Add(time.Second+m.Slack).Before(a.Asked.Time):
			return true
		}
	}
	return false
}

// checkPermission asks whether an answer may rest on an exchange at all.
func (m *Model) checkPermission(a *Answer, x *Exchange, own bool) error {
	if x.Answered.Seq == 0 || a.Answered.before(x.Answered) {
		return fmt.Errorf("which was not over")
	}
	if own {
		return nil
	}
	if a.Method != http.MethodGet && a.Method != http.MethodHead {
		return fmt.Errorf("it is another request's, and the method is %s", a.Method)
	}
	if why := unshareable(x); why != "" {
		// Errors of the origin server answer all who wait for the same fetch,
		// as far as nothing in them or about the clients is personal.
		if why == "no lifetime" && x.Status >= 500 && m.underWay(a, x) && !personal(a.Request) && !personal(x.Request) {
			return nil
		}
		return fmt.Errorf("another request's that is not to be shared: %s", why)
	}
	for _, name := range members(x.Header["Vary"]) {
		name = http.CanonicalHeaderKey(name)
		if got, want := selecting(a.Request, name), selecting(x.Request, name); got != want {
			return fmt.Errorf("it varies by %s: %q is not %q", name, got, want)
		}
	}
	if y := m.invalidator(a, x); y != nil {
		return fmt.Errorf("exchange %d, a %s, made it invalid", y.ID, y.Method)
	}
	if m.underWay(a, x) || m.completed(a, x) {
		return nil // it was under way when the client asked: as new as its own
	}
	return m.checkFresh(a, x)
}

// underWay reports whether the client had asked before the cache had x.
func (m *Model) underWay(a *Answer, x *Exchange) bool {
	return a.Asked.before(x.Told) || a.Asked.Time.Before(x.Told.Time.Add(m.Slack))
}

// completed reports whether x is a part of which a whole, or a larger part,
// was made by another that was fetched after a was asked, if what x speaks of
// was still the same: as good as a validation (RFC 9110 §15.3.7.3).
func (m *Model) completed(a *Answer, x *Exchange) bool {
	return slices.ContainsFunc(m.exchanges, func(y *Exchange) bool {
		return y.Path == x.Path && y.Status == http.StatusPartialContent && y.Content == x.Content && m.underWay(a, y) && y.Told.before(a.Ended)
	})
}

// invalidator is an exchange by which x is no longer to be used for a
// (RFC 9111 §4.4): its own client had heard of it when a was asked, and x was
// asked before it was over.
func (m *Model) invalidator(a *Answer, x *Exchange) *Exchange {
	for _, b := range m.answers {
		if slices.Contains([]string{"GET", "HEAD"}, b.Method) || a.Asked.before(b.Ended) {
			continue
		}
		for _, y := range m.exchanges {
			if y.Step == b.Step && y.Path == x.Path && y.Method == b.Method && y.Status >= 200 && y.Status < 400 && !y.Failed &&
				x.Asked.before(y.Answered) {
				return y
			}
		}
	}
	return nil
}

// checkPersonal asks whether something for one client alone came to another.
func checkPersonal(a *Answer, x *Exchange, own bool) error {
	for _, name := range []string{"Set-Cookie", SecretField} {
		if name == SecretField && !strings.Contains(x.Header.Get(control(x.Header)), "private=") {
			continue // a targeted field speaks to this cache, and does not say so
		}
		for _, value := range a.Header[name] {
			if want := fmt.Sprint("step=", a.Step); value != want {
				return fmt.Errorf("it has %s: %s, which is for another client", name, value)
			}
		}
	}
	return nil
}

// checkStatus asks whether the status and the fields fit the exchange and what
// the client asked.
func checkStatus(a *Answer, x *Exchange, own bool) error {
	known := func(name string) string {
		if a.Header.Get(name) != "" {
			return a.Header.Get(name)
		}
		return x.Header.Get(name)
	}
	whole := x.Status
	if x.Status == http.StatusNotModified && !(own && a.Status == http.StatusNotModified) {
		whole = http.StatusOK // what it says of a stored response
	}
	switch a.Status {
	case whole:
		return nil
	case http.StatusNotModified:
		if whole != http.StatusOK && whole != http.StatusPartialContent {
			return fmt.Errorf("304, where the origin server said %d", whole)
		}
		if etags := a.Request["If-None-Match"]; len(etags) > 0 {
			for _, etag := range members(etags) {
				if etag == "*" || etag != "" && strings.TrimPrefix(etag, "W/") == strings.TrimPrefix(known("Etag"), "W/") {
					return nil
				}
			}
			return fmt.Errorf("304, and %s is not in %v", known("Etag"), etags)
		}
		since, err := http.ParseTime(a.Request.Get("If-Modified-Since"))
		modified, dated := http.ParseTime(known("Last-Modified"))
		if dated != nil {
			modified, dated = http.ParseTime(known("Date"))
		}
		if err == nil && dated == nil && !modified.After(since) {
			return nil
		}
		return fmt.Errorf("304, which nobody asked for")
	case http.StatusPartialContent, http.StatusRequestedRangeNotSatisfiable:
		if a.Request.Get("Range") == "" {
			return fmt.Errorf("%d without Range", a.Status)
		}
		if c := a.Request.Get("If-Range"); c != "" && a.Status == http.StatusPartialContent && c != known("Etag") && c != known("Last-Modified") {
			return fmt.Errorf("206, and If-Range: %s does not hold", c)
		}
		if whole == http.StatusOK || whole == http.StatusPartialContent {
			return nil
		}
	case http.StatusOK:
		if whole == http.StatusPartialContent {
			return nil // of parts a whole was made; its content tells whether rightly
		}
	}
	return fmt.Errorf("status %d, where the origin server said %d", a.Status, x.Status)
}

func personal(request http.Header) bool {
	return request.Get("Cookie") != "" || request.Get("Authorization") != ""
}
