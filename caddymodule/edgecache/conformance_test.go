package edgecache

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// The conformance tables say what a shared cache has to do, RFC by RFC, and
// run through Caddy, this cache, reverse_proxy and an origin server that says
// what the table says. Nothing in them waits: what is to be stale comes with
// an Age.

// level is how binding a behaviour is.
type level string

const (
	must   level = "must"   // the RFC does not allow otherwise
	should level = "should" // the RFC recommends it, or it is the point of having a cache
	may    level = "may"    // the RFC allows more; this is what this cache does
)

// outcome is where the answer to a request came from.
type outcome uint8

const (
	unset      outcome = iota // origin; as an exception for a preset: none
	origin                    // forwarded, and answered with what came
	cache                     // answered without asking
	validated                 // forwarded as a conditional request, and answered with what was stored
	mismatched                // the same, but the 304 is about something else: forwarded again without condition
	stood                     // forwarded, and answered with what was stored because that failed
	refreshing                // answered with what was stored, and forwarded behind the client's back
	failure                   // answered with an error of this cache
)

func (o outcome) String() string {
	return [...]string{"origin", "origin", "cache", "validated", "mismatched", "stood", "refreshing", "failure"}[o]
}

// behaviour is one thing that a cache has to do.
type behaviour struct {
	id      string
	section string
	level   level
	steps   []step
}

// step is one request of a client, what the origin server says if asked, and
// what has to come of it.
type step struct {
	method string   // GET if empty
	target string   // added to the path of the behaviour
	ask    []string // request fields, name and value by turns

	status int      // 200 if zero
	say    []string // response fields; an empty value takes away what net/http presets
	early  []string // fields of a 103 before it
	body   string   // content; if empty, a text that only this step has
	broken bool     // closes the connection instead

	want  outcome
	safe  outcome  // with the safe preset, if it differs
	of    int      // whose content comes from the cache, counted from 1; the first if zero
	code  int      // status that the client gets; that of the content's step if zero
	get   []string // fields that the client gets; an empty value: does not get
	asked []string // fields that the origin server gets; an empty value: does not get
}

func (s step) content(b *behaviour, i int) string {
	if s.body != "" {
		return s.body
	}
	return fmt.Sprintf("%s, step %d", b.id, i+1)
}

// presets are those the tables run with.
var presets = []string{"conformance", "safe"}

func TestConformance(t *testing.T) {
	date40 = at(-40) // not before other tests, which may take longer than it is fresh
	var all []behaviour
	for _, group := range [][]behaviour{
		freshnessBehaviours(), directiveBehaviours(), dateBehaviours(), statusBehaviours(),
		varyBehaviours(), conditionalBehaviours(), updateBehaviours(), invalidationBehaviours(), rangeBehaviours(),
		requestBehaviours(), staleBehaviours(), targetedBehaviours(), fieldBehaviours(),
	} {
		all = append(all, group...)
	}
	byID := make(map[string]*behaviour, len(all))
	for i := range all {
		b := &all[i]
		if byID[b.id] != nil || b.section == "" || b.level == "" || len(b.steps) == 0 {
			t.Fatalf("%q: no id of its own, or something is missing", b.id)
		}
		byID[b.id] = b
	}
	for _, preset := range presets {
		t.Run(preset, func(t *testing.T) {
			s := &scripted{t: t, behaviours: byID}
			s.edge = newEdge(t, strings.Replace(site, "edgecache", "edgecache {\npreset "+preset+"\n}", 1), s.serve)
			for i := range all {
				t.Run(all[i].id, func(t *testing.T) { s.run(t, &all[i], preset) })
			}
		})
	}
	t.Logf("%d behaviours", len(all))
}

// scripted is an edge with an origin server that follows the tables.
type scripted struct {
	t          *testing.T
	behaviours map[string]*behaviour
	edge       *edge

	mu   sync.Mutex
	seen []http.Header // of requests since the step began
}

// serve answers as the step that caused the request says.
func (s *scripted) serve(w http.ResponseWriter, r *http.Request) {
	b := s.behaviours[strings.Split(r.URL.Path, "/")[1]]
	i, err := strconv.Atoi(r.Header.Get("X-Step"))
	if b == nil || err != nil {
		s.t.Errorf("the origin server got a request nobody sent: %s %v", r.URL, r.Header)
		return
	}
	s.mu.Lock()
	s.seen = append(s.seen, r.Header.Clone())
	s.mu.Unlock()
	step := b.steps[i]
	if step.broken {
		panic(http.ErrAbortHandler)
	}
	if step.early != nil {
		setFields(w.Header(), step.early)
		w.WriteHeader(http.StatusEarlyHints)
		clear(w.Header())
	}
	w.Header().Set("Content-Type", "text/plain")
	setFields(w.Header(), step.say)
	status := max(step.status, http.StatusOK)
	content := step.content(b, i)
	// As an origin server of static files would.
	if conditional := r.Header.Get("If-None-Match") != "" || r.Header.Get("If-Modified-Since") != ""; conditional && (step.want == validated || step.safe == validated || step.want == mismatched) {
		status = http.StatusNotModified
	}
	if bodyAllowed(status) {
		if w.Header().Get("Content-Length") == "" {
			w.Header().Set("Content-Length", strconv.Itoa(len(content)))
		}
		w.WriteHeader(status)
		if r.Method != http.MethodHead {
			_, _ = io.WriteString(w, content)
		}
		return
	}
	w.WriteHeader(status)
}

func bodyAllowed(status int) bool {
	return status >= 200 && status != http.StatusNoContent && status != http.StatusNotModified
}

func setFields(h http.Header, fields []string) {
	fresh := make(map[string]bool)
	for i := 0; i < len(fields); i += 2 {
		name := http.CanonicalHeaderKey(fields[i])
		switch {
		case fields[i+1] == "":
			h[name] = nil
		case fresh[name]:
			h.Add(name, fields[i+1])
		default:
			h.Set(name, fields[i+1])
		}
		fresh[name] = true
	}
}

// run goes through the steps of one behaviour.
func (s *scripted) run(t *testing.T, b *behaviour, preset string) {
	for i, step := range b.steps {
		s.mu.Lock()
		s.seen = nil
		s.mu.Unlock()
		method := step.method
		if method == "" {
			method = http.MethodGet
		}
		req := s.edge.request(method, "/"+b.id+step.target, step.ask...)
		req.Header.Set("X-Step", strconv.Itoa(i))
		got, err := s.edge.do(req)
		if err != nil {
			t.Fatalf("step %d: %v", i+1, err)
		}
		if len(got.header["Cache-Status"]) == 0 || strings.Contains(got.cacheStatus(), "stored") || step.want == refreshing || step.safe == refreshing {
			eventually(t, "the fetch ends", nothingIsFetched)
		}
		s.mu.Lock()
		seen := s.seen
		s.mu.Unlock()

		want := max(step.want, origin)
		if preset == "safe" && step.safe != unset {
			want = step.safe
		}
		if problem := s.judge(b, i, method, want, got, seen); problem != "" {
			t.Fatalf("%s, %s: step %d: %s\n%d %v\n%q\nthe origin server got %v", b.section, b.level, i+1, problem, got.status, got.header, got.body, seen)
		}
	}
}

// nothingIsFetched reports whether every fetch has ended, with what it stored
// in the store.
func nothingIsFetched() bool {
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	// A fill that has only just been started shows by who started it.
	return !bytes.Contains(stacks, []byte("edgecache.(*fill)")) && !bytes.Contains(stacks, []byte("edgecache.(*Handler)"))
}

// judge compares what happened in a step with what had to.
func (s *scripted) judge(b *behaviour, i int, method string, want outcome, got reply, seen []http.Header) string {
	step := b.steps[i]
	asks, from := 1, i
	switch want {
	case cache:
		asks, from = 0, max(step.of, 1)-1
	case validated, stood, refreshing:
		from = max(step.of, 1) - 1
	case mismatched:
		asks = 2
	case failure:
		asks = len(seen)
	}
	if len(seen) != asks && !(want == stood && len(seen) > 0) { // a broken connection may be tried twice
		return fmt.Sprintf("want an answer of %v, the origin server was asked %d times", want, len(seen))
	}
	conditional := len(seen) > 0 && (seen[0].Get("If-None-Match") != "" || seen[0].Get("If-Modified-Since") != "")
	if (want == validated || want == mismatched) && !conditional {
		return "the request to the origin server was not conditional"
	}
	code := step.code
	if code == 0 {
		code = max(b.steps[from].status, http.StatusOK)
	}
	if got.status != code {
		return fmt.Sprintf("status %d, want %d", got.status, code)
	}
	if content := b.steps[from].content(b, from); want != failure && method != http.MethodHead && bodyAllowed(code) && code != http.StatusPartialContent && got.body != content {
		return fmt.Sprintf("content %q, want %q", got.body, content)
	}
	if problem := compareFields("the client", step.get, got.header); problem != "" {
		return problem
	}
	if len(seen) > 0 {
		return compareFields("the origin server", step.asked, seen[0])
	}
	return ""
}

// compareFields compares fields; "~40" is a number of seconds that may have
// grown since the test began.
func compareFields(who string, want []string, got http.Header) string {
	for i := 0; i < len(want); i += 2 {
		joined := strings.Join(got.Values(want[i]), ", ")
		if least, about := strings.CutPrefix(want[i+1], "~"); about {
			n, err := strconv.Atoi(joined)
			if from, _ := strconv.Atoi(least); err == nil && from <= n && n <= from+50 {
				continue
			}
		}
		if joined != want[i+1] {
			return fmt.Sprintf("%s got %s: %q, want %q", who, want[i], joined, want[i+1])
		}
	}
	return ""
}

// reuse is a behaviour of two requests, the second answered from the cache.
func reuse(id, section string, l level, say ...string) behaviour {
	return behaviour{id, section, l, []step{{say: say}, {want: cache, say: say}}}
}

// noReuse is a behaviour of two requests, both forwarded.
func noReuse(id, section string, l level, say ...string) behaviour {
	return behaviour{id, section, l, []step{{say: say}, {say: say}}}
}

// at is the HTTP-date so many seconds from now.
func at(seconds int) string {
	return time.Now().Add(time.Duration(seconds) * time.Second).UTC().Format(http.TimeFormat)
}
