package healthfeed

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
	"unicode"
	"unicode/utf8"
)

// An Override is what an operator said of one node while everything ran, or the node of
// itself. Every hub may be told, and all agree: of each of the two, the word with the
// highest Rev wins. A node is drained if the operator's word is drain, or its own is
// and the operator has not taken back a drain since.
//
//	{"node": "lon1", "state": "drain", "rev": 1772355600000, "by": "spiffe://cdn.example/operator/jo",
//	 "reason": "new disks", "at": "2026-03-01T09:00:00Z"}
type Override struct {
	Node string `json:"node"`

	// State is drain, or auto once that is taken back. Another word is one of a later
	// version: it is passed on, and means nothing here.
	State AdminState `json:"state"`

	// Rev is when it was said, in Unix milliseconds, but greater than that of any word about
	// the node that its hub had heard of, whatever the clocks say.
	Rev uint64 `json:"rev"`

	// Self says that it is the node's own word, which takes no operator's back.
	Self bool `json:"self,omitempty"`

	By     string    `json:"by,omitempty"`
	Reason string    `json:"reason,omitempty"`
	At     time.Time `json:"at,omitzero"` // for people; it orders nothing
}

const (
	// maxOverrides bounds what is remembered, taken back or not.
	maxOverrides = 20_000

	// lateRev is a Rev that no clock will say for long, of the year 2248.
	lateRev = 1 << 43

	// maxReason is the length of By and Reason in bytes.
	maxReason = 200
)

// Validate returns what is wrong with an override.
func (o *Override) Validate() error {
	if err := CheckName(o.Node); err != nil {
		return fmt.Errorf("override: node %w", err)
	}
	if err := CheckName(string(o.State)); err != nil {
		return fmt.Errorf("override of %q: state %w", o.Node, err)
	}
	switch {
	case o.Rev == 0 || o.Rev > maxEpoch:
		return fmt.Errorf("override of %q: rev %d is outside 1 to %d", o.Node, o.Rev, int64(maxEpoch))
	case !printable(o.By) || !printable(o.Reason):
		return fmt.Errorf("override of %q: who and why are at most %d bytes of printable text", o.Node, maxReason)
	}
	return nil
}

func printable(s string) bool {
	if len(s) > maxReason || !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		if !unicode.IsPrint(r) {
			return false
		}
	}
	return true
}

// compare orders words of one key; those of equal Rev were said at two hubs at the same
// time, and any order will do that is the same everywhere.
func (o *Override) compare(other *Override) int {
	return cmp.Or(
		cmp.Compare(o.Rev, other.Rev),
		cmp.Compare(o.State, other.State), // drain wins over auto
		cmp.Compare(o.By, other.By),
		cmp.Compare(o.Reason, other.Reason),
	)
}

// own is the key of a node's own word; an operator's has the name of the node.
func own(node string) string { return node + "/self" }

// key tells which words an override is one of.
func (o *Override) key() string {
	if o.Self {
		return own(o.Node)
	}
	return o.Node
}

// A word is an override and the version of the feed that brought it.
type word struct {
	Override
	version uint64
}

// words are the last ones, by key.
type words map[string]word

// on returns the word that counts of a node: the operator's, but the node's own if that is
// later and the operator's is not to drain.
func (w words) on(node string) (o word, ok bool) {
	o, ok = w[node]
	if self, said := w[own(node)]; said && o.State != AdminDrain && self.Rev > o.Rev {
		return self, true
	}
	return o, ok
}

// last is the largest Rev of the words about a node.
func (w words) last(node string) uint64 { return max(w[node].Rev, w[own(node)].Rev) }

// Errors of Drain and Undrain.
var (
	ErrNoNode      = errors.New("no such node")
	ErrNoState     = errors.New("there is no state file to keep it in")
	ErrBadOverride = errors.New("bad override")
)

// Drain tells all who follow this feed that a node is to take no new clients; by and
// reason are for people. It is in the state file when Drain returns, and is true until
// Undrain takes it back. It does not call back a node that the inventory has down.
func (f *Feed) Drain(node, by, reason string) (Override, error) {
	return f.override(Override{Node: node, State: AdminDrain, By: by, Reason: reason})
}

// Undrain takes back what Drain said, here or elsewhere. What the inventory says of
// the node is true again, and a drain that the node asked for is over, too.
func (f *Feed) Undrain(node, by, reason string) (Override, error) {
	return f.override(Override{Node: node, State: AdminAuto, By: by, Reason: reason})
}

// override says o now.
func (f *Feed) override(o Override) (Override, error) {
	if f.config.StateFile == "" {
		return Override{}, ErrNoState
	}
	f.writing.Lock()
	defer f.writing.Unlock()
	f.mu.Lock()
	known := f.inventory.Lookup(o.Node) >= 0
	now := time.Now().UTC()
	// A hub may not have heard what others were told, as when they follow it: it would count
	// on from a number that is long passed there.
	o.Rev, o.At = max(f.overrides.last(o.Node)+1, uint64(max(now.UnixMilli(), 0))), now.Truncate(time.Second)
	s := f.stateLocked()
	f.mu.Unlock()
	if !known {
		return Override{}, fmt.Errorf("%w: %q", ErrNoNode, o.Node)
	}
	s.Overrides = slices.DeleteFunc(s.Overrides, func(old Override) bool { return old.key() == o.key() })
	s.Overrides = append(s.Overrides, o)
	if err := s.Validate(); err != nil {
		return Override{}, fmt.Errorf("%w: %w", ErrBadOverride, err)
	}
	if err := WriteFile(f.config.StateFile, s); err != nil {
		f.unwritten.Add(1)
		return Override{}, err
	}
	f.config.Log.Info("operator", "node", o.Node, "state", string(o.State), "by", o.By, "reason", o.Reason)
	return o, f.Offer(&Snapshot{Overrides: []Override{o}})
}

// Override returns the word about a node that counts, if there was any.
func (f *Feed) Override(node string) (Override, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	o, ok := f.overrides.on(node)
	return o.Override, ok
}

// Overrides returns the last words about every node that there were any about, by node.
func (f *Feed) Overrides() []Override {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.overridesSince(0)
}

// takeOverrides keeps the words that are newer; f.mu is held. Rev is bounded, as
// nobody is to say a word that no other can come after: from 2248 on it counts as one more
// than the last.
func (f *Feed) takeOverrides(list []Override, version uint64) (changed bool, err error) {
	newer := words{}
	for _, o := range list {
		o.Rev = min(o.Rev, max(lateRev, f.overrides.last(o.Node)+1))
		old := f.overrides[o.key()].Override
		if other, twice := newer[o.key()]; twice {
			old = other.Override
		}
		if o.compare(&old) > 0 {
			newer[o.key()] = word{o, version}
		}
	}
	all := len(f.overrides)
	for key := range newer {
		if _, known := f.overrides[key]; !known {
			all++
		}
	}
	if all > maxOverrides {
		return false, fmt.Errorf("snapshot: %d overrides are more than %d", all, maxOverrides)
	}
	maps.Copy(f.overrides, newer)
	if len(newer) > 0 {
		f.effective = nil
	}
	return len(newer) > 0, nil
}

// overridesSince lists the words after a version by node; f.mu is held.
func (f *Feed) overridesSince(version uint64) []Override {
	var list []Override
	for _, key := range slices.Sorted(maps.Keys(f.overrides)) {
		if o := f.overrides[key]; o.version > version {
			list = append(list, o.Override)
		}
	}
	return list
}

// effectiveLocked returns the inventory with the nodes drained that operators have
// drained; f.mu is held. It is the same as long as nothing changes.
func (f *Feed) effectiveLocked() *Inventory {
	if f.effective == nil {
		f.effective = withOverrides(f.inventory, f.overrides)
	}
	return f.effective
}

func withOverrides(inv *Inventory, overrides words) *Inventory {
	var nodes []Node
	for _, o := range overrides {
		o, _ = overrides.on(o.Node)
		i := inv.Lookup(o.Node)
		if o.State != AdminDrain || i < 0 || inv.Nodes[i].State == AdminDown {
			continue
		}
		if nodes == nil {
			nodes = slices.Clone(inv.Nodes)
		}
		nodes[i].State = AdminDrain
	}
	if nodes == nil {
		return inv
	}
	with := *inv
	with.Nodes = nodes
	return &with
}
