package edgehealth

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/tandem-cdn/tandem/healthfeed"
)

// watchPause is how long a stream waits before it looks whether it is still about
// the running configuration.
const watchPause = time.Second

// writeTimeout is for what is written at once.
const writeTimeout = 10 * time.Second

// A change is a node whose state is another than before. It is a line of
// /edgehealth/watch, and the data of the event.
type change struct {
	Time   time.Time `json:"time"`
	Node   string    `json:"node"`
	State  string    `json:"state"`
	Was    string    `json:"was,omitempty"` // "" for a node that was not there
	Reason string    `json:"reason,omitempty"`
}

// gone is the state of a node that has left the inventory, in a change.
const gone = "gone"

// changes returns what is different between two tables, in the order of the nodes'
// IDs. Without a table before, every node is news.
func changes(before, after *healthfeed.Table, now time.Time) []change {
	var found []change
	i, j := 0, 0
	var old []healthfeed.Node
	if before != nil {
		old = before.Inventory.Nodes
	}
	for i < len(old) || j < len(after.Nodes) {
		switch {
		case j == len(after.Nodes) || i < len(old) && old[i].ID < after.Inventory.Nodes[j].ID:
			found = append(found, change{Time: now, Node: old[i].ID, State: gone, Was: before.Nodes[i].State.String()})
			i++
		case i == len(old) || after.Inventory.Nodes[j].ID < old[i].ID:
			s := &after.Nodes[j]
			found = append(found, change{Time: now, Node: after.Inventory.Nodes[j].ID, State: s.State.String(), Reason: s.Reason})
			j++
		default:
			was, is := before.Nodes[i].State, &after.Nodes[j]
			if was != is.State {
				found = append(found, change{Time: now, Node: old[i].ID, State: is.State.String(), Was: was.String(), Reason: is.Reason})
			}
			i, j = i+1, j+1
		}
	}
	return found
}

// serveWatch answers /edgehealth/watch: a line of JSON for every node, and one for
// every change from then on, until the client goes or another configuration runs.
func serveWatch(w http.ResponseWriter, r *http.Request) error {
	if err := onlyMethods(w, r, http.MethodGet); err != nil {
		return err
	}
	app, err := activeOrNotFound()
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	lines := json.NewEncoder(w)
	controller := http.NewResponseController(w)
	var seen *healthfeed.Table
	defer controller.SetWriteDeadline(time.Time{}) // the connection may be used again
	for t := app.Table(); ; {
		// One who reads no longer must not be written to for ever.
		if err := controller.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
			return err
		}
		for _, c := range changes(seen, t, time.Now().Round(time.Millisecond)) {
			if err := lines.Encode(c); err != nil {
				return nil // the client is gone
			}
		}
		if err := controller.Flush(); err != nil {
			return nil
		}
		seen = t
		ctx, cancel := context.WithTimeout(r.Context(), watchPause)
		next, err := app.feed.Next(ctx, seen.Generation)
		cancel()
		switch running, ok := active(); {
		case r.Context().Err() != nil, !ok || running != app:
			return nil
		case err == nil:
			t = next
		}
	}
}
