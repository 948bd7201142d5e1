package edgecache

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/tandem-cdn/tandem/internal/httpcache"
	"github.com/tandem-cdn/tandem/internal/store"
)

// finish stores what is complete and tells everybody who still waits.
func (f *fill) finish(err error) {
	switch {
	case f.writer.client != nil: // live
		f.writer.sendTrailers()
		f.client.end(err)
	case f.body != nil:
		f.commit(err)
	default:
		select {
		case <-f.flight.Decided():
			return // at the header: a 304, a failure, or nobody to give it to
		default:
		}
		var handler caddyhttp.HandlerError
		switch {
		case err == nil: // cancelled: nobody waits
			err = caddyhttp.Error(http.StatusGatewayTimeout, context.Canceled)
		case errors.Is(err, http.ErrAbortHandler):
			err = caddyhttp.Error(http.StatusBadGateway, err)
		case errors.As(err, &handler) && handler.StatusCode < 500 && f.ctx.Err() == nil && f.want.sliced == nil:
			// What is wrong with this request may be right with the next. Of a
			// slice nobody has anything alone.
			f.flight.Release(time.Now())
			if f.claim() {
				setStatus(f.writer.client.Header(), httpcache.CacheStatus{Cache: f.handler.id, Forward: f.want.forward}, "")
				f.client.end(err)
			}
			return
		}
		f.fail(err)
	}
}

// fail shares an error with those who wait, if nothing is decided yet. It is
// left standing if there is no way to the origin server and none of them will
// try again.
func (f *fill) fail(err error) {
	standing := time.Duration(0)
	if want := f.want; f.client != nil && !f.writer.wrote && f.ctx.Err() == nil && isDown(err) && !want.tryAgain(err, time.Now()) {
		standing = downTime
	}
	f.flight.Fail(err, standing)
}

// commit ends the body and stores the response if it is whole.
func (f *fill) commit(err error) {
	h := f.handler
	if err == nil {
		err = f.writer.complete(f.part)
	}
	if err == nil {
		err = f.ctx.Err() // cancelled, which some handlers take for the end
	}
	if err == nil && f.part != nil && f.want.partial != nil {
		f.copyStored(httpcache.Span{First: f.part.End(), Length: f.part.Size - f.part.End()})
	}
	content := f.body.End(err)
	var e *store.Entry // with the content, for the account of who still reads it
	switch {
	case err != nil:
		h.metrics.refuse(refusedBroken)
		if c := h.logger.Check(zap.DebugLevel, "response not stored"); c != nil {
			c.Write(zap.Error(err))
		}
		f.flight.Done()
		return
	case f.refusal != "":
		e = h.entry(f.want.key, f.stored, content)
	case !f.body.Whole():
		h.metrics.refuse(httpcache.RefusedTooLarge)
		f.flight.Retire(time.Now()) // longer than what is stored
		return
	case f.want.sliced != nil:
		c := f.want.sliced.Sliced
		e = h.state.store.PutSlice(c, f.part.First/c.Size, content, time.Now())
	case f.want.partial != nil: // all of it is there now
		e = h.storeWhole(f.want.key, f.stored, content, f.generation)
	default:
		e = h.storeFetched(f.want.key, f.asked, f.stored, f.part, content, f.generation)
	}
	h.state.keep(f.body, e)
	f.flight.Done()
}
