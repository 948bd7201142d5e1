package healthfeed

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

func TestOfferRefusesWhole(t *testing.T) {
	inv := watched(t, "n")
	good := Aged{Record: says("p", 1, map[string]State{"n": Down})}
	many := &Snapshot{}
	for i := range maxProbers + 1 {
		many.Records = append(many.Records, Aged{Record: says(fmt.Sprint("p", i), 1, nil)})
	}
	edit := func(change func(r *Aged)) *Snapshot {
		bad := Aged{Record: says("q", 1, map[string]State{"n": Down})}
		change(&bad)
		return &Snapshot{Inventory: watched(t, "m"), Records: []Aged{good, bad}}
	}
	observe := func(o Observation) func(r *Aged) {
		return func(r *Aged) { r.Nodes = map[string]Observation{"n": o} }
	}
	nan := func() float64 { var z float64; return z / z }()
	for name, s := range map[string]*Snapshot{
		"prober":      edit(func(r *Aged) { r.Prober = "no spaces" }),
		"epoch-0":     edit(func(r *Aged) { r.Epoch = 0 }),
		"epoch-huge":  edit(func(r *Aged) { r.Epoch = 1 << 62 }),
		"ttl-0":       edit(func(r *Aged) { r.TTLMS = 0 }),
		"ttl-huge":    edit(func(r *Aged) { r.TTLMS = 1 << 62 }),
		"interval":    edit(func(r *Aged) { r.IntervalMS = 0 }),
		"age":         edit(func(r *Aged) { r.AgeMS = -1 }),
		"state":       edit(observe(Observation{State: 99})),
		"health":      edit(observe(Observation{Health: 101})),
		"health-nan":  edit(observe(Observation{Health: nan})),
		"score":       edit(observe(Observation{Score: -1})),
		"due":         edit(observe(Observation{DueMS: -1})),
		"ewma":        edit(observe(Observation{RTT: RTT{P50: 1, P95: 1, EWMA: -1}})),
		"rtt":         edit(observe(Observation{RTT: RTT{P50: 2, P95: 1}})),
		"load":        edit(observe(Observation{Load: Load{EPS: -1}})),
		"two-records": edit(func(r *Aged) { r.Prober = "p" }),
		"many":        many,
		"no-nodes":    {Inventory: &Inventory{}, Records: []Aged{good}},
	} {
		f, err := Open(Config{Log: quiet})
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Offer(&Snapshot{Inventory: inv}); err != nil {
			t.Fatal(err)
		}
		if err := f.Offer(s); err == nil {
			t.Errorf("%s: taken", name)
		}
		got := f.Snapshot()
		if f.Refused() != 1 || len(got.Records) != 0 || got.Inventory != inv {
			t.Errorf("%s: refused %d, %d records, inventory %+v", name, f.Refused(), len(got.Records), got.Inventory)
		}
	}
}

func TestOfferOrder(t *testing.T) {
	f, err := Open(Config{Inventory: watched(t, "n"), Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	r := func(epoch int64, seq uint64) Record {
		r := says("p", seq, nil)
		r.Epoch = epoch
		return r
	}
	for _, step := range []struct {
		offered Record
		epoch   int64
		seq     uint64
	}{{r(2, 5), 2, 5}, {r(2, 4), 2, 5}, {r(1, 9), 2, 5}, {r(2, 5), 2, 5}, {r(2, 6), 2, 6}, {r(3, 1), 3, 1}} {
		offer(t, f, step.offered)
		if got := f.Snapshot().Records[0]; got.Epoch != step.epoch || got.Seq != step.seq {
			t.Errorf("after (%d, %d): (%d, %d)", step.offered.Epoch, step.offered.Seq, got.Epoch, got.Seq)
		}
	}
	if e := f.Epoch("p"); e < time.Now().Add(-time.Minute).UnixMilli() {
		t.Errorf("epoch %d is in the past", e)
	}
	late := r(maxEpoch-1, 1)
	offer(t, f, late)
	if e := f.Epoch("p"); e != maxEpoch {
		t.Errorf("epoch %d is not after the one known", e)
	}
}

// What all records hold together is bounded, and an old one makes room for the next of its prober.
func TestOfferIsBounded(t *testing.T) {
	many := map[string]Observation{}
	for i := range maxRecordNodes {
		many[fmt.Sprint("n", i)] = Observation{State: Up}
	}
	f, err := Open(Config{Inventory: watched(t, "n"), Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	offer := func(prober int, seq uint64) error {
		r := says(fmt.Sprint("p", prober), seq, nil)
		r.Nodes = many
		return f.Offer(&Snapshot{Records: []Aged{{Record: r}}})
	}
	for p := range maxObservations / maxRecordNodes {
		if err := offer(p, 1); err != nil {
			t.Fatal(err)
		}
	}
	if err := offer(0, 2); err != nil {
		t.Errorf("the next of the same prober: %v", err)
	}
	if err := offer(999, 1); err == nil || f.Refused() != 1 {
		t.Errorf("one more: %v, refused %d", err, f.Refused())
	}
}

// Two processes of one name are one voice, that of the later epoch, in whatever order they
// are heard. The reader says so when the other goes on, and not of a record that was late.
func TestTwoProbersOfOneName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log logbook
		f := open(t, Config{Inventory: watched(t, "n"), Log: log.logger()})
		write := func(epoch int64, seq uint64, state State) {
			r := says("dns", seq, map[string]State{"n": state})
			r.Epoch = epoch
			if err := f.Offer(&Snapshot{Records: []Aged{{Record: r}}}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		check := func(when string, state State, told int) {
			t.Helper()
			if s := f.Table().Nodes[0]; s.State != state || s.Reason != "1 of 1 probers" {
				t.Errorf("%s: %v, %q", when, s.State, s.Reason)
			}
			if got := log.count("two probers have the same name"); got != told || f.Refused() != uint64(told) {
				t.Errorf("%s: told %d times, refused %d, want %d", when, got, f.Refused(), told)
			}
		}
		write(1, 100, Up)
		write(2, 1, Down)
		write(1, 101, Up)
		write(1, 101, Up)
		write(1, 100, Up)
		write(2, 2, Down)
		check("a restart, and what was on its way", Down, 0)
		for seq := range uint64(10) {
			write(1, 200+seq, Up)
			write(2, 10+seq, Down)
		}
		check("both go on", Down, 1)
		for seq := range uint64(10) {
			write(3, 300+seq, Up)
			write(2, 20+seq, Down)
		}
		check("the other starts anew", Up, 1)
		r := says("dns", 309, nil)
		if r.Epoch = 3; f.Superseded(&r) {
			t.Error("the newest is superseded")
		}
		if r.Seq--; !f.Superseded(&r) {
			t.Error("one of the same epoch that is behind is not superseded")
		}
	})
}

func TestOfferIgnoresTheForgotten(t *testing.T) {
	f, err := Open(Config{Inventory: watched(t, "n"), Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	for _, age := range []int64{346_000, 1 << 62} {
		if err := f.Offer(&Snapshot{Records: []Aged{{AgeMS: age, Record: says("p", 1, map[string]State{"n": Down})}}}); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(f.Snapshot().Records); n != 0 || f.currentVersion() != 1 {
		t.Errorf("%d records, version %d", n, f.currentVersion())
	}
}

func TestLocalInventoryWins(t *testing.T) {
	f, err := Open(Config{Inventory: watched(t, "mine"), Log: quiet})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Offer(&Snapshot{Inventory: watched(t, "theirs")}); err != nil {
		t.Fatal(err)
	}
	if got := f.Snapshot().Inventory.Nodes[0].ID; got != "mine" {
		t.Errorf("got %q", got)
	}
}

// An inventory that says the same is the same, however often it comes.
func TestSameInventoryGivesNoTable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := open(t, Config{})
		for range 10 {
			if err := f.Offer(&Snapshot{Inventory: watched(t, "a", "b")}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		if g := f.Table().Generation; g != 2 || len(f.Table().Nodes) != 2 {
			t.Errorf("generation %d, %d nodes", g, len(f.Table().Nodes))
		}
	})
}

// A snapshot that had to wait for its turn does not say that a record comes from
// the future, which every reader would refuse.
func TestSnapshotAgesAreNotNegative(t *testing.T) {
	f, err := Open(Config{Inventory: watched(t, "n"), Log: quiet})
	do(t, err)
	f.mu.Lock()
	got := make(chan *Snapshot)
	go func() { got <- f.Snapshot() }()
	time.Sleep(20 * time.Millisecond) // Snapshot waits for mu
	f.records["p"] = held{Seen: Seen{says("p", 1, nil), time.Now()}, version: 1}
	f.mu.Unlock()
	if err := (<-got).Validate(); err != nil {
		t.Error(err)
	}
}
