package healthfeed

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"
)

// jump is what [time.Now] would have returned had somebody set the clock: another time of
// day at the same instant of the monotonic clock. Package time has no way to say so, thus
// this one writes the seconds where it keeps them, above the 30 bits of nanoseconds.
func jump(t time.Time, by time.Duration) time.Time {
	*(*uint64)(unsafe.Pointer(&t)) += uint64(by/time.Second) << 30
	return t
}

func TestJump(t *testing.T) {
	now := time.Now()
	for _, by := range []time.Duration{time.Hour, -time.Hour, 365 * 24 * time.Hour, -365 * 24 * time.Hour} {
		then := jump(now, by)
		if then.Unix()-now.Unix() != int64(by/time.Second) || then.Sub(now) != 0 || then.Add(time.Second).Sub(now) != time.Second {
			t.Fatalf("a jump by %v makes %v of %v", by, then, now)
		}
	}
}

// Two feeds hear the same; the clock of one of them is set again and again, by an hour
// or a year, forwards and backwards. Nobody can tell them apart: votes, age, freshness,
// ramps, the control of load and what is forgotten go by the monotonic clock alone.
func TestClocksJump(t *testing.T) {
	for seed := range uint64(20) {
		random := rand.New(rand.NewPCG(seed, 1))
		inv := watched(t, "a", "b", "c", "d")
		for i := range inv.Nodes {
			inv.Nodes[i].Capacity.RPS = 100
		}
		steady, jumpy := known(t, nil, inv, quiet), known(t, nil, inv, quiet)
		start := time.Now()
		var seq uint64
		for at, step := time.Duration(0), 0; step < 300; step++ {
			// Mostly seconds, sometimes the minutes after which data is old.
			at += time.Duration(random.IntN(2000)) * time.Millisecond
			if random.IntN(20) == 0 {
				at += time.Duration(random.IntN(400)) * time.Second
			}
			now := start.Add(at)
			by := []time.Duration{0, time.Hour, -time.Hour, 365 * 24 * time.Hour, -365 * 24 * time.Hour}[random.IntN(5)]
			s := &Snapshot{}
			for p := range 3 {
				if random.IntN(3) == 0 {
					continue
				}
				seq++
				r := says(fmt.Sprintf("p%d", p), seq, map[string]State{})
				for _, n := range inv.Nodes {
					r.Nodes[n.ID] = Observation{State: []State{Up, Up, Up, Down, Degraded, Abstain}[random.IntN(6)], Health: 90,
						Load: Load{CPU: random.Float64(), RPS: 200 * random.Float64()}}
				}
				s.Records = append(s.Records, Aged{AgeMS: int64(random.IntN(20_000)), Record: r})
			}
			for f, now := range map[*Feed]time.Time{steady: now, jumpy: jump(now, by)} {
				if _, err := f.take(s, now); err != nil {
					t.Fatal(err)
				}
				f.merge(now)
			}
			if got, want := looks(jumpy), looks(steady); got != want {
				t.Fatalf("seed %d, step %d, after %v and a jump of %v:\n%s\nwant\n%s", seed, step, at, by, got, want)
			}
		}
	}
}

// looks is all that a reader of the table goes by.
func looks(f *Feed) string {
	t := f.Table()
	var b strings.Builder
	fmt.Fprintf(&b, "generation %d, %s, %d records", t.Generation, t.Freshness, len(f.records))
	for i := range t.Nodes {
		s := &t.Nodes[i]
		fmt.Fprintf(&b, "\n%s %s %q %v %v %v %+v", t.Inventory.Nodes[i].ID, s.State, s.Reason, s.Health, s.Acceptance, s.Ramp, s.Load)
	}
	return b.String()
}

// Where a time of day is looked at, or a time loses its monotonic part, somebody has
// thought about clocks that jump; the reasons are here. A new one fails this test.
func TestTimesOfDay(t *testing.T) {
	allowed := map[string]string{
		"offer.go UnixMilli":           "an epoch; the state file and Superseded see to it that it grows",
		"override.go UTC":              "At, for people",
		"override.go Truncate":         "At, for people",
		"override.go UnixMilli":        "orders the words of hubs that do not hear each other; one that was heard is passed in any case",
		"watch.go ModTime":             "tells versions of a file apart, and how old one may be that is met for the first time",
		"files.go ModTime":             "what a process left that was killed; one that is not gets a write that fails, and makes another",
		"identity/identity.go ModTime": "tells versions of a file apart",
	}
	found := map[string]bool{}
	for _, dir := range []string{".", "identity"} {
		files, err := os.ReadDir(dir)
		do(t, err)
		for _, file := range files {
			path := filepath.Join(dir, file.Name())
			if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				continue
			}
			tree, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
			do(t, err)
			ast.Inspect(tree, func(n ast.Node) bool {
				call, ok := n.(*ast.CallExpr)
				if !ok {
					return true
				}
				if of, ok := call.Fun.(*ast.SelectorExpr); ok && slices.Contains([]string{"Unix", "UnixMilli", "UnixNano", "UTC", "Local",
					"In", "Truncate", "Date", "Format", "AddDate", "ModTime"}, of.Sel.Name) && !isPackage(of.X) {
					found[filepath.ToSlash(path)+" "+of.Sel.Name] = true
				}
				return true
			})
		}
	}
	for use := range found {
		if allowed[use] == "" {
			t.Errorf("%s: what of a clock that jumps?", use)
		}
	}
	for use := range allowed {
		if !found[use] {
			t.Errorf("%s is no more", use)
		}
	}
}

// isPackage reports whether x is the name of a package with functions of these names.
func isPackage(x ast.Expr) bool {
	id, ok := x.(*ast.Ident)
	return ok && slices.Contains([]string{"url", "netip"}, id.Name)
}

// What goes over the wire has no time of day to compare: two processes whose clocks are
// 26 years apart agree.
func TestClocksOfOthers(t *testing.T) {
	writer := known(t, nil, watched(t, "n"), quiet)
	for _, epoch := range []int64{1, time.Now().UnixMilli(), time.Now().AddDate(100, 0, 0).UnixMilli()} {
		r := says("p", 1, map[string]State{"n": Down})
		r.Epoch = epoch
		offer(t, writer, r)
		reader := known(t, nil, watched(t, "n"), quiet)
		do(t, reader.Receive(told(t, writer), 0))
		reader.merge(time.Now())
		if state(reader, "n") != Down || reader.Table().Freshness != Fresh {
			t.Errorf("epoch %d: %v, %v", epoch, state(reader, "n"), reader.Table().Freshness)
		}
	}
}
