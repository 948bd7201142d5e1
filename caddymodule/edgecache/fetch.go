package edgecache

import (
	"encoding/binary"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/tandem-cdn/tandem/internal/collapse"
	"github.com/tandem-cdn/tandem/internal/httpcache"
	"github.com/tandem-cdn/tandem/internal/store"
)

// waitTimeout is how long a follower waits for the header of a response
// somebody else fetches. As it is also the age at which a fetch is taken for
// stuck, one of those who gave up starts another and the rest follow that
// one, instead of all at once.
const waitTimeout = 30 * time.Second

// maxRounds is how often a request may join another fetch, because the one it
// waited for was stuck or for another variant, before it goes alone.
const maxRounds = 3

// statusClientClosed is what Caddy logs for a client that left.
const statusClientClosed = 499

// want is what a request that has to be forwarded is after.
type want struct {
	key     string
	entry   *store.Entry // to be validated, or nil
	forward httpcache.Forward
}

// response is what a fetch shares: either a stored entry (after a 304, or
// because it was stored in the meantime) or a header with a growing body.
type response struct {
	entry  *store.Entry
	stored *httpcache.Stored
	body   *collapse.Body

	decided   time.Time         // when the header came
	refusal   httpcache.Refusal // why the body is not being stored, or empty
	fwdStatus int               // of the exchange with the origin server, when validating
}

// fetch answers r with a response from the origin server, its own or one that
// several requests share.
func (h *Handler) fetch(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler, want want, now time.Time) error {
	flightKey := h.flightKey(r, want.key)
	switch passes := h.state.passes(r.Header); {
	case passes >= maxPasses:
		return h.loop(r, want.forward)
	case passes > 0:
		// A fetch for this very store came by here: it might wait for itself.
		return h.alone(w, r, next, want, flightKey)
	}
	if want.entry != nil && !want.entry.Stored.Reusable() && h.hasCredentials(r) {
		flightKey = h.ownFlightKey()
	}
	for range maxRounds {
		joined := now
		flight, role := h.state.flights.Join(flightKey, now)
		switch role {
		case collapse.Lead:
			return h.lead(w, r, next, want, flight, now)
		case collapse.Alone:
			return h.alone(w, r, next, want, flightKey)
		case collapse.Refuse:
			h.count(r, result(want.forward))
			w.Header().Set("Retry-After", "1")
			setStatus(w.Header(), httpcache.CacheStatus{
				Cache: h.id, Forward: want.forward, Detail: "too-many-waiters"}, "")
			return caddyhttp.Error(http.StatusServiceUnavailable, errors.New("too many requests wait for this response"))
		}
		shared, outcome, err := flight.Wait(r.Context(), waitTimeout)
		now = time.Now()
		switch outcome {
		case collapse.Gone:
			w.WriteHeader(statusClientClosed)
			return nil
		case collapse.Failed:
			if err == errMismatch {
				want.entry = nil
				continue
			}
			return h.failed(w, r, want, err)
		case collapse.TimedOut:
			continue
		case collapse.Released:
			return h.alone(w, r, next, want, flightKey)
		}
		if shared.stored.Shareable(r) {
			switch {
			case shared.stored.Fresh(now):
			case h.hasCredentials(r):
				// What is validated for each use may be personal: the validation
				// keeps it from the others. So this request needs its own.
				flightKey = h.ownFlightKey()
				continue
			case shared.decided.Before(joined):
				flight.Done() // stale by now, though its content still comes
				continue
			}
			if reader, ok := shared.attach(); ok {
				h.count(r, resultCollapsed)
				return h.deliver(w, r, shared, reader, want.forward, true)
			}
			return h.alone(w, r, next, want, flightKey)
		}
		// Another variant: wait, or fetch, with those who want the same one.
		flightKey = string(shared.stored.Vary.AppendKey([]byte(flightKey), r.Header))
	}
	return h.alone(w, r, next, want, flightKey)
}

// loop answers a request that went through this store too often.
func (h *Handler) loop(r *http.Request, forward httpcache.Forward) error {
	h.count(r, result(forward))
	return caddyhttp.Error(http.StatusLoopDetected, errors.New("the request goes round in a loop"))
}

// lead starts the fill and serves the client that caused it.
func (h *Handler) lead(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler, want want, flight *collapse.Flight[*response], now time.Time) error {
	// The response may have been stored between the lookup and the join.
	if e, _ := h.state.store.Lookup([]byte(want.key), r.Header, now); e != nil && e != want.entry &&
		h.policyFor(r).Decide(r, e.Stored, now).Verdict == httpcache.Hit {
		flight.Publish(&response{entry: e, stored: e.Stored, decided: now}, true)
		flight.Done()
		h.count(r, resultHit)
		h.replay(w, r, e, now, h.hitStatus(e.Stored, now))
		return nil
	}
	client := newLease(w, r)
	f := h.newFill(r, next, want, flight, w.Header(), client)
	go f.run()
	// The client stays until the header is decided even if it has left: until
	// then the fill may ask for placeholders of its request.
	<-flight.Decided()
	f.carried.cut()
	shared, outcome, err := flight.Result()
	switch outcome {
	case collapse.Failed:
		if err == errMismatch {
			want.entry = nil
			return h.fetch(w, r, next, want, time.Now())
		}
		return h.failed(w, r, want, err)
	case collapse.Released:
		return client.wait()
	}
	h.count(r, result(want.forward))
	for name, values := range f.withheld {
		addField(w.Header(), name, values)
	}
	return h.deliver(w, r, shared, f.reader, want.forward, false)
}

// failed answers a request whose fetch came to nothing: with what is stored,
// if that may stand in, else with the error.
func (h *Handler) failed(w http.ResponseWriter, r *http.Request, want want, err error) error {
	now := time.Now()
	if want.entry != nil && want.entry.Stored.StaleIfError(now) {
		status := h.hitStatus(want.entry.Stored, now)
		status.Detail = "stale-if-error"
		h.count(r, resultHitStale)
		h.replay(w, r, want.entry, now, status)
		return nil
	}
	h.count(r, result(want.forward))
	setStatus(w.Header(), httpcache.CacheStatus{Cache: h.id, Forward: want.forward}, "")
	return err
}

// attach takes a place among the readers of a shared response; for a stored
// entry there is none to take.
func (s *response) attach() (*collapse.Reader, bool) {
	if s.entry != nil {
		return nil, true
	}
	return s.body.NewReader()
}

// deliver answers r with a shared response, its content as it arrives.
func (h *Handler) deliver(w http.ResponseWriter, r *http.Request, shared *response, reader *collapse.Reader, forward httpcache.Forward, collapsed bool) error {
	now := time.Now()
	status := httpcache.CacheStatus{
		Cache:     h.id,
		Forward:   forward,
		FwdStatus: shared.fwdStatus,
		Stored:    shared.entry == nil && shared.refusal == "" && !collapsed,
		Collapsed: collapsed,
		Detail:    string(shared.refusal),
	}
	if shared.entry != nil {
		h.replay(w, r, shared.entry, now, status)
		return nil
	}
	defer reader.Close()
	s := shared.stored
	if s.NotModified(r, now) {
		h.writeFields(w.Header(), s, now, status, httpcache.NotModifiedField)
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	h.writeFields(w.Header(), s, now, status, nil)
	w.WriteHeader(s.Status)
	flush := func() { _ = http.NewResponseController(w).Flush() }
	for {
		piece, err := reader.Next(r.Context(), flush)
		switch {
		case err == io.EOF:
			return nil
		case err != nil && r.Context().Err() != nil:
			return nil // the client left
		case err != nil:
			// A broken transfer is the only way left to say that the content is
			// not whole.
			panic(http.ErrAbortHandler)
		}
		if _, err := w.Write(piece); err != nil {
			return nil
		}
	}
}

// refresh validates a stale entry in the background, unless somebody does.
func (h *Handler) refresh(preset http.Header, r *http.Request, next caddyhttp.Handler, e *store.Entry, key string, now time.Time) {
	flight := h.state.flights.Lead(h.flightKey(r, key), now)
	if flight == nil {
		return
	}
	f := h.newFill(r, next, want{key, e, httpcache.ForwardStale}, flight, preset, nil)
	f.carried.cut()
	go f.run()
}

// flightKey is what requests have in common that may share a fetch. It
// separates those who could not share a response anyway: requests with
// credentials or cookies do not make the others wait to find out, and a
// request from after an invalidation does not join a fetch from before.
func (h *Handler) flightKey(r *http.Request, key string) string {
	class := byte('0')
	authorization, cookies := h.policy.Credentials(r.Header)
	if authorization {
		class |= 1
	}
	if cookies {
		class |= 2
	}
	flight := make([]byte, 0, 9+len(key))
	flight = binary.BigEndian.AppendUint64(append(flight, class), h.state.store.Generation(key))
	return string(append(flight, key...))
}

// ownFlightKey is the key of a fetch that nobody may share.
func (h *Handler) ownFlightKey() string {
	return string(binary.BigEndian.AppendUint64([]byte{'o'}, h.state.own.Add(1)))
}

func (h *Handler) hasCredentials(r *http.Request) bool {
	authorization, cookies := h.policy.Credentials(r.Header)
	return authorization || cookies
}
