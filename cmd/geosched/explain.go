package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/tandem-cdn/tandem/healthfeed"
	"github.com/tandem-cdn/tandem/internal/geoip"
	"github.com/tandem-cdn/tandem/internal/querylog"
	"github.com/tandem-cdn/tandem/internal/steer"
	"github.com/tandem-cdn/tandem/internal/whatif"
)

// An explanation is what a client gets and why. As JSON, what is unknown is absent.
type explanation struct {
	Client    string    `json:"client"`
	Resolver  string    `json:"resolver,omitempty"`
	Type      string    `json:"type"`
	Service   string    `json:"service"` // "" is all nodes
	Policy    string    `json:"policy"`
	Class     string    `json:"class"`
	Continent string    `json:"continent,omitempty"`
	Country   string    `json:"country,omitempty"`
	ASN       uint32    `json:"asn,omitempty"`
	Scope     uint8     `json:"scope"` // bits
	Why       steer.Why `json:"-"`
	Reason    string    `json:"why"`
	Degraded  bool      `json:"degraded"` // not what a healthy CDN would answer
	TTL       *uint32   `json:"ttl_s,omitempty"`
	Target    string    `json:"target,omitempty"`

	Candidates []candidate `json:"candidates"` // the chosen ones first
}

// A candidate is what became of one node.
type candidate struct {
	ID         string           `json:"id"`
	Fate       steer.Fate       `json:"fate"`
	Share      float64          `json:"share"` // chance to be the first of the answer, 0 to 1
	Score      float64          `json:"score"` // 1 for the best of all
	Distance   *float64         `json:"distance_km,omitempty"`
	RTT        *float64         `json:"rtt_ms,omitempty"` // from the probers
	Delay      float64          `json:"delay_ms"`         // more than the fastest of its peers
	State      healthfeed.State `json:"state"`
	Health     float64          `json:"health"`
	Load       float64          `json:"load"`
	Acceptance float64          `json:"acceptance"`
	Weight     float64          `json:"weight"` // among those that could be chosen, else 0
	Bias       float64          `json:"bias"`
	Tier       int              `json:"tier"`
	Rule       *int             `json:"rule,omitempty"` // of the policy, from 1, that keeps it from the client
}

// explain is the command.
func explain(c *call) (int, error) {
	var s sources
	s.flags(c.flags, "")
	s.zoneFlag(c.flags)
	c.flags.Var(&s.down, "down", "IDs of `nodes` to take for down")
	name := c.flags.String("name", "", "the `name` that is asked for, which the Corefile steers to a service")
	service := c.flags.String("service", "", "the `service` that is asked for; all nodes without it")
	qtype := c.flags.String("type", "A", "A or AAAA")
	resolver := c.flags.String("resolver", "", "`address` that the query comes from; the client is then its client subnet")
	asJSON := c.flags.Bool("json", false, "print a line of JSON for each client")
	if err := c.parse(); err != nil {
		return 0, usageError{err}
	}
	if len(c.args) == 0 {
		return 0, misuse("no client: name an address or a network")
	}
	family, ok := map[string]steer.Family{"A": steer.IPv4, "AAAA": steer.IPv6}[*qtype]
	if !ok {
		return 0, misuse("type %q is neither A nor AAAA", *qtype)
	}
	var queries []querylog.Query
	for _, arg := range c.args {
		q, err := querylog.ParseClient(arg, *resolver)
		if err != nil {
			return 0, usageError{err}
		}
		queries = append(queries, q)
	}
	if err := s.resolve(); err != nil {
		return 0, err
	}
	w, err := s.world()
	if err != nil {
		return 0, err
	}
	if *name != "" {
		if *service, err = s.serviceOf(*name); err != nil {
			return 0, err
		}
	}
	if err := w.Has(*service); err != nil {
		return 0, err
	}
	for i := range queries {
		q := &queries[i]
		class, scope := w.Locate(q)
		x := account(w, *service, class, family)
		x.Client, x.Type, x.Scope = q.Client.String(), *qtype, scope
		if q.Resolver.IsValid() {
			x.Resolver = q.Resolver.String()
		}
		if *asJSON {
			if err := json.NewEncoder(c.stdout).Encode(x); err != nil {
				return 0, err
			}
			continue
		}
		if i > 0 {
			fmt.Fprintln(c.stdout)
		}
		x.print(c.stdout)
	}
	return exitOK, nil
}

// serviceOf returns the service that the Corefile steers a name to.
func (s *sources) serviceOf(name string) (string, error) {
	if s.block == nil {
		return "", misuse("-name: it takes a Corefile to know what %q is steered to", name)
	}
	service, ok := s.block.Service(querylog.Canonical(name))
	if !ok {
		return "", misuse("-name: %q is not steered by the Corefile", name)
	}
	return service, nil
}

// account explains one throw of the dice, always the same.
func account(w *whatif.World, service string, class *geoip.Class, family steer.Family) *explanation {
	e := w.Explain(service, class, family, 0)
	policy, name := w.Policy(service)
	x := &explanation{
		Service: service, Policy: name, Class: class.String(),
		Continent: class.Continent, Country: class.Country, ASN: class.ASN,
		Why: e.Why, Reason: e.Why.String(), Degraded: e.Degraded, Target: e.Target,
		Candidates: make([]candidate, len(e.Nodes)),
	}
	if e.Len() > 0 || e.Target != "" {
		x.TTL = new(policy.TTL.Of(&e.Choice, time.Now()))
	}
	best := 0.0
	for i := range e.Nodes {
		best = max(best, e.Nodes[i].Score)
	}
	for i := range e.Nodes {
		a, n := &e.Nodes[i], &x.Candidates[i]
		*n = candidate{
			ID: w.Table.Inventory.Nodes[a.Node].ID, Fate: a.Fate, Share: round(a.Share, 4),
			Delay: round(a.Delay.Seconds()*1000, 2), State: a.State, Health: round(a.Health, 3), Load: round(a.Load, 3),
			Acceptance: round(a.Acceptance, 3), Weight: round(a.Weight, 3), Bias: round(a.Bias, 4), Tier: a.Tier,
		}
		if best > 0 {
			n.Score = round(a.Score/best, 4)
		}
		if d := class.Point.DistanceTo(w.Place(a.Node)); d.Known() {
			n.Distance = new(round(float64(d), 1))
		}
		if a.RTT > 0 {
			n.RTT = new(round(a.RTT.Seconds()*1000, 2))
		}
		if a.Rule >= 0 {
			n.Rule = new(a.Rule + 1)
		}
	}
	return x
}

// print is the explanation for people.
func (x *explanation) print(to io.Writer) {
	fmt.Fprintf(to, "client    %s", x.Client)
	if x.Resolver != "" {
		fmt.Fprintf(to, " by way of %s", x.Resolver)
	}
	fmt.Fprintf(to, "\nclass     %s\nscope     /%d\n", x.Class, x.Scope)
	fmt.Fprintf(to, "asked     %s of %s, policy %s\n", x.Type, serviceName(x.Service), x.Policy)
	var chosen []string
	for i := range x.Candidates {
		if x.Candidates[i].Fate == steer.Chosen {
			chosen = append(chosen, x.Candidates[i].ID)
		}
	}
	switch {
	case x.Target != "":
		chosen = []string{"CNAME " + x.Target}
	case len(chosen) == 0:
		chosen = []string{whatif.Nobody}
	}
	fmt.Fprintf(to, "answered  %s, because: %s\n", strings.Join(chosen, ", "), reasons[x.Why])
	if x.TTL != nil {
		fmt.Fprintf(to, "ttl       %d s\n", *x.TTL)
	}
	fmt.Fprintln(to)
	var text bytes.Buffer
	t := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NODE\tFATE\tSHARE\tSCORE\tDISTANCE\tRTT\tDELAY\tSTATE\tHEALTH\tLOAD\tWEIGHT\tTIER\tNOTES")
	for i := range x.Candidates {
		n := &x.Candidates[i]
		fmt.Fprintf(t, "%s\t%v\t%.4g %%\t%.3f\t%s\t%s\t%s\t%v\t%.2f\t%.2f\t%.4g\t%d\t%s\n", n.ID, n.Fate, n.Share*100, n.Score,
			unit(n.Distance, "%.0f km"), unit(n.RTT, "%.3g ms"), unit(&n.Delay, "%.3g ms"), n.State, n.Health, n.Load, n.Weight, n.Tier, n.notes())
	}
	t.Flush()
	for line := range strings.Lines(text.String()) {
		fmt.Fprintln(to, strings.TrimRight(line, " \n"))
	}
}

// notes are what few nodes have.
func (n *candidate) notes() string {
	var notes []string
	if n.Rule != nil {
		notes = append(notes, fmt.Sprintf("kept away by rule %d", *n.Rule))
	}
	if n.Acceptance < 1 {
		notes = append(notes, fmt.Sprintf("accepts %.0f %%", n.Acceptance*100))
	}
	if n.Bias != 1 && n.Bias != 0 {
		notes = append(notes, fmt.Sprintf("bias %.3g", n.Bias))
	}
	return strings.Join(notes, ", ")
}

// reasons say in words what the metrics say in one.
var reasons = [steer.Reasons]string{
	steer.None:     "no node has an address of that type",
	steer.Pinned:   "the nets file says so",
	steer.Nearest:  "the best of those that take clients",
	steer.Spread:   "nobody knows where the client is, so weight alone decides",
	steer.Spill:    "the best are full for this client",
	steer.Outside:  "nobody whom the rules allow is left",
	steer.Spare:    "nobody with a weight is left",
	steer.Draining: "nobody who takes new clients is left",
	steer.AllDown:  "everybody is down, or nearly",
}

func serviceName(service string) string {
	if service == "" {
		return "all nodes"
	}
	return "service " + service
}

// unit formats what may be unknown.
func unit(x *float64, format string) string {
	if x == nil {
		return "-"
	}
	return fmt.Sprintf(format, *x)
}

// round rounds to a number of decimals.
func round(x float64, decimals int) float64 {
	unit := math.Pow10(decimals)
	return math.Round(x*unit) / unit
}
