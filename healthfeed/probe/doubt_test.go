package probe

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-cdn/tandem/healthfeed"
)

const window = 5 * time.Second

// samplesOf makes one sample for each letter: '.' passes, 'n' began to fail just
// now, 'o' long ago.
func samplesOf(letters string, now time.Time) []sample {
	var samples []sample
	for i, l := range letters {
		s := sample{endpoint: fmt.Sprint(i), window: window}
		switch l {
		case 'n':
			s.failing = now.Add(-time.Second)
		case 'o':
			s.failing = now.Add(-time.Hour)
		}
		samples = append(samples, s)
	}
	return samples
}

// doubted has a 'd' for each sample that is doubted, and a '-' for others.
func doubted(samples []sample) string {
	var b []byte
	for _, s := range samples {
		b = append(b, map[bool]byte{true: 'd', false: '-'}[s.doubted])
	}
	return string(b)
}

func TestDoubtArises(t *testing.T) {
	for samples, want := range map[string]string{
		"":            "",
		"....":        "----",
		"nnnn":        "----", // too few to tell
		"nnnnn":       "ddddd",
		"nn...":       "-----", // 40 % are not more than 40 %
		"nnn..":       "ddd--",
		"nnnnn.....":  "ddddd-----",
		"nnnno.....":  "----------", // 10 % failed before
		"nnnnnnno..":  "----------",
		"nnnnnnnnnno": "dddddddddd-", // less than 10 % did
		"ooooo":       "-----",
	} {
		var d doubt
		s := samplesOf(samples, t0)
		d.judge(s, t0)
		if got := doubted(s); got != want {
			t.Errorf("%s: got %s, want %s", samples, got, want)
		}
	}
}

// Several checks of one endpoint are one witness.
func TestDoubtCountsEndpoints(t *testing.T) {
	var d doubt
	s := samplesOf("nnnnnnnn", t0)
	for i := range s {
		s[i].endpoint = fmt.Sprint(i % 4)
	}
	d.judge(s, t0)
	if got := doubted(s); got != "--------" {
		t.Errorf("four endpoints: %s", got)
	}
}

func TestDoubtLasts(t *testing.T) {
	for _, test := range []struct {
		name    string
		passing int // of ten
		after   time.Duration
		want    string
	}{
		{"begins", 5, 0, "dddddddddd"},
		{"partial", 5, doubtFor - 1, "ddddd-----"},
		{"partial-over", 5, doubtFor, "----------"},
		{"total", 0, time.Hour, "dddddddddd"},
		{"one-of-ten-passes", 1, time.Hour, "----------"},
	} {
		var d doubt
		s := samplesOf("nnnnnnnnnn", t0)
		d.judge(s, t0)
		for i := range test.passing {
			if test.after > 0 {
				s[9-i].failing = time.Time{}
			}
		}
		d.judge(s, t0.Add(test.after))
		if got := doubted(s); got != test.want {
			t.Errorf("%s: got %s, want %s", test.name, got, test.want)
		}
	}
}

// What begins to fail while the prober is in doubt is doubted too; what has
// passed in between is not doubted for its past.
func TestDoubtGrows(t *testing.T) {
	var d doubt
	s := samplesOf("nnn.......", t0)
	d.judge(s, t0)
	if got := doubted(s); got != "----------" {
		t.Fatalf("too early: %s", got)
	}
	s[3].failing, s[4].failing = t0, t0
	d.judge(s, t0)
	if got := doubted(s); got != "ddddd-----" {
		t.Fatalf("got %s", got)
	}
	later := t0.Add(30 * time.Second)
	s[0].failing, s[5].failing = time.Time{}, later
	d.judge(s, later)
	if got := doubted(s); got != "-ddddd----" {
		t.Errorf("got %s", got)
	}
	for i := range s {
		s[i].failing = time.Time{}
	}
	d.judge(s, later)
	if got := doubted(s); got != "----------" || !d.since.IsZero() {
		t.Errorf("all pass: %s, since %v", got, d.since)
	}
}

// The prober's own network fails for half a minute: nobody goes down, and
// afterwards nothing is held against anybody.
func TestSelfDoubt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		f, inventories := start(t, w)
		checks := map[string]healthfeed.Check{}
		var addrs []string
		for i := range 10 {
			addr := fmt.Sprint("n:", i+1)
			addrs = append(addrs, addr)
			checks[fmt.Sprint("n", i)] = pulse(addr)
		}
		inventories <- nodes(t, checks)
		time.Sleep(time.Minute)
		w.set(true, addrs...)
		for range 300 {
			time.Sleep(100 * time.Millisecond)
			for i := range 10 {
				if s := f.Table().Nodes[i].State; !s.TakesClients() {
					t.Fatalf("node %d is %v", i, s)
				}
			}
		}
		if s := record(t, f).Nodes["n0"].State; s != healthfeed.Abstain {
			t.Errorf("the vote is %v", s)
		}
		w.set(false, addrs...)
		time.Sleep(5 * time.Second)
		for i := range 10 {
			if s := f.Table().Nodes[i]; s.State != healthfeed.Up || s.Health < 0.99 {
				t.Errorf("node %d afterwards: %+v", i, s)
			}
		}

		// One node alone goes down as ever.
		w.set(true, addrs[3])
		time.Sleep(10 * time.Second)
		if s := stateOf(f, "n3"); s != healthfeed.Down {
			t.Errorf("the broken node is %v", s)
		}
	})
}

// A true loss of half the nodes is believed after a minute.
func TestSelfDoubtEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		f, inventories := start(t, w)
		checks := map[string]healthfeed.Check{}
		for i := range 10 {
			checks[fmt.Sprint("n", i)] = pulse(fmt.Sprint("n:", i+1))
		}
		inventories <- nodes(t, checks)
		time.Sleep(time.Minute)
		w.set(true, "n:1", "n:2", "n:3", "n:4", "n:5")
		time.Sleep(30 * time.Second)
		if s := stateOf(f, "n0"); !s.TakesClients() {
			t.Errorf("in doubt: %v", s)
		}
		time.Sleep(45 * time.Second)
		if s := stateOf(f, "n0"); s != healthfeed.Down {
			t.Errorf("after the doubt: %v", s)
		}
		if s := stateOf(f, "n9"); s != healthfeed.Up {
			t.Errorf("a good node is %v", s)
		}
	})
}
