package probe

import (
	"fmt"
	"slices"
	"strings"
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
		s := sample{node: fmt.Sprint(i), endpoint: fmt.Sprint(i), window: window}
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
		d.judge(s, witnesses{}, t0)
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
	d.judge(s, witnesses{}, t0)
	if got := doubted(s); got != "--------" {
		t.Errorf("four endpoints: %s", got)
	}
}

// A node with many checks that dies alone is that node's matter; the same checks on more
// nodes than one are not.
func TestDoubtIsNotAboutOneNode(t *testing.T) {
	for _, test := range []struct{ letters, want string }{{"nnn...", "------"}, {"nnnn..", "dddd--"}} {
		var d doubt
		s := samplesOf(test.letters, t0)
		for i := range s {
			s[i].node = fmt.Sprint(i / 3)
		}
		d.judge(s, witnesses{}, t0)
		if got := doubted(s); got != test.want {
			t.Errorf("%s, three checks each: got %s, want %s", test.letters, got, test.want)
		}
	}
}

func TestDoubtLasts(t *testing.T) {
	for _, test := range []struct {
		name    string
		total   time.Duration // for which all fail
		passing int           // of ten, then
		after   time.Duration
		want    string
	}{
		{"begins", 0, 5, 0, "ddddd-----"},
		{"partial", 0, 5, doubtFor - 1, "ddddd-----"},
		{"partial-over", 0, 5, doubtFor, "----------"},
		{"total", 0, 0, doubtLongest - 1, "dddddddddd"},
		{"total-over", 0, 0, doubtLongest, "----------"},
		{"one-of-ten-passes", 0, 1, doubtFor, "----------"},
		// The first that pass again do not leave the others to be blamed for what was
		// ours, before they have been asked again.
		{"first-of-ten-after-minutes", 4 * time.Minute, 1, time.Second, "ddddddddd-"},
		{"rest-of-ten-after-minutes", 4 * time.Minute, 1, doubtFor, "----------"},
	} {
		var d doubt
		s := samplesOf("nnnnnnnnnn", t0)
		now := t0
		d.judge(s, witnesses{}, now)
		now = now.Add(test.total)
		d.judge(s, witnesses{}, now)
		for i := range test.passing {
			s[9-i].failing = time.Time{}
		}
		now = now.Add(test.after)
		d.judge(s, witnesses{}, now)
		if got := doubted(s); got != test.want {
			t.Errorf("%s: got %s, want %s", test.name, got, test.want)
		}
	}
}

// What an operator has named as witnesses decides, both ways.
func TestDoubtByWitnesses(t *testing.T) {
	well, half, sick := witnesses{2, 0}, witnesses{2, 1}, witnesses{3, 2}
	for _, test := range []struct {
		name    string
		samples string
		heard   []witnesses // every two seconds
		want    string      // at the end
	}{
		{"all-fail-and-it-is-not-us", "nnnnnnnnnn", []witnesses{well}, "----------"},
		{"half-is-not-most", "nnnnnnnnnn", []witnesses{half}, "----------"},
		{"it-is-us", "nnnnnnnnnn", []witnesses{sick}, "dddddddddd"},
		{"two-are-enough", "n.", []witnesses{sick}, "d-"},
		{"old-failures-are-true", "no", []witnesses{sick}, "d-"},
		{"for-long", "nnnn......", append(make([]witnesses, 0), sick, sick, sick, sick, sick, sick, sick, sick, sick, sick, sick, sick), "dddd------"},
		{"until-all-were-asked-again", "nnnn......", []witnesses{sick, sick, well, well}, "dddd------"},
		{"over", "nnnn......", []witnesses{sick, sick, well, well, well}, "----------"},
		{"none-that-says-anything", "nnnnnnnnnn", []witnesses{{}}, "dddddddddd"},
	} {
		var d doubt
		s := samplesOf(test.samples, t0)
		for i, w := range test.heard {
			d.judge(s, w, t0.Add(time.Duration(i)*2*time.Second))
		}
		if got := doubted(s); got != test.want {
			t.Errorf("%s: got %s, want %s", test.name, got, test.want)
		}
	}
	var w witnesses
	for _, v := range []view{{}, {unable: true}, {state: healthfeed.Up}, {state: healthfeed.Up, failing: t0}, {failing: t0}} {
		w.hear(&v)
	}
	if want := (witnesses{4, 3}); w != want {
		t.Errorf("heard %+v, want %+v", w, want)
	}
}

// What begins to fail while the prober is in doubt is doubted too; what has
// passed in between is not doubted for its past.
func TestDoubtGrows(t *testing.T) {
	var d doubt
	s := samplesOf("nnn.......", t0)
	d.judge(s, witnesses{}, t0)
	if got := doubted(s); got != "----------" {
		t.Fatalf("too early: %s", got)
	}
	s[3].failing, s[4].failing = t0, t0
	d.judge(s, witnesses{}, t0)
	if got := doubted(s); got != "ddddd-----" {
		t.Fatalf("got %s", got)
	}
	later := t0.Add(15 * time.Second)
	s[0].failing, s[5].failing = time.Time{}, later
	d.judge(s, witnesses{}, later)
	if got := doubted(s); got != "-ddddd----" {
		t.Errorf("got %s", got)
	}
	for i := range s {
		s[i].failing = time.Time{}
	}
	d.judge(s, witnesses{}, later)
	if got := doubted(s); got != "----------" || !d.since.IsZero() {
		t.Errorf("all pass: %s, since %v", got, d.since)
	}
}

// The prober's own network fails, for long or not: nobody goes down, and
// afterwards nothing is held against anybody.
func TestSelfDoubt(t *testing.T) {
	for _, outage := range []time.Duration{10 * time.Second, 30 * time.Second, 3 * time.Minute} {
		t.Run(outage.String(), func(t *testing.T) { synctest.Test(t, func(t *testing.T) { testSelfDoubt(t, outage) }) })
	}
}

func testSelfDoubt(t *testing.T, outage time.Duration) {
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
	for range outage / (100 * time.Millisecond) {
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
	for range 50 {
		time.Sleep(100 * time.Millisecond)
		for i := range 10 {
			if s := f.Table().Nodes[i].State; !s.TakesClients() {
				t.Fatalf("node %d is %v as the network is back", i, s)
			}
		}
	}
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
}

// A true loss of half the nodes is believed after 20 s.
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
		time.Sleep(15 * time.Second)
		if s := stateOf(f, "n0"); !s.TakesClients() {
			t.Errorf("in doubt: %v", s)
		}
		time.Sleep(12 * time.Second)
		if s := stateOf(f, "n0"); s != healthfeed.Down {
			t.Errorf("after the doubt: %v", s)
		}
		if s := stateOf(f, "n9"); s != healthfeed.Up {
			t.Errorf("a good node is %v", s)
		}
	})
}

// Where nearly all nodes are lost, a prober without control targets cannot tell. A reader
// goes on with what was last known, and is told in the end, at the latest when he would
// know nothing any more: the one that is left is to have the clients.
func TestLossOfNearlyAllIsBelieved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		f, inventories := start(t, w)
		checks := map[string]healthfeed.Check{"left": pulse("left:1")}
		var lost []string
		for i := range 19 {
			lost = append(lost, fmt.Sprint("n:", i+1))
			checks[fmt.Sprint("n", i)] = pulse(lost[i])
		}
		inventories <- nodes(t, checks)
		time.Sleep(time.Minute)
		w.set(true, lost...)
		var seen []string
		for range 600 {
			time.Sleep(time.Second)
			if s, _ := f.Table().Lookup("n0"); len(seen) == 0 || seen[len(seen)-1] != s.State.String()+", "+s.Reason {
				seen = append(seen, s.State.String()+", "+s.Reason)
			}
		}
		if want := []string{"up, 1 of 1 probers", "up, last known", "down, 1 of 1 probers"}; !slices.Equal(seen, want) {
			t.Errorf("got %q, want %q", seen, want)
		}
		if s := stateOf(f, "left"); s != healthfeed.Up {
			t.Errorf("the one that is left: %v", s)
		}
	})
}

// With control targets a prober of few nodes doubts itself as well, and a loss of all
// nodes that the control targets do not share is believed at once.
func TestControlTargets(t *testing.T) {
	for _, shared := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld()
			p := New("test", History, quiet)
			p.station = newStation(w.open)
			if err := p.Control("192.0.2.53:53", "198.51.100.1:443"); err != nil {
				t.Fatal(err)
			}
			f, inventories := launchIn(t, p)
			checks := map[string]healthfeed.Check{}
			var addrs []string
			for i := range 10 {
				addr := fmt.Sprint("n:", i+1)
				addrs = append(addrs, addr)
				checks[fmt.Sprint("n", i)] = pulse(addr)
			}
			inventories <- nodes(t, checks)
			time.Sleep(time.Minute)
			if n := w.count("192.0.2.53:53"); n < 50 {
				t.Errorf("%d attempts at a control target in a minute", n)
			}
			if shared {
				addrs = append(addrs[:2:2], "192.0.2.53:53", "198.51.100.1:443")
			}
			w.set(true, addrs...)
			for range 100 {
				time.Sleep(100 * time.Millisecond)
				if s := stateOf(f, "n0"); shared && !s.TakesClients() {
					t.Fatalf("the node is %v", s)
				}
			}
			if s := record(t, f).Nodes["n0"].State; shared && s != healthfeed.Abstain || !shared && s != healthfeed.Down {
				t.Errorf("control targets fail as well: %v, and the vote is %v", shared, s)
			}
			if len(record(t, f).Nodes) != 10 {
				t.Error("a control target is no node")
			}
			w.set(false, addrs...)
			for range 100 {
				time.Sleep(100 * time.Millisecond)
				if s := stateOf(f, "n0"); shared && !s.TakesClients() {
					t.Fatalf("the node is %v as the network is back", s)
				}
			}
			if s := f.Table().Nodes[0]; shared && (s.State != healthfeed.Up || s.Health < 0.99) {
				t.Errorf("afterwards: %+v", s)
			}
		})
	}
}

func TestControlRefuses(t *testing.T) {
	for target, want := range map[string]string{
		"":                `control target ""`,
		"gateway":         `control target "gateway": addr "gateway" is not host:port`,
		"192.0.2.1:99999": `control target "192.0.2.1:99999": addr`,
	} {
		if err := New("test", History, quiet).Control("127.0.0.1:53", target); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: %v", target, err)
		}
	}
}
