package healthfeed

import (
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/tandem-cdn/tandem/healthfeed/identity"
)

const (
	drainPath   = "/v1/drain/"
	undrainPath = "/v1/undrain/"
)

// crossOrigin tells requests that a page of somebody else makes a browser send.
var crossOrigin http.CrossOriginProtection

// drain serves POST /v1/drain/NODE?reason=WORDS and /v1/undrain/NODE. It answers with
// the [Override], which is in the state file by then.
func (h *Hub) drain(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", "POST")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	do, node := h.feed.Drain, strings.TrimPrefix(r.URL.Path, drainPath)
	if n, ok := strings.CutPrefix(r.URL.Path, undrainPath); ok {
		do, node = h.feed.Undrain, n
	}
	by, err := h.mayDrain(r, node)
	if err != nil {
		http.Error(w, err.Error(), http.StatusForbidden)
		return
	}
	o, err := do(node, by, r.URL.Query().Get("reason"))
	switch {
	case errors.Is(err, ErrNoNode):
		http.Error(w, err.Error(), http.StatusNotFound)
	case errors.Is(err, ErrNoState):
		http.Error(w, err.Error(), http.StatusConflict)
	case errors.Is(err, ErrBadOverride):
		http.Error(w, err.Error(), http.StatusBadRequest)
	case err != nil:
		http.Error(w, "not done: "+err.Error(), http.StatusServiceUnavailable)
	default:
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		json.NewEncoder(w).Encode(o)
	}
}

// mayDrain returns who asks, if they may: by certificate an operator, or an edge for the node
// that the inventory says it is; without certificates whoever is on this host.
func (h *Hub) mayDrain(r *http.Request, node string) (by string, err error) {
	if err := crossOrigin.Check(r); err != nil { // a browser shows an operator's certificate for any page
		return "", err
	}
	if r.TLS != nil {
		peer, err := identity.PeerOf(r.TLS)
		switch {
		case err != nil:
			return "", err
		case peer.Role == identity.Operator, peer.Role == identity.Edge && h.isNode(node, peer.ID):
			return peer.ID, nil
		}
		return "", errors.New(peer.ID + " may not drain that node")
	}
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || !from.Addr().Unmap().IsLoopback() {
		return "", errors.New("without certificates only this host may drain")
	}
	// A page can have its own name resolve to a loopback address, and would then be
	// of the same origin.
	host := r.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err != nil && host != "localhost" {
		return "", errors.New("without certificates the host is an address or localhost")
	}
	return "this host", nil
}

// isNode reports whether the inventory says that node proves itself by id.
func (h *Hub) isNode(node, id string) bool {
	inv := h.feed.Table().Inventory
	i := inv.Lookup(node)
	return i >= 0 && id != "" && inv.Nodes[i].SPIFFE == id
}
