package geosched

import "slices"

// nameList is what GET /v1/names answers: what there is to ask about.
type nameList struct {
	Names []string `json:"names"` // absolute; those of the Corefile first
	More  bool     `json:"more"`  // there are more, all to be asked about like these
}

// mostNames is how many names are listed.
const mostNames = 1000

// listNames answers /v1/names.
func listNames(blocks []*Geosched, raw string) (any, error) {
	if _, err := parameters(raw); err != nil {
		return nil, err
	}
	names, more := steeredNames(blocks, mostNames)
	return nameList{names, more}, nil
}

// steeredNames lists up to most of the names that blocks steer: those of the Corefile
// in their order, and then some of the records files.
func steeredNames(blocks []*Geosched, most int) (names []string, more bool) {
	names = []string{} // for JSON, which would call it null
	seen := make(map[string]bool)
	add := func(name string) {
		switch {
		case seen[name]:
		case len(names) == most:
			more = true
		default:
			seen[name] = true
			names = append(names, name)
		}
	}
	for _, g := range blocks {
		for _, s := range g.config.Steer {
			add(s.Name)
		}
	}
	for _, g := range blocks {
		if g.records == nil {
			continue
		}
		// One more than are wanted, and than may be there already, so that add finds out.
		some := g.names.version.Load().index.Steered(most + len(seen) + 1)
		slices.Sort(some)
		for _, name := range some {
			add(name)
		}
	}
	return names, more
}
