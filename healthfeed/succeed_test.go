package healthfeed

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

// TestSucceed: a feed that takes the place of another goes on from where that is, at
// once: states, words of operators, and who has just come back.
func TestSucceed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inv := watched(t, "a", "b", "c")
		before := open(t, Config{Inventory: inv, StateFile: filepath.Join(t.TempDir(), "state.json")})
		say := func(seq uint64, b State) {
			offer(t, before, Record{Prober: "p", Epoch: 1, Seq: seq, IntervalMS: 1000, TTLMS: 15_000, Nodes: map[string]Observation{
				"a": {State: Down}, "b": {State: b, Health: 100}, "c": {State: Up, Health: 100}}})
			time.Sleep(time.Second)
		}
		say(1, Down)
		say(2, Up)
		_, err := before.Drain("c", "jo", "")
		do(t, err)
		time.Sleep(10*time.Second + 500*time.Millisecond) // not at the moment at which the feed looks at the clock

		next, err := Open(Config{Inventory: inv, Log: quiet})
		do(t, err)
		opened := next.Table().Generation
		do(t, next.Succeed(before))
		same := func() {
			t.Helper()
			old, now := before.Table(), next.Table()
			if now.Freshness != Fresh || !now.Heard().Equal(old.Heard()) {
				t.Errorf("%v, heard %v, want fresh, %v", now.Freshness, now.Heard(), old.Heard())
			}
			for _, id := range []string{"a", "b", "c"} {
				is, _ := now.Lookup(id)
				was, _ := old.Lookup(id)
				if !sameStatus(&is, &was) || is.returned != was.returned || is.hold != was.hold {
					t.Errorf("%s: got %+v, want %+v", id, is, was)
				}
			}
		}
		same()
		if b, _ := next.Table().Lookup("b"); b.Ramp >= 1 {
			t.Errorf("a node that has just come back has all of its share: %+v", b)
		}
		if c, _ := next.Table().Lookup("c"); c.State != Draining {
			t.Errorf("what the operator said is lost: %+v", c)
		}
		if g := next.Table().Generation; g <= opened {
			t.Errorf("generation %d after %d", g, opened)
		}
		// What is news since; whoever waits for it is woken although nothing runs.
		say(3, Down)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		generation := next.Table().Generation
		woken := make(chan error, 1)
		go func() { _, err := next.Next(ctx, generation); woken <- err }()
		synctest.Wait()
		do(t, next.Succeed(before))
		do(t, <-woken)
		same()
		// What was taken over ages like everything else.
		run(t, next)
		time.Sleep(time.Minute)
		if f := next.Table().Freshness; f != LastKnownGood {
			t.Errorf("a minute later: %v", f)
		}
	})
}

// An inventory that came by a source is taken over, and one that is part of a
// configuration ends with it.
func TestSucceedTakesInventories(t *testing.T) {
	inv := watched(t, "a", "b")
	shared, err := Open(Config{Log: quiet})
	do(t, err)
	do(t, shared.Offer(&Snapshot{Inventory: inv}))
	local, err := Open(Config{Inventory: inv, Log: quiet})
	do(t, err)
	file := filepath.Join(t.TempDir(), "nodes.json")
	do(t, os.WriteFile(file, []byte(`{"nodes": [{"id": "z", "addrs": ["192.0.2.1"]}]}`), 0o600))
	for _, test := range []struct {
		name   string
		config Config
		before *Feed
		nodes  int
	}{
		{"shared", Config{}, shared, 2},
		{"local-before", Config{}, local, 0},
		{"local-now", Config{InventoryFile: file}, shared, 1},
	} {
		test.config.Log = quiet
		f, err := Open(test.config)
		do(t, err)
		do(t, f.Succeed(test.before))
		if got := len(f.Table().Nodes); got != test.nodes {
			t.Errorf("%s: %d nodes, want %d", test.name, got, test.nodes)
		}
	}
}
