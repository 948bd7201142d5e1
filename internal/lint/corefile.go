package lint

import "slices"

// longNegative is for how many seconds a mistake may be remembered.
const longNegative = 3600

// corefile looks at the Corefile's own words.
func (r *run) corefile() {
	c := r.Corefile
	if c == nil {
		return
	}
	if r.inventory != nil {
		for _, s := range c.Steered {
			if _, ok := r.inventory.Members(s.Service); !ok {
				r.add(s.File, s.Line, Error, "no-service", "%s: there is no service %q", s.Name, s.Service)
			}
		}
	}
	switch n := c.Negative; {
	case n == 0:
		r.add(c.NegTTL.File, c.NegTTL.Line, Warning, "ttl", "negttl is 0, so every query for a name or type that is not there comes here")
	case n > longNegative:
		r.add(c.NegTTL.File, c.NegTTL.Line, Warning, "ttl", "negttl is %d s, and for so long a name that is missing by mistake stays missing", n)
	}
	if r.ruled == nil { // or else it is said of each policy
		r.ttl(r.Base.TTL, func(s Severity, check, format string, args ...any) {
			r.add(c.TTL.File, c.TTL.Line, s, check, format, args...)
		})
	}
	// The server says one mistake and ends, and it has been said here, perhaps better.
	if c.Refused != nil && !slices.ContainsFunc(r.found, func(f Finding) bool { return f.Severity == Error }) {
		r.found = append(r.found, Finding{Severity: Error, Check: "refused", Message: c.Refused.Error()})
	}
}
