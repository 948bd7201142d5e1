package geosched

import (
	"encoding/json"
	"fmt"

	"github.com/tandem-cdn/tandem/healthfeed/etcdfeed"
	"github.com/tandem-cdn/tandem/internal/policy"
	"github.com/tandem-cdn/tandem/internal/steer"
)

// remotePolicies are those that operators keep in etcd, one under each key. One that is
// wrong is refused alone, and the last good one of its name stays.
type remotePolicies struct {
	source *etcdfeed.Source
	region string
	base   steer.Policy
	fits   func(*policy.Book) error // what is wrong with a book that could be read

	// owned by who looks
	version uint64                  // of what was read last
	good    map[string]*policy.Book // by name, each with one policy
	text    map[string]string       // by name, as it was read last, good or not
}

func (g *Geosched) remotePolicies() *remotePolicies {
	if g.etcd == nil {
		return nil
	}
	return &remotePolicies{
		source: g.etcd, region: g.config.Etcd.Region, base: g.config.Policy, fits: g.checkWaysOut,
		good: make(map[string]*policy.Book), text: make(map[string]string),
	}
}

// news reports whether there is something else than what was read last.
func (r *remotePolicies) news() bool {
	version, _ := r.source.Changed()
	return version != r.version
}

// books reads what has changed, and returns a book for each policy.
func (r *remotePolicies) books() []*policy.Book {
	r.version, _ = r.source.Changed() // first: what comes now is news
	there := make(map[string]bool)
	var out []*policy.Book
	for _, p := range r.source.Policies(r.region) {
		there[p.Name] = true
		if text := string(p.Text); r.text[p.Name] != text {
			r.text[p.Name] = text
			if b, err := r.read(p); err != nil {
				reloads.WithLabelValues("refused").Inc()
				log.Errorf("refused, the last good policy %q stays: %v", p.Name, err)
			} else {
				reloads.WithLabelValues("loaded").Inc()
				r.good[p.Name] = b
			}
		}
		if b := r.good[p.Name]; b != nil {
			out = append(out, b)
		}
	}
	for name := range r.text {
		if !there[name] {
			delete(r.text, name)
			delete(r.good, name)
		}
	}
	return out
}

// read reads a policy as if it stood in a file, with the lines of its text.
func (r *remotePolicies) read(p etcdfeed.Policy) (*policy.Book, error) {
	where := "etcd policy/" + p.Region + "/" + p.Name
	file := fmt.Appendf(nil, `{"policies": {%q: %s}}`, p.Name, p.Text)
	b, err := policy.Parse(where, file, r.base)
	switch {
	case err != nil:
		return nil, err
	case !json.Valid(p.Text): // it ends the policy and begins another
		return nil, fmt.Errorf("%s: it is more than one policy", where)
	}
	if err := r.fits(b); err != nil {
		return nil, fmt.Errorf("%s: %w", where, err)
	}
	return b, nil
}
