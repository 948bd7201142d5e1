package collapse

import (
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// paced reads b to its end, or until it is dropped, and pauses after each
// piece for as long as pause says.
func paced(t *testing.T, b *Body, pause func(piece int) time.Duration) (read int, err error) {
	r, _ := b.NewReader()
	defer r.Close()
	for n := 0; ; n++ {
		p, err := r.Next(t.Context(), none)
		if err != nil {
			return read, err
		}
		read += len(p)
		time.Sleep(pause(n))
	}
}

func every(d time.Duration) func(int) time.Duration {
	return func(int) time.Duration { return d }
}

// Readers of a body of which only a window is kept, each at its own pace: who
// holds up others for too long is dropped, and nobody else is.
func TestPacesInAWindow(t *testing.T) {
	const size = 4 << 20 // 128 pieces
	burst := func(pieces int, pause time.Duration) func(int) time.Duration {
		return func(n int) time.Duration {
			if n%pieces == 0 {
				return pause
			}
			return 0
		}
	}
	for _, tc := range []struct {
		name    string
		writes  time.Duration // so often comes a piece
		paces   []func(int) time.Duration
		dropped []bool
		most    time.Duration // that the writer takes
	}{
		{"alone", 0, []func(int) time.Duration{every(20 * time.Second)}, []bool{false}, 128 * 20 * time.Second},
		{"alone and stuck", 0, []func(int) time.Duration{every(31 * time.Second)}, []bool{true}, 31 * time.Second},
		{"all as slow", 0, []func(int) time.Duration{every(20 * time.Second), every(20 * time.Second), every(20 * time.Second)}, []bool{false, false, false}, 128 * 20 * time.Second},
		{"a piece now and then", 0, []func(int) time.Duration{every(29 * time.Second), every(0)}, []bool{true, false}, 31 * time.Second},
		{"a piece each second", 0, []func(int) time.Duration{every(time.Second), every(0)}, []bool{true, false}, 31 * time.Second},
		{"one after the other", 0, []func(int) time.Duration{every(29 * time.Second), every(28 * time.Second), every(0)}, []bool{true, true, false}, 62 * time.Second},
		{"bursts", 0, []func(int) time.Duration{burst(16, 29*time.Second), every(0)}, []bool{true, false}, 31 * time.Second},
		{"short pauses", time.Second, []func(int) time.Duration{burst(32, 15*time.Second), every(0)}, []bool{false, false}, (128 + 60) * time.Second},
		{"a little slower", 0, []func(int) time.Duration{every(1100 * time.Millisecond), every(time.Second)}, []bool{false, false}, 142 * time.Second},
		{"as slow as the origin server", time.Second, []func(int) time.Duration{every(time.Second), every(0)}, []bool{false, false}, 130 * time.Second},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := NewGroup[string](Limits{}, 1<<30).NewBody(10)
				var readers sync.WaitGroup
				for i, pace := range tc.paces {
					readers.Go(func() {
						read, err := paced(t, b, pace)
						if want := map[bool]error{true: ErrTooSlow, false: io.EOF}[tc.dropped[i]]; err != want || err == io.EOF && read != size {
							t.Errorf("reader %d: %d bytes, %v, want %v", i, read, err, want)
						}
					})
				}
				synctest.Wait()
				began := time.Now()
				for range size / pieceSize {
					time.Sleep(tc.writes)
					if _, err := b.Write(make([]byte, pieceSize)); err != nil && err != ErrNoReaders {
						t.Fatal(err)
					}
				}
				if took := time.Since(began); took > tc.most {
					t.Errorf("the writer took %v", took)
				}
				b.End(nil)
				readers.Wait()
			})
		})
	}
}
