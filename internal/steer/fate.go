package steer

// Fate is what a choice made of a node.
type Fate uint8

const (
	Chosen     Fate = iota // in the answer
	InGroup                // could have been chosen; the dice wanted another
	StandsBy               // takes clients, but others are better
	LaterTier              // takes clients, but a better tier does too
	Refuses                // is filling up, and this client is one of those that it refuses
	Full                   // accepts nobody
	Sick                   // has no health left
	Weightless             // has no weight, so it waits until nobody else is left
	Leaving                // drains
	IsDown                 // does not answer the probes
	HeldDown               // is held down by the operator
	NoFamily               // has no address of the family
	NotPinned              // the operator named others for this client
	Excluded               // is kept from this client by a rule
)

var fateNames = [...]string{"chosen", "group", "standby", "tier", "refuses", "full", "sick", "weightless",
	"draining", "down", "held-down", "family", "not-pinned", "excluded"}

// String returns the word used in explanations.
func (f Fate) String() string { return fateNames[f] }

// MarshalText implements [encoding.TextMarshaler].
func (f Fate) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// missing reports whether who has this fate would take clients if it were well.
// What the operator decided, and who drains, is not missing.
func (f Fate) missing() bool { return f == IsDown || f == Sick || f == Full }
