package edgehealth

import (
	"testing"
	"time"

	"github.com/tandem-cdn/tandem/healthfeed"
	"github.com/tandem-cdn/tandem/healthfeed/probe"
	"github.com/tandem-cdn/tandem/internal/machine"
)

func TestLoadOf(t *testing.T) {
	before := counts{requests: 100, served: 90, failed: 5, bytes: 1000, asked: 10, hits: 5}
	after := counts{inFlight: 3, connections: 7, requests: 300, served: 270, failed: 9, bytes: 1000 + 5e6, asked: 30, hits: 20}
	got := loadOf(before, after, machine.Use{CPU: 0.12345, Mem: 0.5}, 2*time.Second)
	want := healthfeed.Load{CPU: 0.123, Mem: 0.5, RPS: 100, OKRPS: 90, EPS: 2, Mbps: 20, Conns: 7, InFlight: 3, Hit: 0.75}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	// A connection of before the first handler may end after it.
	if got := loadOf(after, counts{connections: -1, requests: 300, served: 270, failed: 9, bytes: 1000 + 5e6, asked: 30, hits: 20}, machine.Use{}, time.Second); got != (healthfeed.Load{Idle: true}) {
		t.Errorf("idle: %+v", got)
	}
	if got := loadOf(counts{}, counts{requests: 5}, machine.Use{}, 0); got != (healthfeed.Load{}) {
		t.Errorf("no time has passed: %+v", got)
	}
}

// What a node says of itself is what a prober understands.
func FuzzReport(f *testing.F) {
	f.Add(0.5, 0.25, uint32(1200), uint32(3), int32(7), false, byte(0))
	f.Add(0.0, 0.0, uint32(0), uint32(0), int32(-1), true, byte(3))
	f.Fuzz(func(t *testing.T, cpu, mem float64, requests, asked uint32, conns int32, drain bool, breaker byte) {
		if !(cpu >= 0 && cpu <= 1 && mem >= 0 && mem <= 1) {
			return // not what a Sampler says
		}
		l := loadOf(counts{}, counts{requests: uint64(requests), served: uint64(requests / 2), bytes: uint64(requests) * 1000,
			asked: uint64(asked), hits: uint64(asked / 3), connections: int64(conns)}, machine.Use{CPU: cpu, Mem: mem}, 2*time.Second)
		states := [...]string{"", healthfeed.BreakerClosed, healthfeed.BreakerHalf, healthfeed.BreakerOpen}
		want := probe.Report{Load: l, Drain: drain, Breaker: states[int(breaker)%len(states)]}
		got, err := probe.ParseReport(newReport(time.Time{}, want).header)
		if err != nil || got != want {
			t.Fatalf("got %+v, %v, want %+v", got, err, want)
		}
	})
}

func TestReportIsMeasuredOnceASecond(t *testing.T) {
	now := time.Now()
	n := newNode(now)
	n.requests.Add(10)
	if r := n.report(now.Add(reportAge - 1)); r.Load.RPS != 0 {
		t.Errorf("too early: %+v", r.Load)
	}
	first := n.report(now.Add(2 * time.Second))
	if first.Load.RPS != 5 {
		t.Errorf("10 requests in 2 s: %+v", first.Load)
	}
	n.requests.Add(100)
	if again := n.report(now.Add(2*time.Second + reportAge/2)); again != first {
		t.Error("measured again within a second")
	}
	if next := n.report(now.Add(4 * time.Second)); next.Load.RPS != 50 {
		t.Errorf("100 requests in 2 s: %+v", next.Load)
	}
	at := now.Add(4 * time.Second)
	if a := testing.AllocsPerRun(100, func() { n.report(at) }); a != 0 {
		t.Errorf("%v allocations for a report that is there", a)
	}
}

// A drain is announced at once, and so is its end.
func TestReportOfADrainDoesNotWait(t *testing.T) {
	now := time.Now()
	n := newNode(now)
	measured := n.report(now.Add(2 * time.Second))
	at := measured.at.Add(reportAge / 2)
	n.drain.start(at)
	r := n.report(at)
	if !r.Drain || r.Load != measured.Load || r.at != measured.at {
		t.Errorf("got %+v after %+v", r, measured)
	}
	n.drain.stop()
	if r := n.report(at); r.Drain || r.header != measured.header {
		t.Errorf("taken back: %s", r.header)
	}
}

// While one measures, the others take what is there.
func TestReportDoesNotWait(t *testing.T) {
	now := time.Now()
	n := newNode(now)
	last := n.last.Load()
	n.sampling.Lock()
	defer n.sampling.Unlock()
	if r := n.report(now.Add(time.Minute)); r != last {
		t.Errorf("got %+v", r)
	}
}
