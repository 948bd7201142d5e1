// Package probe finds out how the nodes of a feed are, by asking them.
//
//	Inventory ─► station: targets, one goroutine each ─► hysteresis, averages
//	               (equal checks of a process are one)          │ views
//	                                                            ▼
//	Feed ◄──────────────── Record ◄─── votes ◄─── doubt ◄─── publisher
//
// A target makes a round of attempts every interval, and its hysteresis turns the
// rounds into up or down. A round that fails by the prober's own fault, or in which the
// process stood still, counts for neither.
// The publisher turns the views of a node's checks into one
// vote, keeps to itself what it suspects to be its own trouble, and offers a record
// to the feed: at once when a state has changed, and else every interval_ms. Nothing
// is voted on a node before each of its critical checks has had a good round or a
// fall, but for down when one of them fell.
package probe

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/tandem-cdn/tandem/healthfeed"
)

const (
	// slowest and fastest bound interval_ms. Between them it is the interval
	// of the fastest check.
	slowest = 2 * time.Second
	fastest = 200 * time.Millisecond

	// spacing is the least time between two records.
	spacing = 100 * time.Millisecond

	// hastiest is the least time from one round of a check to the next, however many
	// ask for it.
	hastiest = 250 * time.Millisecond

	// ttl is how long a record counts in full.
	ttl = 15 * time.Second
)

// Prober is a [healthfeed.Source] that runs the checks of the feed's inventory.
type Prober struct {
	// set at construction
	name     string
	history  float64
	log      *slog.Logger
	station  *station
	controls []healthfeed.Check
	hastened chan string // nodes whose checks are not to wait for their time
}

// New returns a Prober whose records carry the given name, which must be 1 to 64
// characters of letters, digits, '.', '_' and '-', and differ from that of all
// other probers of the same nodes. In the moving average of round-trip times, what was
// before has the weight history, at least 0 and less than 1, and the last rounds the
// rest; [History] is a good one. A nil log is [slog.Default].
func New(prober string, history float64, log *slog.Logger) *Prober {
	if log == nil {
		log = slog.Default()
	}
	return &Prober{name: prober, history: history, log: log, station: here, hastened: make(chan string, 64)}
}

// Control names what the prober tells its own health by, in place of guessing it from
// how many checks begin to fail at once: host:port, which must take a connection, or an
// address, which must answer a ping. While more than half of them fail, no vote is cast
// on what fails with them. It is to be called before Run, and returns an error for a
// target that is none, or a ping that this process may not send.
func (p *Prober) Control(targets ...string) error {
	for _, at := range targets {
		c, err := ControlCheck(at)
		if err != nil {
			return err
		}
		if err := prepared(&c); err != nil {
			return fmt.Errorf("control target %q: %w", at, err)
		}
		p.controls = append(p.controls, c)
	}
	return nil
}

// ControlCheck returns the check of a control target, or what is wrong with it. See
// [Prober.Control].
func ControlCheck(target string) (healthfeed.Check, error) {
	c := healthfeed.Check{Type: "icmp", Addr: target, Interval: time.Second, Timeout: 300 * time.Millisecond, Retries: 1, Fall: 1, Rise: 1}
	if _, err := netip.ParseAddr(target); err != nil {
		c.Type = "tcp"
	}
	if err := c.Validate(); err != nil {
		return c, fmt.Errorf("control target %q: %w", target, err)
	}
	return c, nil
}

// Hasten brings the next round of a node's checks forward, to a quarter of a second after
// the last one at the earliest. It is a [healthfeed.Config]'s Hasten, and never waits: when too
// many ask at once, some are probed at their time.
func (p *Prober) Hasten(node string) {
	select {
	case p.hastened <- node:
	default:
	}
}

// String implements [healthfeed.Source].
func (p *Prober) String() string { return "prober " + p.name }

// Run implements [healthfeed.Source]: it probes until ctx ends, following f's
// inventory. A check that is the same in the next inventory goes on with its
// counters. It returns an error when the feed refuses or supersedes its records; in the
// second case, when another prober has its name, not before that one has fallen silent.
// When Run returns, nothing of it runs any more, but for checks that other probers
// of this process make as well.
func (p *Prober) Run(ctx context.Context, f *healthfeed.Feed) error {
	err := p.probe(ctx, f)
	if errors.Is(err, errSuperseded) {
		p.log.Error("another prober has this name; it has the word, and here nothing is probed until it is silent", "prober", p.name)
		p.standBy(ctx, f)
	}
	return err
}

var errSuperseded = errors.New("the records of another prober of this name are newer")

// standBy waits until there is no record of the prober's name that counts in full. If two
// went on, each would silence the other again and again, and begin to count anew.
func (p *Prober) standBy(ctx context.Context, f *healthfeed.Feed) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for ctx.Err() == nil {
		if r, known := f.Record(p.name); !known || r.AgeMS > r.TTLMS {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

// probe is Run until another prober of the same name has the word.
func (p *Prober) probe(ctx context.Context, f *healthfeed.Feed) error {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()

	before, _ := f.Record(p.name) // when another feed of this process goes on here
	r := &publisher{
		Prober:  p,
		record:  healthfeed.Record{Prober: p.name, Epoch: f.Epoch(p.name), TTLMS: ttl.Milliseconds()},
		targets: map[key]*target{},
		ballots: recall(&before, time.Now()),
		changed: make(chan struct{}, 1),
	}
	inventories := make(chan *healthfeed.Inventory)
	wg.Go(func() { follow(ctx, f, inventories) })
	defer func() { r.station.exchange(r, nil)() }()

	var last time.Time
	due := time.NewTimer(slowest)
	defer due.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case node := <-p.hastened:
			r.hasten(node)
			continue
		case inv := <-inventories:
			r.follow(inv)
		case <-r.changed:
			if wait := spacing - time.Since(last); wait > 0 {
				due.Reset(wait)
				continue
			}
		case <-due.C:
		}
		last = time.Now()
		if record := r.next(last); record != nil {
			f.Table().Grant(record)
			if err := f.Offer(&healthfeed.Snapshot{Records: []healthfeed.Aged{{Record: *record}}}); err != nil {
				return err
			}
			if f.Superseded(record) {
				return fmt.Errorf("%w: %q", errSuperseded, p.name)
			}
		}
		due.Reset(r.interval())
	}
}

// follow sends every new inventory of f.
func follow(ctx context.Context, f *healthfeed.Feed, to chan<- *healthfeed.Inventory) {
	var sent *healthfeed.Inventory
	for t := f.Table(); ; {
		if t.Inventory != sent {
			select {
			case to <- t.Inventory:
				sent = t.Inventory
			case <-ctx.Done():
				return
			}
		}
		var err error
		if t, err = f.Next(ctx, t.Generation); err != nil {
			return
		}
	}
}
