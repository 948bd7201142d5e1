package probe

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"

	"github.com/tandem-cdn/tandem/healthfeed"
)

// Prepared returns an error unless every file and variable that the checks of an
// inventory name is there and can be used, and this process may ping if one of them does,
// so that a mistake is seen at the start. A prober that meets it later warns and abstains.
// If the inventory is that of a file, the error begins with its name and the line of the check.
func Prepared(inv *healthfeed.Inventory, file string) error {
	seen := map[key]bool{}
	for i := range inv.Nodes {
		n := &inv.Nodes[i]
		for j, c := range n.Checks {
			k := keyOf(n, c, 0)
			if c.Foreign != "" || seen[k] {
				continue
			}
			seen[k] = true
			if err := prepared(&k.check); err != nil {
				err = fmt.Errorf("node %q: check of type %s: %w", n.ID, c.Type, err)
				if file == "" {
					return err
				}
				return fmt.Errorf("%s:%d: %w", file, healthfeed.LineOfCheck(file, n.ID, j), err)
			}
		}
	}
	return nil
}

func prepared(c *healthfeed.Check) error {
	if c.Type == "icmp" {
		addr, err := netip.ParseAddr(c.Addr)
		conn, _, refused := listenICMP(err != nil || addr.Unmap().Is4())
		if refused == nil {
			conn.Close()
		}
		if errors.Is(refused, fs.ErrPermission) {
			return refused
		}
		return nil
	}
	if _, err := (&dialer{check: c}).fresh(); err != nil {
		return err
	}
	_, err := password(c)
	return err
}
