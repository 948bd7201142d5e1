package edgecache

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.opentelemetry.io/otel/trace"

	"github.com/tandem-cdn/tandem/internal/collapse"
	"github.com/tandem-cdn/tandem/internal/httpcache"
	"github.com/tandem-cdn/tandem/internal/store"
)

// maxRounds is how often a request may join a fetch, because another failed or
// was for another variant, before it goes alone.
const maxRounds = 4

// downTime is how long an origin server that could not be reached, also not
// at a second attempt, is not asked for the same again.
const downTime = time.Second

// statusClientClosed is what Caddy logs for a client that left.
const statusClientClosed = 499

// want is what a request that has to be forwarded is after.
type want struct {
	key     string
	entry   *store.Entry // to be validated, or nil
	partial *store.Entry // to be completed, or nil

	part   *httpcache.RangeSpec // to be asked for instead of the whole, or nil
	sliced *store.Entry         // of which that part is a slice, or nil
	exempt bool                 // that slice is not stored

	next    caddyhttp.Handler // for what an answer lacks that is stored in slices
	forward httpcache.Forward
	again   bool // it is the second attempt to reach the origin server
}

// account is what there is to say of a request that nothing stored or shared
// answers.
func (w want) account() account { return account{result: result(w.forward), key: w.key} }

// mayBeStale reports whether what is stored may stand in for the response.
func (w want) mayBeStale(now time.Time) bool {
	return w.entry != nil && w.entry.Stored.StaleIfError(now)
}

// tryAgain reports whether a fetch that ended so is worth another attempt, and
// prepares w for it: without the entry that turned out to be of no use, or,
// if nothing stale can stand in, after a refresh that failed and once more if
// there was no connection.
func (w *want) tryAgain(err error, now time.Time) bool {
	switch {
	case err == errMismatch:
		w.entry, w.partial = nil, nil
		return true
	case err == errRefresh || err == errIncomplete: // nobody's attempt so far
		return !w.mayBeStale(now)
	case w.again || !isUnreachable(err) || w.mayBeStale(now):
		return false
	}
	w.again = true
	return true
}

// isDown reports whether an error of the next handler says that there was no
// way to the origin server, or no answer.
func isDown(err error) bool {
	var handler caddyhttp.HandlerError
	if !errors.As(err, &handler) || handler.StatusCode != http.StatusBadGateway && handler.StatusCode != http.StatusGatewayTimeout {
		return false
	}
	return errors.As(err, new(net.Error)) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// isUnreachable reports whether it says so at once: taking long is no reason
// to have it take twice as long.
func isUnreachable(err error) bool {
	var network net.Error
	return isDown(err) && !(errors.As(err, &network) && network.Timeout())
}

// response is what a fetch shares: either a stored entry (after a 304, or
// because it was stored in the meantime) or a header with a growing body.
type response struct {
	entry  *store.Entry
	stored *httpcache.Stored
	body   *collapse.Body
	part   *httpcache.Part // which of the content the body has, nil for all
	left   func()          // called when a client has left before the end; may be nil

	decided   time.Time         // when the header came
	refusal   httpcache.Refusal // why the body is not being stored, or empty
	fwdStatus int               // of the exchange with the origin server, when validating
	fill      trace.SpanContext // of the fill; invalid if nobody traces it
}

// fetch answers r with a response from the origin server, its own or one that
// several requests share:
//
//	Join ─┬─ Lead ───► lead: start a fill, be its first reader
//	      ├─ Follow ─► Wait ─┬─ Published ─► deliver, or Join for another variant
//	      │                  ├─ Released ──► own
//	      │                  ├─ Failed ────► Join once more, then what is stale, or the error
//	      │                  └─ TimedOut ──► what is stale, or Join
//	      ├─ Alone ──► own
//	      └─ Refuse ─► what is stale, or 503
func (h *Handler) fetch(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler, want want, now time.Time) error {
	want.next = next
	passes := h.state.passes(r.Header)
	if passes >= maxPasses {
		return h.loop(w, r, want.forward)
	}
	base := h.flightKey(r, want)
	flightKey := h.variantKey(base, r, want)
	if passes > 0 || h.patience.alone || want.entry != nil && !want.entry.Stored.Reusable() && h.hasCredentials(r) {
		// Of a fetch for this very store it might wait for itself; and what is
		// validated for each use may be personal, so each needs its own.
		return h.own(w, r, next, want, flightKey, now)
	}
	if want.part != nil && h.joinWhole(w, r, want, now) {
		return nil
	}
	for round := 0; round < maxRounds; round++ {
		joined := now
		flight, role := h.state.flights.Join(flightKey, h.patience.terms, now)
		switch role {
		case collapse.Lead:
			again, err := h.lead(w, r, next, &want, flight, now)
			if !again {
				return err
			}
			now = time.Now()
			continue
		case collapse.Alone:
			return h.own(w, r, next, want, flightKey, now)
		case collapse.Refuse:
			return h.turnAway(w, r, want, now)
		}
		stale := h.patience.stale && want.mayBeStale(now)
		shared, outcome, err := h.wait(r, flight, stale, now)
		now = time.Now()
		switch outcome {
		case collapse.Gone:
			w.WriteHeader(statusClientClosed)
			return nil
		case collapse.Failed:
			if want.tryAgain(err, now) {
				continue
			}
			return h.failed(w, r, want, err)
		case collapse.TimedOut:
			if stale && want.mayBeStale(now) {
				return h.standIn(w, r, want, now, "slow")
			}
			round-- // never so many that all go alone in the end
			continue
		case collapse.Released:
			return h.own(w, r, next, want, flightKey, now)
		}
		linkTo(r.Context(), shared.fill)
		if !shared.stored.Shareable(r) {
			// Another variant: wait, or fetch, with those who want the same one.
			flightKey = string(shared.stored.Vary.AppendVariant([]byte(base), r.Header))
			continue
		}
		switch {
		case shared.stored.Fresh(now):
		case h.hasCredentials(r):
			return h.own(w, r, next, want, flightKey, now) // as above
		case shared.decided.Before(joined):
			flight.Done() // stale by now, though its content still comes
			continue
		}
		if reader, ok := shared.attach(); ok {
			h.count(r, account{resultCollapsed, want.key, shared.stored, now})
			return h.deliver(w, r, shared, reader, want, true)
		}
		return h.own(w, r, next, want, flightKey, now)
	}
	return h.own(w, r, next, want, flightKey, now)
}

// wait waits for a fetch. Who has nothing stale waits until it is taken for
// stuck. Then one of them starts another and the rest follow that one, instead
// of all at once going where already one was too many.
func (h *Handler) wait(r *http.Request, flight *collapse.Flight[*response], stale bool, now time.Time) (*response, collapse.Outcome, error) {
	patience := h.patience.terms.LockAge - flight.Idle(now)
	if stale {
		patience = h.patience.wait - flight.Age(now)
	}
	shared, outcome, err := flight.Wait(r.Context(), max(patience, 0))
	h.metrics.waited[outcome].Inc()
	return shared, outcome, err
}

// turnAway answers a request that is one too many to wait.
func (h *Handler) turnAway(w http.ResponseWriter, r *http.Request, want want, now time.Time) error {
	h.metrics.turnedAway.Inc()
	if h.patience.stale && want.mayBeStale(now) {
		return h.standIn(w, r, want, now, "too-many-waiters")
	}
	h.count(r, want.account())
	w.Header().Set("Retry-After", "1")
	setStatus(w.Header(), httpcache.CacheStatus{Cache: h.id, Forward: want.forward, Detail: "too-many-waiters"}, "")
	return caddyhttp.Error(http.StatusServiceUnavailable, errors.New("too many requests wait for this response"))
}

// own fetches for r alone: what is stored is validated in a fill that nobody
// joins, anything else goes straight through.
func (h *Handler) own(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler, want want, flightKey string, now time.Time) error {
	for want.entry != nil {
		again, err := h.lead(w, r, next, &want, h.state.flights.Solo(flightKey, now), now)
		if !again {
			return err
		}
		now = time.Now()
	}
	return h.alone(w, r, next, want, flightKey)
}

// loop answers a request that went through this store too often.
func (h *Handler) loop(w http.ResponseWriter, r *http.Request, forward httpcache.Forward) error {
	h.count(r, account{result: result(forward)})
	setStatus(w.Header(), httpcache.CacheStatus{Cache: h.id, Detail: "loop"}, "")
	return caddyhttp.Error(http.StatusLoopDetected, errors.New("the request goes round in a loop"))
}

// lead starts the fill and serves the client that caused it, unless that has
// to be done again.
func (h *Handler) lead(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler, want *want, flight *collapse.Flight[*response], now time.Time) (again bool, err error) {
	// The response may have been stored between the lookup and the join.
	if e, _ := h.state.store.Lookup([]byte(want.key), r.Header, now); e != nil && e != want.entry &&
		h.policyFor(r).Decide(r, e.Stored, now).Verdict == httpcache.Hit {
		flight.Publish(&response{entry: e, stored: e.Stored, decided: now}, true)
		flight.Done()
		h.count(r, account{resultHit, e.Key, e.Stored, now})
		return false, h.replay(w, r, next, e, now, h.hitStatus(e.Stored, now))
	}
	client := newLease(w, r)
	f := h.newFill(r, next, *want, flight, w.Header(), client)
	if flight.Solo() {
		defer context.AfterFunc(r.Context(), f.cancel)() // nobody else will want it
	}
	go f.run()
	// The client stays until the header is decided even if it has left: until
	// then the fill may ask for placeholders of its request. Unless something
	// stale may stand in and it has waited long enough.
	var enough <-chan time.Time
	if h.patience.stale && want.mayBeStale(now) {
		timer := time.NewTimer(h.patience.wait)
		defer timer.Stop()
		enough = timer.C
	}
	if !client.wait(flight.Decided(), enough) {
		if now := time.Now(); want.mayBeStale(now) && client.leave() {
			f.carried.cut()
			return false, h.standIn(w, r, *want, now, "slow")
		}
		client.wait(flight.Decided(), nil)
	}
	shared, outcome, err := flight.Result()
	if outcome == collapse.Released {
		defer f.carried.cut() // the client's handler stays until the end
		return false, client.give()
	}
	f.carried.cut()
	if outcome == collapse.Failed {
		if want.tryAgain(err, time.Now()) {
			return true, nil
		}
		return false, h.failed(w, r, *want, err)
	}
	h.count(r, account{result(want.forward), want.key, shared.stored, time.Now()})
	for name, values := range f.withheld {
		addField(w.Header(), name, values)
	}
	return false, h.deliver(w, r, shared, f.reader, *want, false)
}

// failed answers a request whose fetch came to nothing: with what is stored,
// if that may stand in, else with the error.
func (h *Handler) failed(w http.ResponseWriter, r *http.Request, want want, err error) error {
	if now := time.Now(); want.mayBeStale(now) {
		return h.standIn(w, r, want, now, "stale-if-error")
	}
	h.count(r, want.account())
	setStatus(w.Header(), httpcache.CacheStatus{Cache: h.id, Forward: want.forward}, "")
	return err
}

// standIn answers with what is stored and stale, for the reason in detail.
func (h *Handler) standIn(w http.ResponseWriter, r *http.Request, want want, now time.Time, detail string) error {
	status := h.hitStatus(want.entry.Stored, now)
	status.Detail = detail
	h.count(r, account{resultHitStale, want.key, want.entry.Stored, now})
	return h.replay(w, r, want.next, want.entry, now, status)
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
func (h *Handler) deliver(w http.ResponseWriter, r *http.Request, shared *response, reader *collapse.Reader, want want, collapsed bool) error {
	now := time.Now()
	status := httpcache.CacheStatus{
		Cache:     h.id,
		Forward:   want.forward,
		FwdStatus: shared.fwdStatus,
		Stored:    shared.entry == nil && shared.refusal == "" && !collapsed,
		Collapsed: collapsed,
		Detail:    string(shared.refusal),
	}
	if shared.entry != nil {
		return h.replay(w, r, want.next, shared.entry, now, status)
	}
	defer reader.Close()
	s := shared.stored
	if s.NotModified(r, now) {
		status.FwdStatus = cmp.Or(status.FwdStatus, s.Status) // not what the client gets
		h.writeFields(w.Header(), s, now, status, httpcache.NotModifiedField)
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	span := h.startPart(w, r, shared, now, status)
	switch err := pour(w, r, reader, span); err {
	case nil, io.EOF:
	case errLeft:
		shared.leave(reader)
	default:
		breakOff(w)
	}
	return nil
}

// leave gives up the place of a client that has left before the end.
func (s *response) leave(reader *collapse.Reader) {
	reader.Close()
	if s.left != nil {
		s.left()
	}
}

// refresh fetches the successor of an entry in the background, if it is the
// turn of this request to cause that.
func (h *Handler) refresh(preset http.Header, r *http.Request, next caddyhttp.Handler, e *store.Entry, key string, now time.Time) {
	if early(r) || !e.Refresh.Take(now) {
		return
	}
	want := want{key: key, entry: e, forward: httpcache.ForwardStale, part: somePart(e)}
	flight := h.state.flights.Lead(h.variantKey(h.flightKey(r, want), r, want), h.patience.terms, now)
	if flight == nil {
		e.Refresh.Free() // somebody fetches it in the foreground
		return
	}
	f := h.newFill(r, next, want, flight, preset, nil)
	f.carried.cut()
	go f.run()
}
