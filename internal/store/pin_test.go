package store

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/tandem-cdn/tandem/internal/httpcache"
)

// large is an entry whose readers count.
func large(key string, size int) *Entry {
	header := http.Header{"Cache-Control": {"max-age=60"}, "Etag": {`"v"`}}
	s := new(httpcache.Policy).NewStored(&http.Request{Method: http.MethodGet, Header: http.Header{}}, 200, header, t0, t0)
	return &Entry{Key: key, Stored: s, Body: make([]byte, size)}
}

// TestPin goes through what can become of an entry that is read.
func TestPin(t *testing.T) {
	const size = 100 << 10
	for _, tc := range []struct {
		name   string
		do     func(s *Store, e *Entry)
		pinned int64
		after  int64 // stored entries once all readers are done
	}{
		{"stays", func(s *Store, e *Entry) { s.Pin(e, 1) }, 0, 1},
		{"goes", func(s *Store, e *Entry) { s.Pin(e, 1); s.Remove(e) }, size, 0},
		{"goes-before", func(s *Store, e *Entry) { s.Remove(e); s.Pin(e, 1) }, size, 0},
		{"two-readers", func(s *Store, e *Entry) { s.Pin(e, 2); s.Remove(e); s.Unpin(e) }, size, 0},
		{"is-replaced", func(s *Store, e *Entry) {
			s.Pin(e, 1)
			s.Put(large("k", size), 0, t0)
		}, size, 1},
		{"is-freshened", func(s *Store, e *Entry) {
			s.Pin(e, 1)
			s.Put(e.With(e.Stored), 0, t0)
		}, 0, 1},
		{"is-freshened-and-goes", func(s *Store, e *Entry) {
			s.Pin(e, 1)
			next := e.With(e.Stored)
			s.Put(next, 0, t0)
			s.Remove(next)
		}, size, 0},
		{"goes-and-is-freshened", func(s *Store, e *Entry) {
			s.Pin(e, 1)
			s.Remove(e)
			s.Put(e.With(e.Stored), 0, t0)
		}, 0, 1},
		{"is-evicted", func(s *Store, e *Entry) { s.Pin(e, 1); s.Resize(0); s.Resize(1 << 20) }, size, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := New(1 << 20)
			e := large("k", size)
			if !s.Put(e, 0, t0) {
				t.Fatal("not stored")
			}
			stored := s.Bytes()
			tc.do(s, e)
			if s.Pinned() != tc.pinned || s.Bytes() != tc.pinned+tc.after*stored {
				t.Errorf("%d pinned of %d bytes, want %d of %d", s.Pinned(), s.Bytes(), tc.pinned, tc.pinned+tc.after*stored)
			}
			s.Unpin(e)
			if s.Pinned() != 0 || s.Bytes() != tc.after*stored {
				t.Errorf("afterwards %d pinned of %d bytes", s.Pinned(), s.Bytes())
			}
		})
	}
	// What costs less than a connection is not counted.
	s, e := New(1<<20), large("k", pinFrom)
	s.Put(e, 0, t0)
	s.Pin(e, 1)
	if s.Remove(e); s.Bytes() != 0 || e.Cut() {
		t.Errorf("%d bytes", s.Bytes())
	}
}

// TestCut cuts the readers off that hold most of what nobody else gets.
func TestCut(t *testing.T) {
	const size = 100 << 10
	s := New(10 * size) // so that two and a half may be pinned
	var gone []*Entry
	for i := range 4 {
		e := large(fmt.Sprint(i), size)
		s.Put(e, 0, t0)
		s.Pin(e, 1)
		s.Remove(e)
		gone = append(gone, e)
	}
	for i, e := range gone {
		if e.Cut() != (i < 2) {
			t.Errorf("%d: cut %v", i, e.Cut())
		}
	}
	// Once those are gone there is room for others.
	s.Unpin(gone[0])
	s.Unpin(gone[1])
	if gone[2].Cut() || gone[3].Cut() || s.Pinned() != 2*size {
		t.Errorf("%d pinned", s.Pinned())
	}
	// Pinned content takes the place of stored content, and no more.
	for i := range 20 {
		s.Put(large(fmt.Sprint("more", i), size), 0, t0)
	}
	if s.Bytes() > s.Budget() || s.Bytes() < 9*size {
		t.Errorf("%d bytes in %d", s.Bytes(), s.Budget())
	}
}

// TestPinRandom has many read, replace and remove a few entries at once; in
// the end every byte is accounted for.
func TestPinRandom(t *testing.T) {
	s := New(2 << 20)
	var all sync.WaitGroup
	for worker := range uint64(4) {
		all.Go(func() {
			rnd := rand.New(rand.NewPCG(worker, 5))
			var mine []*Entry
			for i := range 5000 {
				now := t0.Add(time.Duration(i) * time.Millisecond)
				key := fmt.Sprint(rnd.IntN(12))
				e, _ := s.Lookup([]byte(key), nil, now)
				switch n := rnd.IntN(10); {
				case n < 2 || e == nil:
					s.Put(large(key, pinFrom+1+rnd.IntN(200<<10)), s.Generation(key), now)
				case n < 3:
					s.Put(e.With(e.Stored), s.Generation(key), now)
				case n < 4:
					s.Remove(e)
				case n < 7 || len(mine) == 0:
					s.Pin(e, 1)
					mine = append(mine, e)
				default:
					last := len(mine) - 1
					s.Unpin(mine[last])
					mine = mine[:last]
				}
			}
			for _, e := range mine {
				s.Unpin(e)
			}
		})
	}
	all.Wait()
	if s.Pinned() != 0 || s.pinned.order.Len() != 0 || s.pinned.cut != 0 {
		t.Errorf("%d pinned, %d in order, %d cut", s.Pinned(), s.pinned.order.Len(), s.pinned.cut)
	}
	sum := int64(0)
	for i := range 12 {
		for _, e := range s.Variants(fmt.Sprint(i)) {
			sum += e.Size()
		}
	}
	if s.Bytes() != sum {
		t.Errorf("%d bytes, stored are %d", s.Bytes(), sum)
	}
	s.Resize(0)
	if s.Bytes() != 0 || s.Objects() != 0 {
		t.Errorf("%d bytes, %d objects", s.Bytes(), s.Objects())
	}
}
