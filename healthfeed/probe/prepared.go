package probe

import (
	"fmt"

	"github.com/tandem-cdn/tandem/healthfeed"
)

// Prepared returns an error unless every file and variable that the checks of an
// inventory name is there and can be used, so that a mistake is seen at the start. A
// prober that meets it later warns and abstains.
func Prepared(inv *healthfeed.Inventory) error {
	seen := map[healthfeed.Check]bool{}
	for i := range inv.Nodes {
		n := &inv.Nodes[i]
		for _, c := range n.Checks {
			k := key(c)
			if c.Foreign != "" || seen[k] {
				continue
			}
			seen[k] = true
			_, err := (&dialer{check: &k}).fresh()
			if err == nil {
				_, err = password(&k)
			}
			if err != nil {
				return fmt.Errorf("node %q: check of type %s: %w", n.ID, c.Type, err)
			}
		}
	}
	return nil
}
