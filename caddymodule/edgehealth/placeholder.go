package edgehealth

import (
	"strings"

	"github.com/tandem-cdn/tandem/healthfeed"
)

// placeholder finds the value of a placeholder that begins with `edgehealth.`:
//
//	edgehealth.freshness           what the states rest on
//	edgehealth.self.id             as configured
//	edgehealth.self.FIELD          of this node
//	edgehealth.node.ID.FIELD       of the node with that ID, which may have dots
//
// where FIELD is `state`, `reason`, `health` or `acceptance`. A node that is not in
// the inventory is unknown, and the rest of it is empty: nodes come and go while a
// configuration stays.
func (a *App) placeholder(key string) (any, bool) {
	key, ours := strings.CutPrefix(key, "edgehealth.")
	if !ours {
		return nil, false
	}
	switch key {
	case "freshness":
		return a.Table().Freshness.String(), true
	case "self.id":
		return a.SelfID, true
	case "self.state":
		return a.selfState().String(), true
	}
	if field, self := strings.CutPrefix(key, "self."); self {
		return a.field(a.SelfID, field)
	}
	rest, node := strings.CutPrefix(key, "node.")
	if dot := strings.LastIndexByte(rest, '.'); node && dot >= 0 {
		return a.field(rest[:dot], rest[dot+1:])
	}
	return nil, false
}

// field is one field of one node.
func (a *App) field(id, field string) (any, bool) {
	s, known := a.Table().Lookup(id)
	var value any
	switch field {
	case "state":
		return s.State.String(), true
	case "reason":
		value = s.Reason
	case "health":
		value = s.Health
	case "acceptance":
		value = s.Acceptance
	default:
		return nil, false
	}
	if !known {
		value = ""
	}
	return value, true
}

// selfState is the state of this node: what the feed says, and before that hears of
// it, that it drains. Without `self`, or while the feed does not know the node, it
// is unknown.
func (a *App) selfState() healthfeed.State {
	s, _ := a.Table().Lookup(a.SelfID)
	if s.State != healthfeed.Down && here().drain.state() != serving {
		return healthfeed.Draining
	}
	return s.State
}
