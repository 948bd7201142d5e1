package probe

import (
	"math"
	"testing"
	"time"

	"github.com/tandem-cdn/tandem/healthfeed"
)

func averageOf(rounds string, rtt time.Duration) (*average, time.Time) {
	a, now := &average{history: History}, t0
	for _, r := range rounds {
		now = now.Add(2 * time.Second)
		a.note(r == '+', rtt, now)
	}
	return a, now
}

func near(a, b float64) bool { return math.Abs(a-b) < 0.01 }

func TestAvailability(t *testing.T) {
	for rounds, want := range map[string]float64{
		"+": 1, "x": 0, "++++": 1, "+x": 0.85, "+xx": 0.7225,
		// What failed before anything passed may not have been there.
		"xx+": 1, "xxxx+": 1, "xx+x": 0.85, "x++++++++++": 1,
	} {
		if a, _ := averageOf(rounds, time.Millisecond); !near(a.availability, want) {
			t.Errorf("%s: got %v, want %v", rounds, a.availability, want)
		}
	}
}

func TestQuantiles(t *testing.T) {
	var a average
	if got := a.rtt(); got != (healthfeed.RTT{}) {
		t.Errorf("nothing measured: %v", got)
	}
	a.history = 0.5       // half of the time before, and half of one round ago
	for i := range 1000 { // 937 to 1000 ms are the last 64
		a.note(true, time.Duration(i+1)*time.Millisecond, t0)
	}
	if got, want := a.rtt(), (healthfeed.RTT{P50: 969_000, P95: 997_000, EWMA: 998_000}); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
	a = average{history: History}
	for range enough {
		if got := a.rtt(); got != (healthfeed.RTT{}) {
			t.Errorf("too few rounds: %v", got)
		}
		a.note(true, 0, t0)
	}
	if got := a.rtt(); got != (healthfeed.RTT{P50: 1, P95: 1, EWMA: 1}) {
		t.Errorf("a very short trip is unknown: %v", got)
	}
	a.note(false, time.Hour, t0)
	if got := a.rtt(); got.P95 != 1 {
		t.Errorf("a failed round counts: %v", got)
	}
}

func TestSmoothed(t *testing.T) {
	for _, test := range []struct {
		name    string
		history float64
		rounds  []int64 // ms
		want    float64 // ms
	}{
		{"two-are-too-few", 0.85, []int64{20, 20}, 0},
		{"first-is-a-spike", 0.85, []int64{900, 20, 30}, 30},
		{"second-is-a-spike", 0.85, []int64{20, 900, 20}, 20},
		{"third-is-a-spike", 0.85, []int64{20, 20, 900}, 20},
		{"spike", 0.85, []int64{20, 20, 20, 900}, 20},
		{"spike-is-over", 0.85, []int64{20, 20, 20, 900, 20, 20, 20}, 20},
		{"every-third-is-a-spike", 0.85, []int64{20, 900, 20, 20, 900, 20, 20, 900, 20}, 20},
		{"two-in-a-row", 0.85, []int64{20, 20, 120, 120}, 0.85*20 + 0.15*120},
		{"three-in-a-row", 0.85, []int64{20, 20, 120, 120, 120}, 0.85*(0.85*20+0.15*120) + 0.15*120},
		{"lost-rounds-do-not-count", 0.85, []int64{20, 20, -1, 120, -1, 120}, 0.85*20 + 0.15*120},
		{"no-history", 0, []int64{20, 20, 20, 120, 110}, 110},
		{"long-history", 0.999, []int64{20, 20, 20, 120, 120}, 20.1},
	} {
		a := average{history: test.history}
		for _, ms := range test.rounds {
			a.note(ms >= 0, time.Duration(ms)*time.Millisecond, t0)
		}
		if got := float64(a.rtt().EWMA) / 1000; !near(got, test.want) {
			t.Errorf("%s: got %v, want %v", test.name, got, test.want)
		}
	}
}

// One slow round of the first ones costs nothing at any time, wherever it stands; several do.
func TestSlowStart(t *testing.T) {
	for slow := range 5 {
		a := average{history: History}
		for i := range 60 {
			rtt := time.Millisecond
			if i == slow {
				rtt = 500 * time.Millisecond
			}
			now := t0.Add(time.Duration(i) * 2 * time.Second)
			a.note(true, rtt, now)
			if got := health(&a, healthfeed.Load{}, now); got != 100 {
				t.Fatalf("slow in round %d: health %v after %d", slow, got, i)
			}
			if us := a.rtt().EWMA; us > 1000 {
				t.Fatalf("slow in round %d: %d µs after %d", slow, us, i)
			}
		}
	}
	a := average{history: History}
	for i := range 12 {
		a.note(true, time.Duration(1+500*(i%3/2))*time.Millisecond, t0)
	}
	if got := health(&a, healthfeed.Load{}, t0); got > 60 {
		t.Errorf("every third round is slow: health %v", got)
	}
}

func TestBase(t *testing.T) {
	var a average
	if got := a.base(t0); got != 0 {
		t.Errorf("nothing measured: %v", got)
	}
	now := t0
	for minute := range 15 {
		rtt := 50 * time.Millisecond
		if minute == 2 {
			rtt = 10 * time.Millisecond
		}
		for range 64 { // the ring is one minute
			a.note(true, rtt, now)
		}
		want := 50 * time.Millisecond
		// The ring carries the good minute into the next one.
		if minute >= 2 && minute <= 12 {
			want = 10 * time.Millisecond
		}
		if got := a.base(now); got != want {
			t.Errorf("minute %d: got %v, want %v", minute, got, want)
		}
		now = now.Add(time.Minute)
	}
}

func TestHealth(t *testing.T) {
	for _, test := range []struct {
		name   string
		rounds string
		load   healthfeed.Load
		want   float64
	}{
		{"good", "++++", healthfeed.Load{}, 100},
		{"far-is-no-illness", "++++", healthfeed.Load{RPS: 1000}, 100},
		{"one-lost", "++++x", healthfeed.Load{}, 70},
		{"two-lost", "++++xx", healthfeed.Load{}, 44.5},
		{"half", "++++xxxxxx", healthfeed.Load{}, 0},
		{"errors", "++++", healthfeed.Load{RPS: 100, EPS: 2.5}, 100 * math.Pow(0.5, 0.3)},
		{"many-errors", "++++", healthfeed.Load{RPS: 100, EPS: 10}, 0},
		{"errors-without-requests", "++++", healthfeed.Load{EPS: 10}, 100},
	} {
		a, now := averageOf(test.rounds, 300*time.Millisecond)
		if got := health(a, test.load, now); !near(got, test.want) {
			t.Errorf("%s: got %v, want %v", test.name, got, test.want)
		}
	}
	// The best of more than ten minutes ago is all that a slow check has.
	a, now := averageOf("++++", 300*time.Millisecond)
	now = now.Add(20 * time.Minute)
	a.note(false, 0, now)
	if got := health(a, healthfeed.Load{}, now); !near(got, 70) {
		t.Errorf("one lost in twenty minutes: got %v, want 70", got)
	}
	a, now = averageOf("++++++++", 10*time.Millisecond)
	for range ringSize {
		a.note(true, 110*time.Millisecond, now)
	}
	if got, want := health(a, healthfeed.Load{}, now), 100*math.Pow(0.5, 0.3); !near(got, want) {
		t.Errorf("100 ms slower than its best: got %v, want %v", got, want)
	}
}

func TestScore(t *testing.T) {
	c := healthfeed.Capacity{Mbps: 1000, Conns: 100}
	for _, test := range []struct {
		load healthfeed.Load
		want float64
	}{
		{healthfeed.Load{}, 80},
		{healthfeed.Load{CPU: 0.7}, 80},
		{healthfeed.Load{CPU: 0.85}, 80 * math.Sqrt(0.5)},
		{healthfeed.Load{CPU: 1}, 0},
		{healthfeed.Load{CPU: 0.1, Mbps: 2000}, 0},
		{healthfeed.Load{Conns: 85}, 80 * math.Sqrt(0.5)},
		{healthfeed.Load{CPU: 0.1, GPU: 0.85}, 80 * math.Sqrt(0.5)},
		{healthfeed.Load{CPU: 0.85, GPU: 0.1}, 80 * math.Sqrt(0.5)},
		{healthfeed.Load{Temp: 80}, 80},
		{healthfeed.Load{Temp: 85}, 80 * math.Pow(0.5, 0.2)},
		{healthfeed.Load{Temp: 90}, 0},
		{healthfeed.Load{GPU: 0.85, Temp: 85}, 80 * math.Sqrt(0.5) * math.Pow(0.5, 0.2)},
	} {
		if got := score(80, test.load, c); !near(got, test.want) {
			t.Errorf("%+v: got %v, want %v", test.load, got, test.want)
		}
	}
}
