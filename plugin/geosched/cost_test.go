package geosched

import (
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
)

// A steered answer allocates one piece of memory, beside what the server needs to
// fit it to the client, and choosing none.
func TestAnswerAllocs(t *testing.T) {
	g := serving(t, three+"steer www")
	m := question("www.cdn.example.", dns.TypeA, "8.8.8.0/24")
	_, w := repeat(t, g)
	ask := func() {
		if _, err := g.ServeDNS(t.Context(), w, m); err != nil {
			t.Fatal(err)
		}
	}
	if n := testing.AllocsPerRun(1000, ask); n != 1 {
		t.Errorf("%v allocations", n)
	}
	q := &query{g: g, ctx: t.Context(), w: w, r: m}
	q.subnet, _ = subnetOf(m)
	s := g.names.find("www.cdn.example.").steered
	if n := testing.AllocsPerRun(1000, func() { g.decide(s, 0, q.client(), "www.cdn.example.") }); n != 0 {
		t.Errorf("a decision allocates %v times", n)
	}
}

// A query like one before it takes no lock: it is answered while others hold those
// of the pool, and of the vectors that its counters are in.
func TestAnswerTakesNoLock(t *testing.T) {
	g := serving(t, three+"steer www")
	ask, w := repeat(t, g)
	ask()

	for _, v := range []*prometheus.CounterVec{requests, decisions, ecs} {
		defer lockVec(t, v)()
	}
	shared.mu.Lock()
	defer shared.mu.Unlock()
	shared.lookMu.Lock()
	defer shared.lookMu.Unlock()

	w.last = nil
	done := make(chan struct{})
	go func() {
		defer close(done)
		ask()
	}()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatal("a query waits for a lock")
	}
	if w.last == nil {
		t.Error("no answer")
	}
}

// lockVec locks v until release is called: somebody reads it and does not come to
// an end, somebody else waits to write, and so nobody else is let in.
func lockVec(t *testing.T, v *prometheus.CounterVec) (release func()) {
	t.Helper()
	reading, writing := blocked("chan send", "Collect"), blocked("RWMutex.Lock", "DeletePartialMatch")
	metrics, done := make(chan prometheus.Metric), make(chan struct{})
	go func() {
		v.Collect(metrics)
		close(metrics)
	}()
	for blocked("chan send", "Collect") == reading {
		runtime.Gosched()
	}
	go func() {
		v.DeletePartialMatch(prometheus.Labels{"nobody has": "this label"})
		close(done)
	}()
	for blocked("RWMutex.Lock", "DeletePartialMatch") == writing {
		runtime.Gosched()
	}
	return func() {
		for range metrics {
		}
		<-done
	}
}

// blocked counts the goroutines in a state, or a function, that a function called.
func blocked(at, caller string) (n int) {
	stacks := make([]byte, 1<<20)
	for s := range strings.SplitSeq(string(stacks[:runtime.Stack(stacks, true)]), "\n\n") {
		if strings.Contains(s, at) && strings.Contains(s, caller) {
			n++
		}
	}
	return n
}
