package healthfeed

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"
	"unicode/utf8"
)

// A Record is what one prober sees, written by it alone. In JSON:
//
//	{"prober": "dns-1", "epoch": 1766217618123, "seq": 88123,
//	 "interval_ms": 2000, "ttl_ms": 15000,
//	 "nodes": {"lon1": {"state": "up", "health": 97, "rtt_us": {"p50": 4339, "p95": 6147, "ewma": 4280}}}}
//
// Readers pass over fields they do not know.
type Record struct {
	// Prober names the writer.
	Prober string `json:"prober"`

	// Epoch and Seq order the records of one prober: a record replaces one
	// with a smaller (Epoch, Seq). Epoch grows whenever the prober starts.
	// Nothing is ordered by wall clocks.
	Epoch int64  `json:"epoch"`
	Seq   uint64 `json:"seq"`

	// IntervalMS is how often the prober writes, in milliseconds.
	IntervalMS int64 `json:"interval_ms"`

	// TTLMS is how long the record counts in full, in milliseconds after it
	// was seen. For twice as long again its states hold; then it abstains.
	TTLMS int64 `json:"ttl_ms"`

	// Nodes by ID. A node that is not in the inventory is ignored.
	Nodes map[string]Observation `json:"nodes"`
}

// Observation is one prober's view of one node.
type Observation struct {
	State   State   `json:"state"`             // the prober's vote
	Health  float64 `json:"health"`            // 0 to 100, without regard to load
	Score   float64 `json:"score,omitempty"`   // 0 to 100, with regard to load
	RTT     RTT     `json:"rtt_us,omitzero"`   // round trip from this prober
	Breaker string  `json:"breaker,omitempty"` // the node's circuit to its origin: closed, half or open
	SinceMS int64   `json:"since_ms,omitempty"`

	// DueMS is in how many milliseconds the vote may next change: the node has begun to
	// fail, or it is down and is up again at the earliest then. 0 means that nothing is
	// under way, or that the prober does not tell.
	DueMS int64 `json:"due_ms,omitempty"`

	// Accept is which part of its clients the prober's own feed has the node take
	// at present, 0 to 1; 0 means that the prober does not tell. See [Status].
	Accept float64 `json:"accept,omitempty"`

	// Release is how far the node's release has come in the prober's own feed.
	Release Progress `json:"release,omitzero"`

	Load Load `json:"load,omitzero"`
}

// The states of a node's circuit to its origin, in an [Observation].
const (
	BreakerClosed = "closed" // requests go through
	BreakerHalf   = "half"   // some do
	BreakerOpen   = "open"   // to one origin, or to the only one, none does
)

// RTT is what is known of the round-trip time, in microseconds; zero means unknown.
type RTT struct {
	// P50 and P95 are quantiles of the last rounds, for people and for health.
	P50 int64 `json:"p50"`
	P95 int64 `json:"p95"`

	// EWMA is a moving average, which is what nodes are compared by. Not every prober
	// has one to give.
	EWMA int64 `json:"ewma,omitempty"`
}

// Smoothed returns what nodes are compared by: EWMA, or the median of a prober that has
// none; zero when unknown.
func (r RTT) Smoothed() int64 { return cmp.Or(r.EWMA, r.P50) }

// Load is what a node says of itself. A zero field means none or unknown, which
// steer alike, but for RPS: see Idle.
type Load struct {
	CPU      float64 `json:"cpu,omitempty"`      // fraction of all cores, 0 to 1
	Mem      float64 `json:"mem,omitempty"`      // fraction, 0 to 1
	RPS      float64 `json:"rps,omitempty"`      // requests per second, rejected ones included
	OKRPS    float64 `json:"ok_rps,omitempty"`   // requests per second that were served
	EPS      float64 `json:"eps,omitempty"`      // errors per second
	Mbps     float64 `json:"mbps,omitempty"`     // megabits per second sent
	Conns    float64 `json:"conns,omitempty"`    // open client connections
	InFlight float64 `json:"inflight,omitempty"` // requests being served
	Hit      float64 `json:"hit,omitempty"`      // cache hit ratio, 0 to 1
	GPU      float64 `json:"gpu,omitempty"`      // fraction of the busiest, 0 to 1
	Temp     float64 `json:"temp,omitempty"`     // of the hottest chip, in °C

	// Idle says that the node counts its requests and that there are none: RPS is 0, and known.
	Idle bool `json:"idle,omitempty"`
}

// counted reports whether the node says how many requests come.
func (l *Load) counted() bool { return l.Idle || l.RPS > 0 }

// Bounds of a record, so that no prober can fill a reader's memory.
const (
	maxRecordNodes = 100_000
	maxTTL         = time.Hour
	maxEpoch       = 1 << 53 // more than any clock will say, and exact in every language's JSON
	maxAge         = 24 * time.Hour
)

// after reports whether r replaces old, a record of the same prober.
func (r *Record) after(old *Record) bool {
	if r.Epoch != old.Epoch {
		return r.Epoch > old.Epoch
	}
	return r.Seq > old.Seq
}

// ttl is TTLMS as a duration.
func (r *Record) ttl() time.Duration { return time.Duration(r.TTLMS) * time.Millisecond }

// Validate returns what is wrong with a record, which is then refused whole.
func (r *Record) Validate() error {
	if err := CheckName(r.Prober); err != nil {
		return fmt.Errorf("record: prober %w", err)
	}
	switch {
	case r.Epoch <= 0 || r.Epoch > maxEpoch:
		return fmt.Errorf("record of %q: epoch %d is outside 1 to %d", r.Prober, r.Epoch, int64(maxEpoch))
	case r.TTLMS <= 0 || r.TTLMS > maxTTL.Milliseconds():
		return fmt.Errorf("record of %q: ttl_ms %d is outside 1 to %d", r.Prober, r.TTLMS, maxTTL.Milliseconds())
	case r.IntervalMS <= 0 || r.IntervalMS > maxTTL.Milliseconds():
		return fmt.Errorf("record of %q: interval_ms %d is outside 1 to %d", r.Prober, r.IntervalMS, maxTTL.Milliseconds())
	case len(r.Nodes) > maxRecordNodes:
		return fmt.Errorf("record of %q: %d nodes are more than %d", r.Prober, len(r.Nodes), maxRecordNodes)
	}
	for id, o := range r.Nodes {
		if err := o.validate(); err != nil {
			return fmt.Errorf("record of %q: node %q: %w", r.Prober, id, err)
		}
	}
	return nil
}

func (o *Observation) validate() error {
	if o.State > Abstain {
		return fmt.Errorf("state %d is unknown", o.State)
	}
	if !(o.Health >= 0 && o.Health <= 100) || !(o.Score >= 0 && o.Score <= 100) {
		return fmt.Errorf("health %v or score %v is outside 0 to 100", o.Health, o.Score)
	}
	if !(o.Accept >= 0 && o.Accept <= 1) {
		return fmt.Errorf("accept %v is outside 0 to 1", o.Accept)
	}
	if o.DueMS < 0 {
		return fmt.Errorf("due_ms %d is negative", o.DueMS)
	}
	if o.RTT.P50 < 0 || o.RTT.P95 < o.RTT.P50 {
		return fmt.Errorf("rtt_us p50 %d, p95 %d are not in order", o.RTT.P50, o.RTT.P95)
	}
	if o.RTT.EWMA < 0 {
		return fmt.Errorf("rtt_us ewma %d is negative", o.RTT.EWMA)
	}
	l := &o.Load
	for _, v := range [...]float64{l.CPU, l.Mem, l.RPS, l.OKRPS, l.EPS, l.Mbps, l.Conns, l.InFlight, l.Hit, l.GPU, l.Temp} {
		if !(v >= 0 && v <= math.MaxFloat64) {
			return fmt.Errorf("load %v is not a positive number", v)
		}
	}
	return nil
}

// A Snapshot is what one process knows: the inventory, and the newest record of
// every prober. It is what all transports carry. In JSON:
//
//	{"inventory": {"nodes": [...]}, "records": [{"age_ms": 12, "prober": "dns-1", ...}]}
type Snapshot struct {
	// Inventory is nil when the sender has none to give.
	Inventory *Inventory `json:"inventory,omitempty"`
	Records   []Aged     `json:"records"`

	// Overrides are what operators said while everything ran.
	Overrides []Override `json:"overrides,omitempty"`
}

// Aged is a record and the milliseconds since the sender saw it change, which
// make it as old for a late joiner as it is for the sender.
type Aged struct {
	AgeMS int64 `json:"age_ms"`
	Record

	// Signed is the record as its prober signed it, nil if it did not.
	Signed *Signed `json:"signed,omitempty"`
}

// age is AgeMS as a duration; beyond a day all ages are alike.
func (a *Aged) age() time.Duration { return bounded(a.AgeMS) }

// bounded is a number of milliseconds as a duration of at most a day.
func bounded(ms int64) time.Duration {
	return time.Duration(min(ms, maxAge.Milliseconds())) * time.Millisecond
}

// Validate returns what is wrong with a snapshot, which is then refused whole. An
// inventory without nodes is wrong: it would take every node away, and comes of
// an accident rather than of a wish.
func (s *Snapshot) Validate() error {
	if s.Inventory != nil && len(s.Inventory.Nodes) == 0 {
		return errors.New("snapshot: the inventory has no nodes")
	}
	if len(s.Records) > maxProbers {
		return fmt.Errorf("snapshot: %d probers are more than %d", len(s.Records), maxProbers)
	}
	if len(s.Overrides) > maxOverrides {
		return fmt.Errorf("snapshot: %d overrides are more than %d", len(s.Overrides), maxOverrides)
	}
	for i := range s.Overrides {
		if err := s.Overrides[i].Validate(); err != nil {
			return wrong(path{"overrides", strconv.Itoa(i)}, "snapshot: %w", err)
		}
	}
	seen := make(map[string]bool, len(s.Records))
	for i := range s.Records {
		r := &s.Records[i]
		at := path{"records", strconv.Itoa(i)}
		if err := r.Validate(); err != nil {
			return wrong(at, "snapshot: %w", err)
		}
		if r.AgeMS < 0 {
			return wrong(at, "snapshot: record of %q: age_ms %d is negative", r.Prober, r.AgeMS)
		}
		if seen[r.Prober] {
			return wrong(at, "snapshot: prober %q has two records", r.Prober)
		}
		seen[r.Prober] = true
	}
	return nil
}

// MaxSnapshot is the largest snapshot, in bytes, that a reader takes. 10,000 nodes
// are 3 MB of inventory and 3 MB for each prober.
const MaxSnapshot = 32 << 20

// Bounds of what a snapshot unfolds to, counted before it is. What is 32 kB in gzip may
// be 16 million values, of which package json makes seven gigabytes before anybody is asked.
const (
	maxValues  = 3_000_000
	maxObjects = 1_000_000
)

// checkSize returns what is too large about a snapshot.
func checkSize(data []byte) error {
	if len(data) > MaxSnapshot {
		return fmt.Errorf("snapshot of %d bytes is larger than %d", len(data), MaxSnapshot)
	}
	if n := bytes.Count(data, []byte(",")); n > maxValues {
		return fmt.Errorf("snapshot: %d values are more than %d", n, maxValues)
	}
	if n := bytes.Count(data, []byte("{")); n > maxObjects {
		return fmt.Errorf("snapshot: %d objects are more than %d", n, maxObjects)
	}
	return nil
}

// ParseSnapshot reads a snapshot and refuses it whole for any mistake in it. If it has a
// checksum, as a file by [WriteFile] has, that is compared.
func ParseSnapshot(data []byte) (*Snapshot, error) {
	if err := checkSize(data); err != nil {
		return nil, err
	}
	if !utf8.Valid(data) { // encoding/json would put something in place of what is torn
		return nil, errors.New("snapshot: it is not UTF-8 (RFC 8259, section 8.1)")
	}
	if err := checkSum(data); err != nil {
		return nil, err
	}
	var s Snapshot
	if err := json.Unmarshal(data, &s); err != nil {
		return nil, fmt.Errorf("snapshot: %w", inWords(err))
	}
	if s.Records == nil {
		return nil, errors.New(`snapshot: there is no list "records"`)
	}
	for i := range s.Records {
		if err := s.Records[i].unfold(); err != nil {
			return nil, fmt.Errorf("snapshot: %w", err)
		}
	}
	if err := s.Validate(); err != nil {
		return nil, err
	}
	return &s, nil
}
