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
	if !isPost(w, r) {
		return
	}
	o := Override{State: AdminDrain, Node: strings.TrimPrefix(r.URL.Path, drainPath), Reason: r.URL.Query().Get("reason")}
	if node, ok := strings.CutPrefix(r.URL.Path, undrainPath); ok {
		o.State, o.Node = AdminAuto, node
	}
	var err error
	if o.By, o.Self, err = h.speaksFor(r, o.Node); err != nil {
		http.Error(w, err.Error(), http.StatusForbidden)
		return
	}
	o, err = h.feed.override(o)
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

// speaksFor returns who asks for something to be done about a node, if they may: by certificate an operator, or an edge for the node
// that the inventory says it is; without certificates whoever is on this host. What an edge
// says is self, its own word: one whose key was stolen stays where the operator put it.
func (h *Hub) speaksFor(r *http.Request, node string) (by string, self bool, err error) {
	if err := crossOrigin.Check(r); err != nil { // a browser shows an operator's certificate for any page
		return "", false, err
	}
	if r.TLS != nil {
		peer, err := identity.PeerOf(r.TLS)
		switch {
		case err != nil:
			return "", false, err
		case peer.Role == identity.Operator:
			return peer.ID, false, nil
		case peer.Role == identity.Edge && h.isNode(node, peer.ID):
			return peer.ID, true, nil
		}
		return "", false, errors.New(peer.ID + " may not speak for that node")
	}
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || !from.Addr().Unmap().IsLoopback() {
		return "", false, errors.New("without certificates only this host may do that")
	}
	// A page can have its own name resolve to a loopback address, and would then be
	// of the same origin.
	host := r.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err != nil && host != "localhost" {
		return "", false, errors.New("without certificates the host is an address or localhost")
	}
	return "this host", false, nil
}

// isPost answers what is not a POST.
func isPost(w http.ResponseWriter, r *http.Request) bool {
	if r.Method == http.MethodPost {
		return true
	}
	w.Header().Set("Allow", "POST")
	http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
	return false
}

// isNode reports whether the inventory says that node proves itself by id.
func (h *Hub) isNode(node, id string) bool {
	inv := h.feed.Table().Inventory
	i := inv.Lookup(node)
	return i >= 0 && id != "" && inv.Nodes[i].SPIFFE == id
}
