// Package policy reads policy files: how to choose among the nodes of a service, by
// name, in strict JSON.
//
//	{"policies": {
//	   "default": {"strategy": "nearest", "weights": {"alpha": 0.4, "beta": 0.6, "near": 25}},
//	   "video":   {"strategy": "least-loaded", "answers": 2,
//	               "ttl": {"normal": 60, "degraded": 10, "adaptive": true},
//	               "alldown": {"do": "best", "below": 30},
//	               "bias": {"lon1": 1.5, "region=eu": 0.8},
//	               "rules": [{"exclude": ["isp=as64500"], "countries": ["DE", "AT"]}]}}}
//
// Every policy starts from a base, which a program makes of its own configuration,
// and a file says what is different. A Book holds them; it is immutable, and whoever
// reads a newer file makes another one. There is no I/O here, so tools can judge a
// file as the name server would.
package policy

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tandem-cdn/tandem/internal/steer"
)

// Default is the name of the policy that always exists.
const Default = "default"

// A Book has policies by name.
type Book struct {
	policies map[string]*steer.Policy
	lines    map[string]int // where they stand in the file
}

// Only returns a book with nothing but a default policy.
func Only(base steer.Policy) *Book {
	return &Book{map[string]*steer.Policy{Default: &base}, map[string]int{}}
}

// Over returns a book with the policies that b's file has, those of others that it does
// not have, and for everything else b's default. Of several others with a policy of
// one name, the first counts.
func (b *Book) Over(others ...*Book) *Book {
	out := &Book{maps.Clone(b.policies), maps.Clone(b.lines)}
	taken := make(map[string]bool)
	for _, other := range others {
		for name := range other.lines {
			if _, own := b.lines[name]; !own && !taken[name] {
				out.policies[name] = other.policies[name]
				taken[name] = true
			}
		}
	}
	return out
}

// Lookup returns the policy of a name. If there is none of that name, it returns the
// default and false.
func (b *Book) Lookup(name string) (*steer.Policy, bool) {
	if p := b.policies[name]; p != nil {
		return p, true
	}
	return b.policies[Default], false
}

// Line returns where in its file the policy of a name begins, or 0 if it is not there.
func (b *Book) Line(name string) int { return b.lines[name] }

// Names lists the policies, sorted.
func (b *Book) Names() []string { return slices.Sorted(maps.Keys(b.policies)) }

// ASNs lists the autonomous systems that rules are about, sorted. The geography must
// tell them apart for the rules to have an effect.
func (b *Book) ASNs() []uint32 {
	var all []uint32
	for _, p := range b.policies {
		for _, r := range p.Rules {
			all = append(all, r.ASNs...)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// CheckTarget returns what is wrong with a name to answer with. It is absolute, with
// or without the dot at its end; the form with it is returned.
func CheckTarget(name string) (string, error) {
	labels := strings.Split(strings.TrimSuffix(name, "."), ".")
	for _, l := range labels {
		if l == "" || len(l) > 63 || strings.ContainsFunc(l, func(c rune) bool {
			return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_'
		}) {
			return "", fmt.Errorf("%.80q is not a domain name", name)
		}
	}
	if len(labels) < 2 || len(name) > 253 {
		return "", fmt.Errorf("%.80q is not a whole domain name such as sorry.example.net", name)
	}
	return strings.ToLower(strings.Join(labels, ".")) + ".", nil
}
