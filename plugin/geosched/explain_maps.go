package geosched

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"weak"

	"github.com/tandem-cdn/tandem/healthfeed"
	"github.com/tandem-cdn/tandem/internal/geoip"
	"github.com/tandem-cdn/tandem/internal/policy"
)

// mapMaker makes maps, one at a time: each takes as long as thousands of queries.
// Whoever asks for one that is kept gets the same octets, so that slow readers, many
// as they may be, take no memory for it.
type mapMaker struct {
	waiting atomic.Int32 // who asks, and has no answer yet

	mu   sync.Mutex
	kept []keptMap // the newest last
}

const (
	mostKept    = 4  // maps: a page that supposes something asks for two
	mostWaiting = 16 // who may wait for their turn; others would hardly get it before they give up
)

type keptMap struct {
	of   mapKey
	body encoded
}

// mapKey is all that a map depends on. The pointers are weak, so that a map does not
// keep what a reload has replaced, which may be large.
type mapKey struct {
	g             weak.Pointer[Geosched]
	table         weak.Pointer[healthfeed.Table]
	book          weak.Pointer[policy.Book]
	trie          weak.Pointer[geoip.Trie]
	name, service string
	raw           string
}

// serve answers /v1/map?name=&type=&policy=&alpha=&beta=&near=&down=.
func (m *mapMaker) serve(ctx context.Context, blocks []*Geosched, raw string) (encoded, error) {
	given, err := parameters(raw, append([]string{"name", "type", "policy"}, whatIfWords...)...)
	if err != nil {
		return nil, err
	}
	if _, ok := given["name"]; !ok {
		if names, _ := steeredNames(blocks, 1); len(names) > 0 {
			given["name"] = names[0]
		}
	}
	q, err := inquire(blocks, given)
	if err != nil {
		return nil, err
	}
	defer m.waiting.Add(-1)
	if m.waiting.Add(1) > mostWaiting {
		return nil, &complaint{http.StatusServiceUnavailable, fmt.Sprintf("%d maps are being asked for, and they are made one at a time", mostWaiting)}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	w := q.world()
	key := mapKey{
		g: weak.Make(q.g), table: weak.Make(q.g.feed.Table()), book: weak.Make(w.policies.book.Load()), trie: weak.Make(w.atlas.Trie()),
		name: q.name, service: q.s.Service, raw: raw,
	}
	if i := slices.IndexFunc(m.kept, func(k keptMap) bool { return k.of == key }); i >= 0 {
		return m.kept[i].body, nil
	}
	made, err := q.draw(ctx)
	if err != nil {
		return nil, err
	}
	body, err := json.Marshal(made)
	if err != nil {
		return nil, err
	}
	if len(m.kept) == mostKept {
		m.kept = slices.Delete(m.kept, 0, 1)
	}
	m.kept = append(m.kept, keptMap{key, append(body, '\n')})
	return m.kept[len(m.kept)-1].body, nil
}
