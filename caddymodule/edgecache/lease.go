package edgecache

import (
	"errors"
	"net/http"
	"sync"
)

// lease is a client's request and ResponseWriter on loan to the fill that it
// caused. The client's handler waits for the flight to be decided and then, if
// the response is its alone, for the fill to end; so the writer is valid for
// as long as the fill uses it. Before the decision the client may leave, to be
// answered with something else.
type lease struct {
	r    *http.Request
	done chan struct{} // closed by end
	err  error         // written before done is closed

	mu    sync.Mutex
	w     http.ResponseWriter // nil once the client has left
	taken bool
}

func newLease(w http.ResponseWriter, r *http.Request) *lease {
	return &lease{w: w, r: r, done: make(chan struct{})}
}

// lend lets use have the writer, if the client is still there.
func (l *lease) lend(use func(http.ResponseWriter)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.w != nil {
		use(l.w)
	}
}

// take keeps the client from leaving and returns its writer, or nil if it has
// left. Who writes to that calls end in the end.
func (l *lease) take() http.ResponseWriter {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.taken = l.w != nil
	return l.w
}

// leave takes the writer back, unless the fill has taken it.
func (l *lease) leave() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.taken {
		l.w = nil
	}
	return !l.taken
}

// end gives the writer back.
func (l *lease) end(err error) {
	l.err = err
	close(l.done)
}

// wait waits for the fill to be done with the writer and returns, or panics
// with, what it ended with.
func (l *lease) wait() error {
	<-l.done
	if errors.Is(l.err, http.ErrAbortHandler) {
		panic(http.ErrAbortHandler)
	}
	return l.err
}
