package edgecache

import (
	"errors"
	"net/http"
	"sync/atomic"
	"time"
)

// lease is a client's request and ResponseWriter on loan to the fill that it
// caused:
//
//	client's handler:  sends interim responses ─► decided ─► give ───────────► returns
//	fill:              interims … header ─► take, decide      └─► writes ─► end
//
// Until the fill is given the writer only the client's own handler writes to
// the client, so that one who does not read holds up nobody else. Before it
// is taken the client may leave, to be answered with something else.
type lease struct {
	r        *http.Request
	w        http.ResponseWriter // the handler's, and the fill's from given to done
	interims chan interim
	stays    atomic.Int32 // undecided, taken or left
	given    chan struct{}
	done     chan struct{}
	err      error // written before done is closed
}

// Whether a client stays for the response.
const (
	undecided int32 = iota
	taken
	left
)

func newLease(w http.ResponseWriter, r *http.Request) *lease {
	return &lease{r: r, w: w, interims: make(chan interim, maxInterims), given: make(chan struct{}), done: make(chan struct{})}
}

// take keeps the client from leaving, if it has not left. For a response that
// is its alone the fill goes on with writer and end.
func (l *lease) take() bool { return l.stays.CompareAndSwap(undecided, taken) }

// leave reports whether the client may go, since the fill has not taken it.
func (l *lease) leave() bool { return l.stays.CompareAndSwap(undecided, left) }

// wait sends interim responses until the flight is decided, and returns false
// if enough comes first.
func (l *lease) wait(decided <-chan struct{}, enough <-chan time.Time) bool {
	for {
		select {
		case i := <-l.interims:
			i.send(l.w)
		case <-enough:
			return false
		case <-decided:
			for len(l.interims) > 0 {
				i := <-l.interims
				i.send(l.w)
			}
			return true
		}
	}
}

// give gives the fill the writer, waits for it to be done with it and returns,
// or panics with, what it ended with.
func (l *lease) give() error {
	close(l.given)
	<-l.done
	if errors.Is(l.err, http.ErrAbortHandler) {
		panic(http.ErrAbortHandler)
	}
	return l.err
}

// writer is the client's writer, once it is given.
func (l *lease) writer() http.ResponseWriter {
	<-l.given
	return l.w
}

// end gives the writer back.
func (l *lease) end(err error) {
	l.err = err
	close(l.done)
}
