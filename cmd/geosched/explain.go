package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/tandem-cdn/tandem/internal/account"
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

	Candidates []account.Candidate `json:"candidates"` // the chosen ones first
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
	ttl := func(t steer.TTL) steer.TTL {
		if *name == "" {
			return t
		}
		return s.block.TTL(querylog.Canonical(*name), t)
	}
	if err := w.Has(*service); err != nil {
		return 0, err
	}
	for i := range queries {
		q := &queries[i]
		class, scope := w.Locate(q)
		x := explained(w, *service, class, family, ttl)
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

// explained explains one throw of the dice, always the same.
func explained(w *whatif.World, service string, class *geoip.Class, family steer.Family, ttl func(steer.TTL) steer.TTL) *explanation {
	e := w.Explain(service, class, family, 0)
	policy, name := w.Policy(service)
	x := &explanation{
		Service: service, Policy: name, Class: class.String(),
		Continent: class.Continent, Country: class.Country, ASN: class.ASN,
		Why: e.Why, Reason: e.Why.String(), Degraded: e.Degraded, Target: e.Target,
		Candidates: account.Candidates(&e, class, w.Table),
	}
	if e.Len() > 0 || e.Target != "" {
		x.TTL = new(ttl(policy.TTL).Of(&e.Choice, time.Now()))
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
	chosen := account.Chosen(x.Candidates)
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
			unit(n.Distance, "%.0f km"), unit(n.RTT, "%.3g ms"), unit(&n.Delay, "%.3g ms"), n.State, n.Health, n.Load, n.Weight, n.Tier, notes(n))
	}
	t.Flush()
	for line := range strings.Lines(text.String()) {
		fmt.Fprintln(to, strings.TrimRight(line, " \n"))
	}
}

// notes are what few nodes have.
func notes(n *account.Candidate) string {
	var notes []string
	if n.Rule > 0 {
		notes = append(notes, fmt.Sprintf("kept away by rule %d", n.Rule))
	}
	if n.Acceptance < 1 {
		notes = append(notes, fmt.Sprintf("accepts %.0f %%", n.Acceptance*100))
	}
	if n.Ramp < 1 {
		notes = append(notes, fmt.Sprintf("returned, with %.0f %%", n.Ramp*100))
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
