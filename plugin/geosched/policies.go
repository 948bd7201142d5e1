package geosched

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"sync/atomic"

	"github.com/tandem-cdn/tandem/internal/policy"
	"github.com/tandem-cdn/tandem/internal/steer"
)

// policies is the book of policies of one block, and the file that it was read from.
// A book is published when the geography tells apart what its rules are about, so
// a query takes the book before it takes the trie.
type policies struct {
	file string       // empty for none
	base steer.Policy // what the Corefile says
	// accept returns what is wrong with a book, and prepares for it.
	accept func(*policy.Book) error

	// remote are those of etcd, nil for none. They are beneath those of the file.
	remote *remotePolicies

	// owned by reload
	own   *policy.Book  // what Corefile and file say, the last good
	seen  []os.FileInfo // the file as of the last attempt
	again bool          // it was right, but the geography could not be made ready for it

	book atomic.Pointer[policy.Book] // written by reload
}

// holdPolicies returns the policies of a world of a block, followed until h is
// released.
func holdPolicies(p *pool, h *holder, g *Geosched, w *world, file string, remote *remotePolicies) (*policies, error) {
	s := &policies{file: file, base: g.config.Policy, remote: remote}
	s.accept = func(b *policy.Book) error {
		if err := g.checkWaysOut(b); err != nil {
			return err
		}
		err := w.atlas.ask(h, g, b.ASNs())
		s.again = err != nil
		return err
	}
	if s.file == "" && remote == nil {
		b := policy.Only(s.base)
		s.book.Store(b)
		return s, s.accept(b)
	}
	return hold(p, h, fmt.Sprintf("policy %p", w), func() (*policies, func(), error) {
		s.seen = s.look()
		if err := s.load(); err != nil {
			return nil, nil, err
		}
		ctx, cancel := context.WithCancel(context.Background())
		go keepLooking(ctx, &p.announced, func() { s.reload(); p.prepare() })
		return s, cancel, nil
	})
}

// checkWaysOut returns an error if a policy sends clients to a name of ours when all
// nodes are down.
func (g *Geosched) checkWaysOut(b *policy.Book) error {
	for _, name := range b.Names() {
		if p, _ := b.Lookup(name); p.AllDown.Name != "" && g.names.find(p.AllDown.Name).steered != nil {
			return fmt.Errorf("policy %q: %s is steered here, so it is no way out when all nodes are down", name, p.AllDown.Name)
		}
	}
	return nil
}

// look looks at the file, if there is one.
func (s *policies) look() []os.FileInfo {
	if s.file == "" {
		return nil
	}
	return look(s.file)
}

// load reads the file and publishes the book.
func (s *policies) load() error {
	b := policy.Only(s.base)
	if s.file != "" {
		data, err := os.ReadFile(s.file)
		if err != nil {
			return err
		}
		if b, err = policy.Parse(s.file, data, s.base); err != nil {
			return err
		}
	}
	if err := s.publish(b); err != nil {
		return fmt.Errorf("%s: %w", cmp.Or(s.file, "policies"), err)
	}
	return nil
}

// publish makes a book of what Corefile and file say the one that counts, over what
// there is in etcd.
func (s *policies) publish(own *policy.Book) error {
	b := own
	if s.remote != nil {
		b = own.Over(s.remote.books()...)
	}
	if err := s.accept(b); err != nil {
		return err
	}
	s.own = own
	s.book.Store(b)
	return nil
}

// reload loads the file again if it has changed. When it is wrong or gone the last
// good book stays, and the next attempt is at the next change; or, if it is the
// geography that is wrong, at once, because that may change by itself.
func (s *policies) reload() {
	now := s.look()
	if s.remote != nil && s.remote.news() && unchanged(s.seen, now) && !s.again {
		if err := s.publish(s.own); err != nil {
			log.Errorf("the policies of etcd are not in use yet: %v", err)
			return
		}
		log.Infof("policies: %v", s.book.Load().Names())
		return
	}
	news := !unchanged(s.seen, now)
	if !news && !s.again {
		return
	}
	s.seen, s.again = now, false
	if err := s.load(); err != nil {
		if !news {
			return // as was said
		}
		reloads.WithLabelValues("refused").Inc()
		log.Errorf("refused, the last good policies stay: %v", err)
		return
	}
	reloads.WithLabelValues("loaded").Inc()
	log.Infof("policies: %v from %s", s.book.Load().Names(), cmp.Or(s.file, "etcd"))
}

// A plan is how one service chooses.
type plan struct {
	name   string // of the policy
	policy *steer.Policy
	set    *steer.Set
	turns  bool
	turn   atomic.Uint64 // of the last choice, if they take turns

	memorable bool
}

func newPlan(name string, p *steer.Policy, set *steer.Set) *plan {
	n := &plan{name: name, policy: p, set: set.Under(p), turns: p.Strategy != nil && p.Strategy.Traits().Turns}
	n.memorable = p.Memorable(set)
	n.turn.Store(rand.Uint64()) // name servers that start together do not all begin with the same node
	return n
}

// takeTurn returns the number of a choice, 0 where nobody counts.
func (n *plan) takeTurn() uint64 {
	if !n.turns {
		return 0
	}
	return n.turn.Add(1)
}

// nextTurn returns the number of the next choice without taking it.
func (n *plan) nextTurn() uint64 {
	if !n.turns {
		return 0
	}
	return n.turn.Load() + 1
}
