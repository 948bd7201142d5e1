package healthfeed

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
)

// Whoever knows that something about a node has changed, as the node itself does when
// it begins to drain, need not wait until it is asked:
//
//	edge ── POST /v1/probe/NODE ──► Hub ──► Config.Hasten ──► the prober
//	  ▲                                                          │
//	  └──────────────── its next round, now ─────────────────────┘
//
// Nothing is believed for that. What it is like is found out as ever, by the probe.
const hastenPath = "/v1/probe/"

// ErrNobodyProbes is Hasten's when nobody that it could ask makes checks.
var ErrNobodyProbes = errors.New("nobody here probes")

// Hasten has a node probed soon, by this process if it probes, and by those whose hubs are
// sources of f. Nothing depends on it. It returns what the hubs answered that did not agree,
// and who could not be reached before ctx ended; a hub that follows others is no error if
// somebody else was told.
func (f *Feed) Hasten(ctx context.Context, node string) error {
	told := 0
	if f.config.Hasten != nil {
		f.config.Hasten(node)
		told++
	}
	answers := make(chan error, len(f.config.Sources))
	var wg sync.WaitGroup
	for _, s := range f.config.Sources {
		if hub, ok := s.(*urlSource); ok && hub.isHub() {
			wg.Go(func() { answers <- hub.hasten(ctx, node) })
		}
	}
	wg.Wait()
	close(answers)
	var errs []error
	for err := range answers {
		switch {
		case err == nil:
			told++
		case !errors.Is(err, ErrNobodyProbes):
			errs = append(errs, err)
		}
	}
	if told == 0 && errs == nil {
		return ErrNobodyProbes
	}
	return errors.Join(errs...)
}

// isHub reports whether the url is that of a [Hub], as far as one can tell.
func (s *urlSource) isHub() bool {
	u, err := feedURL(s.url)
	return err == nil && strings.HasSuffix(u.Path, feedPath)
}

// hasten asks the hub.
func (s *urlSource) hasten(ctx context.Context, node string) error {
	u, err := feedURL(s.url)
	if err != nil {
		return err
	}
	u.Path = strings.TrimSuffix(u.Path, feedPath) + hastenPath + node
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), nil)
	if err != nil {
		return err
	}
	client := s.client
	if client == nil {
		client = s.direct(ctx)
		defer client.CloseIdleConnections()
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	why, _ := io.ReadAll(io.LimitReader(response.Body, maxReason))
	switch response.StatusCode {
	case http.StatusAccepted:
		return nil
	case http.StatusConflict:
		return ErrNobodyProbes
	default:
		return fmt.Errorf("%s answers %d: %s", u.String(), response.StatusCode, strings.TrimSpace(string(why)))
	}
}

// hasten serves POST /v1/probe/NODE.
func (h *Hub) hasten(w http.ResponseWriter, r *http.Request) {
	if !isPost(w, r) {
		return
	}
	node := strings.TrimPrefix(r.URL.Path, hastenPath)
	if _, _, err := h.speaksFor(r, node); err != nil && !h.isFrom(r, node) {
		http.Error(w, err.Error(), http.StatusForbidden)
		return
	}
	switch {
	case h.feed.Table().Inventory.Lookup(node) < 0:
		http.Error(w, "no such node", http.StatusNotFound)
	case h.feed.config.Hasten == nil:
		http.Error(w, ErrNobodyProbes.Error(), http.StatusConflict)
	default:
		h.feed.config.Hasten(node)
		w.WriteHeader(http.StatusAccepted)
	}
}

// isFrom reports whether a request without TLS comes from an address of the node, and is
// not one that a page of somebody else made a browser send.
func (h *Hub) isFrom(r *http.Request, node string) bool {
	inv := h.feed.Table().Inventory
	i := inv.Lookup(node)
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	return r.TLS == nil && i >= 0 && err == nil && crossOrigin.Check(r) == nil && slices.Contains(inv.Nodes[i].Addrs, from.Addr().Unmap())
}
