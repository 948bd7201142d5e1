package edgecache

import (
	"sync"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"

	"github.com/tandem-cdn/tandem/internal/collapse"
	"github.com/tandem-cdn/tandem/internal/store"
)

// states are the stores in use by name. A reload provisions the new
// configuration before it cleans up the old one, so a store that both name
// never loses its last reference.
var states = caddy.NewUsagePool()

// state is what outlives a configuration: stored responses and the fetches
// under way. It keeps nothing of the configuration that created it.
type state struct {
	loopID    string // in CDN-Loop
	store     *store.Store
	flights   *collapse.Group[*response]
	maxObject atomic.Int64

	combining sync.Mutex // held while a part is put together with what is stored
}

func acquireState(name string, c StoreConfig) (*state, error) {
	v, _, err := states.LoadOrNew(name, func() (caddy.Destructor, error) {
		s := &state{
			loopID:  newLoopID(),
			store:   store.New(c.Memory),
			flights: collapse.NewGroup[*response](collapse.Limits{}, bufferLimit(c)),
		}
		s.maxObject.Store(c.MaxObject)
		return s, nil
	})
	if err != nil {
		return nil, err
	}
	return v.(*state), nil
}

func releaseState(name string) error {
	_, err := states.Delete(name)
	return err
}

// keep has the store count those who still read a body that has ended and
// whose content is that of e.
func (s *state) keep(b *collapse.Body, e *store.Entry) {
	e.Counted()
	b.Keep(collapse.Keeper{
		Enter: func(readers int) { s.store.Pin(e, readers) },
		Leave: func() { s.store.Unpin(e) },
		Cut:   e.Cut,
	})
}

func (s *state) resize(c StoreConfig) {
	s.store.Resize(c.Memory)
	s.flights.SetBufferLimit(bufferLimit(c))
	s.maxObject.Store(c.MaxObject)
}

// Destruct is called when the last configuration that used the store is gone.
// Requests and fills that still run hold it until they end.
func (s *state) Destruct() error { return nil }

// bufferLimit is what unfinished fills may hold beside the store: as much
// again as two of the largest objects, and not less than 16 MiB.
func bufferLimit(c StoreConfig) int64 { return max(2*c.MaxObject, 16<<20) }
