package healthfeed

import (
	"fmt"
	"time"
)

// State is what is known of a node: in a Table the outcome, in a Record a vote.
type State uint8

const (
	// Unknown is a node that nobody has measured yet. It is treated as up.
	Unknown State = iota

	// Up takes its full share.
	Up

	// Degraded takes clients, but fewer.
	Degraded

	// Draining serves the clients it has and takes no new ones.
	Draining

	// Down takes no clients.
	Down

	// Abstain is a vote only: this prober cannot say. It is never in a Table.
	Abstain
)

var stateNames = [...]string{"unknown", "up", "degraded", "draining", "down", "abstain"}

// String returns the word used in records, metrics and logs.
func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return fmt.Sprintf("state(%d)", uint8(s))
}

// MarshalText implements [encoding.TextMarshaler].
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler]. A word that is not known is read
// as Abstain and is no error: a later version of a prober may have more of them, and what
// else it says is good to know.
func (s *State) UnmarshalText(text []byte) error {
	*s = Abstain
	for i, name := range stateNames {
		if name == string(text) {
			*s = State(i)
		}
	}
	return nil
}

// TakesClients reports whether new clients may be sent to a node in this state.
func (s State) TakesClients() bool { return s == Unknown || s == Up || s == Degraded }

// Freshness says what a Table rests on.
type Freshness uint8

const (
	// Static: no prober has ever been heard, or none for so long that what
	// they said is forgotten. Every node that the operator does not hold
	// back takes clients.
	Static Freshness = iota

	// LastKnownGood: no prober has a say any more, and the states of the
	// last table hold for a while.
	LastKnownGood

	// Frozen: all probers are past their TTL; their votes hold.
	Frozen

	// Fresh: at least one prober is within its TTL.
	Fresh
)

var freshnessNames = [...]string{"static", "last-known-good", "frozen", "fresh"}

// String returns the word used in metrics and logs.
func (f Freshness) String() string {
	if int(f) < len(freshnessNames) {
		return freshnessNames[f]
	}
	return fmt.Sprintf("freshness(%d)", uint8(f))
}

// MarshalText implements [encoding.TextMarshaler].
func (f Freshness) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (f *Freshness) UnmarshalText(text []byte) error {
	for i, name := range freshnessNames {
		if name == string(text) {
			*f = Freshness(i)
			return nil
		}
	}
	return fmt.Errorf("%q is not a freshness", text)
}

// Table is the outcome: one status for every node of the inventory. It is
// immutable, so a reader loads it once and uses it for a whole query.
type Table struct {
	// Generation grows by one with each Table of this process that a reader
	// can tell from the one before it.
	Generation uint64

	// Inventory is what the table is about.
	Inventory *Inventory

	// Nodes has the status of Inventory.Nodes[i] at index i.
	Nodes []Status

	// Freshness says what the states rest on.
	Freshness Freshness

	// holds is until when merging the same data again gives the same table, memory
	// included; zero is for ever.
	holds time.Time

	// releases are under way, by name; nil if none is.
	releases map[string]release

	// heard is when the newest record was seen, on this process's monotonic
	// clock; zero when none ever was.
	heard time.Time
}

// Status is what is known of one node.
type Status struct {
	// State is the outcome after operator, votes and age of the data.
	State State

	// Reason says in a few words who decided State.
	Reason string

	// Health is 0 (useless) to 1 (perfect), without regard to load. It is at
	// least 0.1 unless State is Down.
	Health float64

	// Acceptance is the part of the clients that want the node which it can take,
	// 0.05 to 1 in steps of 0.01. It follows from the node's load and capacity, and is
	// 1 for a node that reports no load; less of that for a canary and in a release.
	Acceptance float64

	// Ramp is the part of its share, 0.1 to 1, that a node is given which took no
	// clients and has returned within the last minute. It is 1 for others.
	Ramp float64

	// RTT has the medians over the probers. Its EWMA is there if any of its times is.
	RTT RTT

	// Load is what the node says of itself, the median over the probers that know.
	Load Load

	// Since is when State began, on this process's clock.
	Since time.Time

	// Due is when State may next change, on this process's clock: the node has begun to
	// fail, it is down and may have recovered then, or nobody speaks for it any more.
	// It is zero when nothing is under way, or nobody says what.
	Due time.Time

	memory
}

// memory is what the next Merge needs of this one, and no reader sees.
type memory struct {
	measured State     // before the operator's word
	hold     time.Time // when the last vote stops or stopped to count
	held     bool      // the status is only held since
	returned time.Time // when Ramp began, if it is less than 1
	breaker  breaker   // what the node says of its circuit
	lone     bool      // a single vote has it down, or would
	lonely   time.Time // since when that counts
	control  control
	part     float64   // of its clients, of a node on trial; 0 for others
	moved    time.Time // when part last moved, while it is on its way; zero when it has arrived
}

// Lookup returns the status of the node with the given ID.
func (t *Table) Lookup(id string) (Status, bool) {
	i := t.Inventory.Lookup(id)
	if i < 0 {
		return Status{}, false
	}
	return t.Nodes[i], true
}

// Heard returns when the newest record was seen, on this process's clock, even if
// it is forgotten by now; zero when none ever was. It may be new in a Table of the
// same generation.
func (t *Table) Heard() time.Time { return t.heard }
