package edgecache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/tandem-cdn/tandem/internal/cachemodel"
	"github.com/tandem-cdn/tandem/internal/collapse"
	"github.com/tandem-cdn/tandem/internal/store"
)

// observed is a client's end of one exchange with the cache.
type observed struct {
	cachemodel.Answer
	model  *cachemodel.Model
	header http.Header
	body   strings.Builder
}

func (o *observed) Header() http.Header { return o.header }

func (o *observed) WriteHeader(status int) {
	if o.Status == 0 && status >= 200 {
		o.Status, o.Answer.Header, o.Answered = status, o.header.Clone(), o.model.Now(time.Now())
	}
}

func (o *observed) Write(p []byte) (int, error) {
	o.WriteHeader(http.StatusOK)
	return o.body.Write(p)
}

// against runs the steps with the handler and judges what came, in simulated
// time. It returns the trace of the first answer that cannot be, and how many
// hits there were.
func against(t *testing.T, warm *Handler, steps []cachemodel.Step) (trace string, hits int) {
	synctest.Test(t, func(t *testing.T) {
		h := *warm
		h.placeholders = new(placeholders)
		h.state = &state{
			loopID:  newLoopID(),
			store:   store.New(1 << 20),
			flights: collapse.NewGroup[*response](collapse.Limits{}, 1<<20),
		}
		h.state.maxObject.Store(1 << 18)
		model := &cachemodel.Model{StaleIfError: 24 * time.Hour, Slow: warm.patience.wait}
		origin := &cachemodel.Origin{Model: model, Steps: steps}
		next := caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
			x, say := origin.Begin(r, time.Now())
			time.Sleep(say.Latency)
			if say.Fail {
				origin.Fail(x, time.Now())
				return caddyhttp.Error(http.StatusBadGateway, errors.New("no connection"))
			}
			status, header, content := origin.Respond(x, time.Now())
			for name, values := range header {
				w.Header()[name] = values
			}
			w.WriteHeader(status)
			origin.Told(x, time.Now())
			if _, err := w.Write([]byte(content)); err != nil {
				return err
			}
			if say.Break {
				panic(http.ErrAbortHandler)
			}
			return nil
		})
		var wg sync.WaitGroup
		for i, s := range steps {
			time.Sleep(s.Wait)
			ask := func() { observe(&h, model, next, i, s) }
			if s.Overlap {
				wg.Go(ask)
				synctest.Wait()
			} else {
				ask()
			}
		}
		wg.Wait()
		time.Sleep(time.Hour) // whatever still runs ends
		synctest.Wait()
		if a, err := model.Check(); err != nil {
			trace = traceOf(steps, a, err)
		}
		for _, a := range model.Answers() {
			if strings.Contains(a.Header.Get("Cache-Status"), "; hit") {
				hits++
			}
		}
		if n := h.state.flights.Len() + h.state.flights.Waiters(); n != 0 || h.state.flights.Buffered() != 0 {
			trace += fmt.Sprintf("%d flights or waiters and %d bytes are left", n, h.state.flights.Buffered())
		}
	})
	return trace, hits
}

// observe makes the request of one step.
func observe(h *Handler, model *cachemodel.Model, next caddyhttp.Handler, i int, s cachemodel.Step) {
	fields := cachemodel.Header(s.Fields)
	r := httptest.NewRequest(s.Method, s.Path, nil)
	r.Header = fields.Clone()
	r.Header.Set(cachemodel.StepField, fmt.Sprint(i))
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	r = caddyhttp.PrepareRequest(r.WithContext(ctx), caddy.NewReplacer(), nil, nil)
	o := &observed{model: model, header: make(http.Header)}
	o.Step, o.Method, o.Path, o.Request, o.Asked = i, s.Method, s.Path, fields, model.Now(time.Now())
	func() {
		defer func() {
			if p := recover(); p != nil {
				if p != http.ErrAbortHandler {
					panic(p)
				}
				o.Broken = true
			}
		}()
		if err := h.ServeHTTP(o, r, next); err != nil && o.Status == 0 {
			status := http.StatusInternalServerError
			var refusal caddyhttp.HandlerError
			if errors.As(err, &refusal) {
				status = refusal.StatusCode
			}
			o.WriteHeader(status)
		}
	}()
	o.WriteHeader(http.StatusOK)
	if n, err := strconv.Atoi(o.Answer.Header.Get("Content-Length")); err == nil && o.body.Len() < n && o.Method != http.MethodHead && o.Status != http.StatusNotModified {
		o.Broken = true // the server would close the connection
	}
	o.Body, o.Ended = o.body.String(), model.Now(time.Now())
	model.Answered(&o.Answer)
}

func traceOf(steps []cachemodel.Step, a *cachemodel.Answer, err error) string {
	var b strings.Builder
	for i, s := range steps {
		fmt.Fprintf(&b, "%3d %v\n", i, s)
	}
	fmt.Fprintf(&b, "the answer to step %d: %v\n%d %v %q broken %v", a.Step, err, a.Status, a.Header, a.Body, a.Broken)
	return b.String()
}

// shrunk is the trace of the least part of steps that fails.
func shrunk(t *testing.T, h *Handler, steps []cachemodel.Step) string {
	steps = cachemodel.Shrink(steps, func(s []cachemodel.Step) bool {
		trace, _ := against(t, h, s)
		return trace != ""
	})
	trace, _ := against(t, h, steps)
	return trace
}

// FuzzCacheAgainstModel: whatever clients ask and origin servers say, each
// answer is one that a correct cache could give.
func FuzzCacheAgainstModel(f *testing.F) {
	h, _, _ := warmHandler(f)
	for seed := range uint64(4) {
		f.Add(randomBytes(seed, 400))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		steps := cachemodel.Steps(data)
		if trace, _ := against(t, h, steps); trace != "" {
			t.Errorf("%s", shrunk(t, h, steps))
		}
	})
}

func randomBytes(seed uint64, n int) []byte {
	random := rand.New(rand.NewPCG(seed, 5))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(random.Uint32())
	}
	return b
}

// The same for some hundred sequences, and enough of it is hits. In a quarter
// of them every request fetches for itself.
func TestCacheAgainstModel(t *testing.T) {
	shares, _, _ := warmHandler(t)
	alone := *shares
	alone.patience.alone = true
	all, asked, found := 0, 0, 0
	for seed := range uint64(500) {
		steps, h := cachemodel.Steps(randomBytes(seed, 600)), shares
		if seed%4 == 3 {
			h = &alone
		}
		trace, hits := against(t, h, steps)
		if trace != "" {
			t.Errorf("seed %d: %s", seed, shrunk(t, h, steps))
			if found++; found > 3 {
				return
			}
		}
		all, asked = all+hits, asked+len(steps)
	}
	t.Logf("%d of %d requests were hits", all, asked)
	if all < asked/20 {
		t.Errorf("%d of %d requests were hits", all, asked)
	}
}

// The same through all of Caddy: a site, reverse_proxy, an origin server, and
// eight clients at a time. A second of the steps is a millisecond here, so
// little becomes stale, but much happens at once.
func TestCaddyAgainstModel(t *testing.T) {
	var steps []cachemodel.Step
	for seed := uint64(0); len(steps) < 3000; seed++ {
		steps = append(steps, cachemodel.Steps(randomBytes(seed, 600))...)
	}
	model := &cachemodel.Model{StaleIfError: 24 * time.Hour, Slow: 10 * time.Second, Slack: 500 * time.Millisecond}
	origin := &cachemodel.Origin{Model: model, Steps: steps}
	// Without compression the origin server sees what the cache forwards:
	// otherwise reverse_proxy asks for gzip where the client does not.
	const plain = "\nhttp://%s {\n\tedgecache\n\treverse_proxy %s {\n\t\ttransport http {\n\t\t\tcompression off\n\t\t}\n\t}\n}"
	e := newEdge(t, plain, func(w http.ResponseWriter, r *http.Request) {
		x, say := origin.Begin(r, time.Now())
		time.Sleep(say.Latency / 1000)
		if say.Fail {
			origin.Fail(x, time.Now())
			panic(http.ErrAbortHandler)
		}
		status, header, content := origin.Respond(x, time.Now())
		for name, values := range header {
			w.Header()[name] = values
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, content)
		_ = http.NewResponseController(w).Flush()
		origin.Told(x, time.Now())
		if say.Break {
			panic(http.ErrAbortHandler)
		}
	})
	e.origin.Config.ErrorLog = log.New(io.Discard, "", 0) // of the half responses
	var next atomic.Int64
	var clients sync.WaitGroup
	for range 8 {
		clients.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(steps); i = int(next.Add(1)) - 1 {
				s := steps[i]
				time.Sleep(min(s.Wait/1000, 5*time.Millisecond))
				r := e.request(s.Method, s.Path)
				fields := cachemodel.Header(s.Fields)
				r.Header = fields.Clone()
				r.Header.Set(cachemodel.StepField, fmt.Sprint(i))
				a := &cachemodel.Answer{Step: i, Method: s.Method, Path: s.Path, Request: fields, Asked: model.Now(time.Now())}
				res, err := e.client.Do(r)
				if err != nil {
					continue // it broke off before the header was through
				}
				a.Answered, a.Status, a.Header = model.Now(time.Now()), res.StatusCode, res.Header
				body, err := io.ReadAll(res.Body)
				res.Body.Close()
				a.Body, a.Broken, a.Ended = string(body), err != nil, model.Now(time.Now())
				model.Answered(a)
			}
		})
	}
	clients.Wait()
	s := theState(t)
	eventually(t, "over", func() bool { return s.flights.Len() == 0 })
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	e.origin.Close()
	if a, err := model.Check(); err != nil {
		var around []string
		for i := max(a.Step-20, 0); i <= min(a.Step+8, len(steps)-1); i++ {
			around = append(around, fmt.Sprintf("%4d %v", i, steps[i]))
		}
		t.Errorf("%s\nthe answer to step %d: %v\n%d %v %q", strings.Join(around, "\n"), a.Step, err, a.Status, a.Header, a.Body)
	}
	hits, collapsed := 0, 0
	for _, a := range model.Answers() {
		status := a.Header.Get("Cache-Status")
		if strings.Contains(status, "; hit") {
			hits++
		}
		if strings.Contains(status, "; collapsed") {
			collapsed++
		}
	}
	t.Logf("%d requests, %d answers, %d exchanges, %d hits, %d collapsed", len(steps), len(model.Answers()), model.Exchanges(), hits, collapsed)
	if len(model.Answers()) < len(steps)*9/10 || hits < len(steps)/20 || collapsed == 0 {
		t.Error("too little of each to be of any worth")
	}
}
