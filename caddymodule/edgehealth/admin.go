package edgehealth

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/tandem-cdn/tandem/healthfeed"
)

func init() {
	caddy.RegisterModule(adminAPI{})
}

// adminAPI answers GET /edgehealth/nodes on the admin endpoint with what the
// feed of the running configuration knows.
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
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		return caddy.APIError{
			HTTPStatus: http.StatusMethodNotAllowed,
			Err:        fmt.Errorf("method %s is not allowed here", r.Method),
		}
	}
	app, ok := active()
	if !ok {
		return caddy.APIError{
			HTTPStatus: http.StatusNotFound,
			Err:        errors.New("the running configuration has no edgehealth app"),
		}
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
