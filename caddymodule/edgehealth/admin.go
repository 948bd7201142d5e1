package edgehealth

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/tandem-cdn/tandem/healthfeed"
)

func init() {
	caddy.RegisterModule(adminAPI{})
}

// adminAPI answers on the admin endpoint:
//
//	GET  /edgehealth/nodes    what the feed of the running configuration knows
//	GET  /edgehealth/watch    the same as a stream: every change, a line each
//	GET  /edgehealth/drain    whether this node drains
//	POST /edgehealth/drain    drain it; DELETE takes that back
type adminAPI struct{}

// CaddyModule returns the Caddy module information.
func (adminAPI) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "admin.api.edgehealth",
		New: func() caddy.Module { return new(adminAPI) },
	}
}

// Provision adds the metrics to the registry of every configuration, even of one
// without the app: after a failed reload the admin endpoint goes on with the
// registry of the configuration that failed, at whatever point it did.
func (adminAPI) Provision(ctx caddy.Context) error { return registerMetrics(ctx) }

// Routes implements [caddy.AdminRouter].
func (adminAPI) Routes() []caddy.AdminRoute {
	return []caddy.AdminRoute{
		{Pattern: "/edgehealth/nodes", Handler: caddy.AdminHandlerFunc(serveNodes)},
		{Pattern: "/edgehealth/watch", Handler: caddy.AdminHandlerFunc(serveWatch)},
		{Pattern: "/edgehealth/drain", Handler: caddy.AdminHandlerFunc(serveDrain)},
	}
}

// nodesJSON is the answer of /edgehealth/nodes.
type nodesJSON struct {
	Self       string               `json:"self,omitempty"`
	Generation uint64               `json:"generation"`
	Freshness  healthfeed.Freshness `json:"freshness"`
	Refused    uint64               `json:"refused"`
	Nodes      []nodeJSON           `json:"nodes"`
}

type nodeJSON struct {
	ID         string           `json:"id"`
	State      healthfeed.State `json:"state"`
	Reason     string           `json:"reason"`
	Since      time.Time        `json:"since"`
	Health     float64          `json:"health"`
	Acceptance float64          `json:"acceptance"`
	RTT        healthfeed.RTT   `json:"rtt_us"`
	Load       healthfeed.Load  `json:"load"`
}

// serveNodes answers /edgehealth/nodes.
func serveNodes(w http.ResponseWriter, r *http.Request) error {
	if err := onlyMethods(w, r, http.MethodGet, http.MethodHead); err != nil {
		return err
	}
	app, err := activeOrNotFound()
	if err != nil {
		return err
	}
	t := app.Table()
	answer := nodesJSON{
		Self:       app.Self(),
		Generation: t.Generation,
		Freshness:  t.Freshness,
		Refused:    app.feed.Refused(),
		Nodes:      make([]nodeJSON, len(t.Nodes)),
	}
	for i := range t.Nodes {
		s := &t.Nodes[i]
		answer.Nodes[i] = nodeJSON{
			ID:         t.Inventory.Nodes[i].ID,
			State:      s.State,
			Reason:     s.Reason,
			Since:      s.Since.Round(time.Millisecond),
			Health:     s.Health,
			Acceptance: s.Acceptance,
			RTT:        s.RTT,
			Load:       s.Load,
		}
	}
	return writeJSON(w, answer)
}

// drainJSON is the answer of /edgehealth/drain.
type drainJSON struct {
	State       string     `json:"state"` // serving, draining or drained
	Since       *time.Time `json:"since,omitempty"`
	InFlight    int64      `json:"inflight"`
	Connections int64      `json:"connections"`
}

// serveDrain answers /edgehealth/drain. What is asked for twice is done once, and
// is no error. It needs no app: the drain is this process's own.
func serveDrain(w http.ResponseWriter, r *http.Request) error {
	if err := onlyMethods(w, r, http.MethodGet, http.MethodHead, http.MethodPost, http.MethodDelete); err != nil {
		return err
	}
	n := here()
	changed := false
	switch r.Method {
	case http.MethodPost:
		if changed = n.drain.start(time.Now()); changed {
			caddy.Log().Named("edgehealth").Info("draining: probers are told to send no new clients")
		}
	case http.MethodDelete:
		if changed = n.drain.stop(); changed {
			caddy.Log().Named("edgehealth").Info("serving again: the drain is taken back")
		}
	}
	if app, ok := active(); ok && changed && app.SelfID != "" {
		go app.feed.hasten(app.SelfID)
	}
	state, since := n.drain.began()
	c := n.counts()
	answer := drainJSON{State: state.String(), InFlight: c.inFlight, Connections: c.connections}
	if !since.IsZero() {
		since = since.Round(time.Millisecond)
		answer.Since = &since
	}
	return writeJSON(w, answer)
}

// onlyMethods refuses other methods.
func onlyMethods(w http.ResponseWriter, r *http.Request, methods ...string) error {
	if slices.Contains(methods, r.Method) {
		return nil
	}
	w.Header().Set("Allow", strings.Join(methods, ", "))
	return caddy.APIError{
		HTTPStatus: http.StatusMethodNotAllowed,
		Err:        fmt.Errorf("method %s is not allowed here", r.Method),
	}
}

// activeOrNotFound returns the app of the running configuration.
func activeOrNotFound() (*App, error) {
	app, ok := active()
	if !ok {
		return nil, caddy.APIError{
			HTTPStatus: http.StatusNotFound,
			Err:        errors.New("the running configuration has no edgehealth app"),
		}
	}
	return app, nil
}

// writeJSON answers with one line of JSON.
func writeJSON(w http.ResponseWriter, answer any) error {
	body, err := json.Marshal(answer)
	if err != nil {
		return caddy.APIError{HTTPStatus: http.StatusInternalServerError, Err: err}
	}
	w.Header().Set("Content-Type", "application/json")
	_, err = w.Write(append(body, '\n'))
	return err
}

// Interface guards
var (
	_ caddy.Provisioner = adminAPI{}
	_ caddy.AdminRouter = adminAPI{}
)
