package healthfeed

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"
)

// A hearing is what a urlSource knows of its hub.
type hearing struct {
	// set at construction
	url     string
	client  *http.Client
	pace    pace
	request *http.Request
	feed    *Feed
	streams bool // the hub may have /v1/watch

	// owned by Run
	complaint complaint
	etag      string // of the last poll that was taken
	last      string // id of the last event that was taken
	heard     int    // snapshots and events that were taken, polls without news included
}

var errNoStream = errors.New("the hub has no stream")

// listen follows the hub until it fails.
func (h *hearing) listen(ctx context.Context) error {
	if h.streams {
		if err := h.stream(ctx); !errors.Is(err, errNoStream) {
			return err
		}
	}
	return h.polls(ctx)
}

// polls asks again and again, until it fails or the hub may have a stream by now.
func (h *hearing) polls(ctx context.Context) error {
	started := time.Now()
	for {
		if err := h.poll(ctx); err != nil {
			return err
		}
		h.heard++
		h.complaint.note(nil)
		pause := h.pace.interval
		select {
		case <-time.After(pause*9/10 + rand.N(pause/5)):
		case <-ctx.Done():
			return nil
		}
		if h.streams && time.Since(started) > h.pace.again {
			return nil
		}
	}
}

// poll asks the hub once and offers what is new.
func (h *hearing) poll(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, h.pace.timeout)
	defer cancel()
	request := h.request.Clone(ctx)
	if h.etag != "" {
		request.Header.Set("If-None-Match", h.etag)
	}
	response, err := h.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	switch {
	case response.StatusCode == http.StatusNotModified && h.etag != "":
		return nil
	case response.StatusCode != http.StatusOK:
		h.feed.refused.add(RefusedUnreadable)
		return fmt.Errorf("%s answers %d", h.url, response.StatusCode)
	}
	started := time.Now()
	data, err := io.ReadAll(io.LimitReader(response.Body, MaxSnapshot+1))
	if err != nil {
		return fmt.Errorf("%s: %w", h.url, err)
	}
	// A snapshot grows older while it is being sent.
	if err := h.feed.Receive(data, time.Since(started)); err != nil {
		return fmt.Errorf("%s: %w", h.url, err)
	}
	h.etag = response.Header.Get("ETag")
	return nil
}

// stream takes events until there are no more, which is always an error.
func (h *hearing) stream(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watchdog := time.AfterFunc(h.pace.timeout, func() { cancel(context.DeadlineExceeded) })
	defer watchdog.Stop()
	request := h.request.Clone(ctx)
	request.URL.Path = strings.TrimSuffix(request.URL.Path, feedPath) + watchPath
	request.Header.Set("Accept", eventStream)
	if h.last != "" {
		request.Header.Set("Last-Event-ID", h.last)
	}
	response, err := h.client.Do(request)
	if err != nil {
		return cause(ctx, err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK || !isEventStream(response.Header.Get("Content-Type")) {
		io.CopyN(io.Discard, response.Body, 4<<10) // so that the connection can be used again
		return errNoStream
	}
	alive := aliveReader{response.Body, func() { watchdog.Reset(h.pace.silence) }}
	events := eventReader{bufio.NewReaderSize(alive, 64<<10), MaxSnapshot}
	for {
		e, err := events.next()
		if err != nil {
			return fmt.Errorf("%s: the stream ended: %w", h.url, cause(ctx, err))
		}
		if err := h.feed.Receive(e.data, time.Since(e.started)); err != nil {
			h.last = "" // whatever it was, begin anew
			return fmt.Errorf("%s: %w", h.url, err)
		}
		h.last = e.id
		h.heard++
		h.complaint.note(nil)
	}
}

// cause returns why ctx was cancelled, if it was, since that is why err happened.
func cause(ctx context.Context, err error) error {
	if c := context.Cause(ctx); c != nil {
		return c
	}
	return err
}

// An aliveReader calls alive whenever something came.
type aliveReader struct {
	r     io.Reader
	alive func()
}

func (r aliveReader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	if n > 0 {
		r.alive()
	}
	return n, err
}
