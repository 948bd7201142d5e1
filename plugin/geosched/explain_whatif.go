package geosched

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/tandem-cdn/tandem/healthfeed"
	"github.com/tandem-cdn/tandem/internal/steer"
)

// whatIf is a world that differs from this one. The zero value does not.
type whatIf struct {
	alpha, beta, near float64  // of the policy; NaN for as it is
	down              []string // nodes that are down, whatever the feed says
	given             bool     // there is a difference
}

var whatIfWords = []string{"alpha", "beta", "near", "down"}

// whatIfOf reads alpha=, beta= (0 to 1), near= (percent) and down=ID,….
func whatIfOf(given map[string]string) (w whatIf, err error) {
	for _, p := range []struct {
		word  string
		most  float64
		scale float64
		to    *float64
	}{{"alpha", 1, 1, &w.alpha}, {"beta", 1, 1, &w.beta}, {"near", 99, 100, &w.near}} {
		*p.to = math.NaN()
		word, ok := given[p.word]
		if !ok {
			continue
		}
		f, err := strconv.ParseFloat(word, 64)
		if err != nil || !(f >= 0 && f <= p.most) {
			return w, bad("%s %.100q is not a number from 0 to %v", p.word, word, p.most)
		}
		*p.to, w.given = f/p.scale, true
	}
	if word := given["down"]; word != "" {
		w.down, w.given = strings.Split(word, ","), true
	}
	if w.alpha == 0 && w.beta == 0 {
		return w, bad("alpha and beta cannot both be 0")
	}
	return w, nil
}

// policy returns the policy of that world.
func (w *whatIf) policy(p *steer.Policy) *steer.Policy {
	if !w.given {
		return p
	}
	other := *p
	if other.Beta == 0 { // it is distance alone, whatever alpha says
		other.Alpha = 1
	}
	for _, v := range []struct {
		is float64
		to *float64
	}{{w.alpha, &other.Alpha}, {w.beta, &other.Beta}, {w.near, &other.Near}} {
		if !math.IsNaN(v.is) {
			*v.to = v.is
		}
	}
	if other.Alpha+other.Beta == 0 {
		other.Alpha = 1
	}
	return &other
}

// table returns the table of that world.
func (w *whatIf) table(t *healthfeed.Table) (*healthfeed.Table, error) {
	if len(w.down) == 0 {
		return t, nil
	}
	other := *t
	other.Nodes = slices.Clone(t.Nodes)
	for _, id := range w.down {
		i := t.Inventory.Lookup(id)
		if i < 0 {
			return nil, bad("there is no node %.100q", id)
		}
		other.Nodes[i].State, other.Nodes[i].Reason = healthfeed.Down, "what if"
	}
	return &other, nil
}
