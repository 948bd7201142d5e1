package collapse

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

var t0 = time.Date(2026, 8, 1, 12, 0, 0, 0, time.UTC)

// terms are those of most tests.
var terms = Terms{Waiters: 1000, LockAge: 30 * time.Second}

func join(t *testing.T, g *Group[string], key string, now time.Time, want Role) *Flight[string] {
	t.Helper()
	f, role := g.Join(key, terms, now)
	if role != want {
		t.Fatalf("role %d, want %d", role, want)
	}
	return f
}

// wait waits in another goroutine and returns what came of it.
func wait(f *Flight[string], timeout time.Duration) func() (string, Outcome, error) {
	var v string
	var o Outcome
	var err error
	var wg sync.WaitGroup
	wg.Go(func() { v, o, err = f.Wait(context.Background(), timeout) })
	return func() (string, Outcome, error) { wg.Wait(); return v, o, err }
}

func TestOutcomes(t *testing.T) {
	boom := errors.New("boom")
	for name, tc := range map[string]struct {
		decide func(*Flight[string])
		want   Outcome
		next   Role // of a request right after
		later  Role // of one after the flight is done
	}{
		"published": {func(f *Flight[string]) { f.Publish("value", true) }, Published, Follow, Lead},
		"closed":    {func(f *Flight[string]) { f.Publish("value", false) }, Published, Lead, Lead},
		"released":  {func(f *Flight[string]) { f.Release(t0) }, Released, Alone, Alone},
		"failed":    {func(f *Flight[string]) { f.Fail(boom, 0) }, Failed, Lead, Lead},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := NewGroup[string](Limits{}, 0)
				f := join(t, g, "a", t0, Lead)
				first, second := wait(join(t, g, "a", t0, Follow), time.Minute), wait(join(t, g, "a", t0, Follow), time.Hour)
				join(t, g, "b", t0, Lead)
				synctest.Wait()
				tc.decide(f)
				f.Publish("too late", true)
				for _, result := range []func() (string, Outcome, error){first, second} {
					v, o, err := result()
					if o != tc.want || (o == Published) != (v == "value") || (o == Failed) != (err == boom) {
						t.Errorf("%q %d %v", v, o, err)
					}
				}
				if n := f.Waiters(); n != 0 {
					t.Errorf("%d wait", n)
				}
				if next, role := g.Join("a", terms, t0); role != tc.next {
					t.Errorf("next: role %d, want %d", role, tc.next)
				} else if role == Lead {
					next.Done()
				} else if role == Follow {
					if v, o, _ := next.Wait(t.Context(), 0); v != "value" || o != Published {
						t.Errorf("%q %d", v, o)
					}
				}
				f.Done()
				if next, role := g.Join("a", terms, t0); role != tc.later {
					t.Errorf("later: role %d, want %d", role, tc.later)
				} else if role == Lead {
					next.Done()
				}
				join(t, g, "a", t0.Add(10*time.Second), Lead)
			})
		})
	}
}

func TestTimeouts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGroup[string](Limits{}, 0)
		stuck := join(t, g, "a", time.Now(), Lead)
		follower := join(t, g, "a", time.Now(), Follow)
		began := time.Now()
		if _, o, _ := follower.Wait(t.Context(), 29*time.Second); o != TimedOut || time.Since(began) != 29*time.Second {
			t.Errorf("outcome %d after %v", o, time.Since(began))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, o, err := join(t, g, "a", time.Now(), Follow).Wait(ctx, time.Hour); o != Gone || err == nil {
			t.Errorf("outcome %d, %v", o, err)
		}
		// Stuck too long: another takes its place, and keeps it when the first
		// ends after all.
		second := join(t, g, "a", time.Now(), Lead)
		stuck.Fail(io.EOF, 0)
		if f := join(t, g, "a", time.Now(), Follow); f != second {
			t.Error("joined another flight")
		}
		if f := g.Lead("a", terms, time.Now()); f != nil {
			t.Error("a second one in the background")
		}
	})
}

func TestLimits(t *testing.T) {
	g := NewGroup[string](Limits{Flights: 2, Memos: 3}, 0)
	join(t, g, "a", t0, Lead)
	two := Terms{Waiters: 2, LockAge: time.Minute}
	for _, want := range []Role{Follow, Follow, Refuse} {
		if _, role := g.Join("a", two, t0); role != want {
			t.Errorf("role %d, want %d", role, want)
		}
	}
	b := join(t, g, "b", t0, Lead)
	join(t, g, "c", t0, Alone)
	if g.Lead("c", terms, t0) != nil {
		t.Error("one flight too many")
	}
	b.Done()
	for i := range 100 {
		f := join(t, g, string(rune(1000+i)), t0, Lead)
		f.Release(t0)
		if len(g.memos.byHash) > 3 || g.memos.latest.Len() > 3 {
			t.Fatalf("%d keys remembered", len(g.memos.byHash))
		}
		join(t, g, string(rune(1000+i)), t0, Alone)
	}
	for i, want := range []Role{Lead, Alone, Alone, Alone} { // the last three are remembered
		f := join(t, g, string(rune(1096+i)), t0, want)
		if f != nil {
			f.Done()
		}
	}
}

// What stays not worth waiting for is remembered longer and longer, until it
// is shareable for once.
func TestMemosGrow(t *testing.T) {
	g := NewGroup[string](Limits{}, 0)
	now := t0
	for _, want := range []time.Duration{10, 20, 40, 80, 120, 120} {
		f := join(t, g, "a", now, Lead)
		f.Release(now)
		now = now.Add(want*time.Second - 1)
		join(t, g, "a", now, Alone)
		now = now.Add(1)
	}
	// Also while nobody waits because of it.
	g.Forget("a")
	g.Remember("a", t0)
	for at := t0; at.Before(t0.Add(35 * time.Second)); at = at.Add(time.Second) {
		g.Remember("a", at)
	}
	join(t, g, "a", t0.Add(34*time.Second+40*time.Second-1), Alone)
	join(t, g, "a", t0.Add(34*time.Second+40*time.Second), Lead).Publish("shareable", false)
	join(t, g, "a", t0.Add(80*time.Second), Lead).Release(t0.Add(80 * time.Second))
	join(t, g, "a", t0.Add(90*time.Second), Lead).Done()
	// Long ago does not count.
	f := join(t, g, "b", t0, Lead)
	f.Release(t0)
	f = join(t, g, "b", t0.Add(time.Hour), Lead)
	f.Release(t0.Add(time.Hour))
	join(t, g, "b", t0.Add(time.Hour+10*time.Second), Lead)
}

// A fetch counts as stuck while it stands still, with and without a decision.
func TestSignsOfLife(t *testing.T) {
	g := NewGroup[string](Limits{}, 0)
	at := func(seconds int) time.Time { return t0.Add(time.Duration(seconds) * time.Second) }
	f := join(t, g, "a", t0, Lead)
	f.Move(at(20))
	f.Publish("value", true)
	if d := f.Idle(at(25)); d != 5*time.Second {
		t.Errorf("idle for %v", d)
	}
	join(t, g, "a", at(49), Follow)
	f.Move(at(40))
	join(t, g, "a", at(69), Follow)
	second := join(t, g, "a", at(70), Lead)
	f.Move(at(71)) // too late
	f.Done()
	if join(t, g, "a", at(99), Follow) != second {
		t.Error("joined the one that was stuck")
	}
	third := g.Lead("a", terms, at(100))
	if third == nil {
		t.Fatal("no refresh in place of one that is stuck")
	}
	third.Fail(io.EOF, time.Minute)
	if join(t, g, "a", at(140), Follow) != third {
		t.Error("a failure does not stand")
	}
}

// An error that is left standing answers who comes within that time.
func TestStandingError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGroup[string](Limits{}, 0)
		join(t, g, "a", time.Now(), Lead).Fail(io.EOF, time.Second)
		for range 3 {
			f := join(t, g, "a", time.Now(), Follow)
			if _, o, err := f.Wait(t.Context(), 0); o != Failed || err != io.EOF {
				t.Errorf("outcome %d, %v", o, err)
			}
		}
		time.Sleep(time.Second)
		synctest.Wait()
		join(t, g, "a", time.Now(), Lead).Done()
		if g.Len() != 0 {
			t.Errorf("%d left", g.Len())
		}
	})
}

func TestSolo(t *testing.T) {
	g := NewGroup[string](Limits{}, 0)
	shared := join(t, g, "a", t0, Lead)
	solo := g.Solo("a", t0)
	if !solo.Solo() || shared.Solo() {
		t.Error("which is solo?")
	}
	if f := join(t, g, "a", t0, Follow); f != shared {
		t.Error("joined it")
	}
	solo.Release(t0)
	if f := join(t, g, "a", t0, Follow); f != shared {
		t.Error("ended another")
	}
	shared.Done()
	join(t, g, "a", t0, Alone)
}

func TestTurn(t *testing.T) {
	var turn Turn
	now := t0
	for _, want := range []time.Duration{10, 20, 40, 80, 120, 120} {
		if !turn.Take(now) || turn.Take(now.Add(time.Hour)) {
			t.Fatal("not one at a time")
		}
		turn.Failed(now)
		now = now.Add(want * time.Second)
		if turn.Take(now.Add(-1)) {
			t.Fatalf("before %v", want*time.Second)
		}
	}
	if !turn.Take(now) {
		t.Error("never again")
	}
	turn.Free()
	var took atomic.Int32
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if turn.Take(now) {
				took.Add(1)
			}
		})
	}
	if wg.Wait(); took.Load() != 1 {
		t.Errorf("%d have the turn", took.Load())
	}
}

func read(t *testing.T, r *Reader, idle func()) ([]byte, error) {
	var got []byte
	for {
		p, err := r.Next(t.Context(), idle)
		if err != nil {
			return got, err
		}
		got = append(got, p...)
	}
}

func none() {}

func TestBodyIsReadWhileItGrows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGroup[string](Limits{}, 1<<20)
		b := g.NewBody(1 << 20)
		b.Expect(700)
		r, _ := b.NewReader()
		idled := 0
		var got []byte
		var err error
		var wg sync.WaitGroup
		wg.Go(func() { got, err = read(t, r, func() { idled++ }) })
		var want []byte
		for i := range 7 {
			synctest.Wait() // the reader waits
			piece := bytes.Repeat([]byte{byte(i)}, 100)
			want = append(want, piece...)
			if n, err := b.Write(piece); n != 100 || err != nil {
				t.Fatal(n, err)
			}
		}
		late, ok := b.NewReader()
		if g.Buffered() != 700 || !ok {
			t.Errorf("%d bytes accounted", g.Buffered())
		}
		synctest.Wait()
		if content := b.End(nil); !bytes.Equal(content, want) || cap(content) != len(content) {
			t.Errorf("%d of %d bytes", len(content), cap(content))
		}
		wg.Wait()
		if err != io.EOF || !bytes.Equal(got, want) || idled != 8 {
			t.Errorf("%d bytes, %v, idle %d times", len(got), err, idled)
		}
		if got, err := read(t, late, none); err != io.EOF || !bytes.Equal(got, want) {
			t.Errorf("late: %d bytes, %v", len(got), err)
		}
		if g.Buffered() != 0 {
			t.Errorf("%d bytes accounted", g.Buffered())
		}
	})
}

func TestBodyThatFails(t *testing.T) {
	g := NewGroup[string](Limits{}, 1<<20)
	b := g.NewBody(100)
	r, _ := b.NewReader()
	_, _ = b.Write([]byte("half"))
	boom := errors.New("boom")
	if b.End(boom) != nil {
		t.Error("a body out of a failure")
	}
	if got, err := read(t, r, none); string(got) != "half" || err != boom {
		t.Errorf("%q %v", got, err)
	}
	if b.End(nil) != nil {
		t.Error("a failed body became complete")
	}
	if _, err := b.Write([]byte("x")); err == nil {
		t.Error("written after the end")
	}
}

func TestBodyBeyondItsLimit(t *testing.T) {
	for name, group := range map[string]*Group[string]{
		"own limit":    NewGroup[string](Limits{}, 1<<30),
		"common limit": NewGroup[string](Limits{}, 3<<20),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				max := int64(1 << 30)
				if name == "own limit" {
					max = 3 << 20
				}
				b := group.NewBody(max)
				want := make([]byte, 10<<20)
				for i := range want {
					want[i] = byte(rand.Uint32())
				}
				var wg sync.WaitGroup
				for range 3 {
					r, _ := b.NewReader()
					wg.Go(func() {
						defer r.Close()
						var got []byte
						for {
							p, err := r.Next(t.Context(), none)
							if err != nil {
								if err != io.EOF || !bytes.Equal(got, want) {
									t.Errorf("%d bytes, %v", len(got), err)
								}
								return
							}
							got = append(got, p...)
							time.Sleep(time.Second) // slow, but no slower than the others
						}
					})
				}
				for p := want; len(p) > 0; p = p[32<<10:] {
					if _, err := b.Write(p[:32<<10]); err != nil {
						t.Fatal(err)
					}
					if len(b.buf) > 4<<20 {
						t.Fatalf("%d bytes held", len(b.buf))
					}
				}
				if b.Whole() || b.Len() != 10<<20 {
					t.Errorf("whole %v, %d bytes", b.Whole(), b.Len())
				}
				if _, ok := b.NewReader(); ok {
					t.Error("a reader without the beginning")
				}
				if b.End(nil) != nil {
					t.Error("content, though not whole")
				}
				wg.Wait()
				if group.Buffered() != 0 {
					t.Errorf("%d bytes accounted", group.Buffered())
				}
			})
		})
	}
}

func TestStuckReaderIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewGroup[string](Limits{}, 1<<30).NewBody(10)
		stuck, _ := b.NewReader()
		good, _ := b.NewReader()
		var wg sync.WaitGroup
		wg.Go(func() {
			if got, err := read(t, good, none); len(got) != 5<<20 || err != io.EOF {
				t.Errorf("%d bytes, %v", len(got), err)
			}
			good.Close()
		})
		began := time.Now()
		for range 5 << 20 >> 16 {
			if _, err := b.Write(make([]byte, 1<<16)); err != nil {
				t.Fatal(err)
			}
		}
		if d := time.Since(began); d != stallTimeout {
			t.Errorf("held up for %v", d)
		}
		b.End(nil)
		wg.Wait()
		if _, err := stuck.Next(t.Context(), none); err != ErrTooSlow {
			t.Errorf("got %v", err)
		}
	})
}

func TestNobodyReads(t *testing.T) {
	b := NewGroup[string](Limits{}, 1<<30).NewBody(10)
	r, _ := b.NewReader()
	_, _ = b.Write(make([]byte, 5))
	r.Close()
	if _, err := b.Write(make([]byte, 5)); err != nil {
		t.Errorf("kept whole, and yet %v", err)
	}
	if _, err := b.Write(make([]byte, 5)); err != ErrNoReaders {
		t.Errorf("got %v", err)
	}
}

func TestReaderLeaves(t *testing.T) {
	b := NewGroup[string](Limits{}, 1<<30).NewBody(10)
	r, _ := b.NewReader()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Next(ctx, none); err != context.Canceled {
		t.Errorf("got %v", err)
	}
}

// Announced content, however long, takes memory as it comes.
func TestExpectedContentThatNeverComes(t *testing.T) {
	b := NewGroup[string](Limits{}, 1<<30).NewBody(1 << 30)
	b.Expect(64 << 20)
	if _, err := b.Write(make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	if cap(b.buf) > 8000 {
		t.Errorf("%d bytes held for 1000", cap(b.buf))
	}
}

// Once a body is not kept whole, what it held is given back as it is read.
func TestPartialBodyGivesBack(t *testing.T) {
	g := NewGroup[string](Limits{}, 1<<30)
	b := g.NewBody(1 << 20)
	r, _ := b.NewReader()
	write := func(n int) {
		if _, err := b.Write(make([]byte, n)); err != nil {
			t.Fatal(err)
		}
	}
	write(1 << 20)
	for range 1 << 20 / pieceSize {
		if _, err := r.Next(t.Context(), none); err != nil {
			t.Fatal(err)
		}
	}
	if !b.Whole() || g.Buffered() != 1<<20 {
		t.Errorf("%d bytes accounted", g.Buffered())
	}
	write(1) // one too many
	if b.Whole() || g.Buffered() > window || cap(b.buf) > 4*window {
		t.Errorf("%d bytes accounted, %d held", g.Buffered(), cap(b.buf))
	}
	if b.End(nil); g.Buffered() != 0 {
		t.Errorf("%d bytes accounted in the end", g.Buffered())
	}
}

func BenchmarkReleaseWithManyMemos(b *testing.B) {
	g := NewGroup[string](Limits{}, 0)
	for i := 0; b.Loop(); i++ {
		f, _ := g.Join(string(binary.AppendUvarint(nil, uint64(i))), terms, t0)
		f.Release(t0)
	}
}
