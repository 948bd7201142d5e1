package geosched

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tandem-cdn/tandem/internal/geoip"
)

// atlas is the class trie and the files that it was made of.
type atlas struct {
	config geoip.Config // but for ASNs

	trie atomic.Pointer[geoip.Trie] // stored with loading held

	askMu sync.Mutex
	asked map[asker][]uint32 // autonomous systems

	loading sync.Mutex
	seen    []os.FileInfo // the files as of the last attempt; nil where there was none
	tried   []uint32      // the autonomous systems as of the last attempt
	told    []uint32      // those that trie tells apart
}

// asker is a block of an instance.
type asker struct {
	*holder
	*Geosched
}

// openAtlas loads the files, and an error names the one that is missing or
// wrong.
func openAtlas(c geoip.Config) (*atlas, error) {
	a := &atlas{config: c, asked: make(map[asker][]uint32)}
	a.config.ASNs = nil
	if err := patiently(func() error { return a.load(look(a.files()...), wanted(c.ASNs)) }); err != nil {
		return nil, err
	}
	return a, nil
}

// holdAtlas returns the atlas of a configuration for a block, from the pool. Those
// for different purposes are not shared.
func holdAtlas(p *pool, h *holder, g *Geosched, what string, c geoip.Config) (*atlas, error) {
	asns := c.ASNs
	c.ASNs = nil // blocks that ask about different ones share a trie, and ask may be called again
	key, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	a, err := hold(p, h, what+" "+string(key), func() (*atlas, func(), error) {
		c.ASNs = asns
		a, err := openAtlas(c)
		if err != nil {
			return nil, nil, err
		}
		if len(c.Files) == 0 {
			log.Info("no geoip file: steering by the built-in continent table")
		}
		log.Infof("geography: %v", a.Trie())
		ctx, cancel := context.WithCancel(context.Background())
		if len(a.files()) > 0 {
			go keepLooking(ctx, &p.announced, func() { a.reload(); p.prepare() })
		}
		return a, cancel, nil
	})
	if err != nil {
		return nil, err
	}
	return a, a.ask(h, g, asns)
}

// Trie returns the trie of the newest good files. It never blocks.
func (a *atlas) Trie() *geoip.Trie { return a.trie.Load() }

// oldest returns when the MaxMind files were built, by type, and of several files
// of one type the oldest.
func (a *atlas) oldest() map[string]time.Time {
	built := make(map[string]time.Time)
	for _, d := range a.Trie().Databases() {
		kind := strings.ToValidUTF8(d.Type, "\uFFFD") // it becomes a label
		if t, ok := built[kind]; !ok || d.Built.Before(t) {
			built[kind] = d.Built
		}
	}
	return built
}

// ask says which autonomous systems a block needs told apart from now on, in the
// place of those it asked about before. When ask returns without an error, Trie
// tells them apart. On error nothing has changed. What nobody asks about any
// more is forgotten a little later, because the block may still be using it.
func (a *atlas) ask(h *holder, g *Geosched, asns []uint32) error {
	who := asker{h, g}
	a.askMu.Lock()
	before, asked := a.asked[who]
	a.asked[who] = asns
	a.askMu.Unlock()

	a.loading.Lock()
	defer a.loading.Unlock()
	if !slices.ContainsFunc(asns, func(n uint32) bool { return !slices.Contains(a.told, n) }) {
		return nil
	}
	seen, tried := a.seen, a.tried
	if err := patiently(func() error { return a.load(look(a.files()...), a.wanted()) }); err != nil {
		a.seen, a.tried = seen, tried // what is wrong with the files is for reload to find
		a.askMu.Lock()
		defer a.askMu.Unlock()
		if delete(a.asked, who); asked {
			a.asked[who] = before
		}
		return err
	}
	log.Infof("geography: %v", a.Trie())
	return nil
}

// leave implements leaver.
func (a *atlas) leave(h *holder) {
	a.askMu.Lock()
	defer a.askMu.Unlock()
	maps.DeleteFunc(a.asked, func(who asker, _ []uint32) bool { return who.holder == h })
}

// wanted returns the autonomous systems that anybody asks about.
func (a *atlas) wanted() []uint32 {
	a.askMu.Lock()
	defer a.askMu.Unlock()
	return wanted(slices.Collect(maps.Values(a.asked))...)
}

func wanted(asked ...[]uint32) []uint32 {
	all := slices.Concat(asked...)
	slices.Sort(all)
	return slices.Compact(all)
}

func (a *atlas) files() []string {
	files := slices.Clone(a.config.Files)
	for _, f := range []string{a.config.ASN, a.config.Nets, a.config.Resolvers} {
		if f != "" {
			files = append(files, f)
		}
	}
	return files
}

// reload loads the files again if one of them has changed, or what is asked. When
// a file is wrong or gone the last good trie stays, and the next attempt is at the
// next change.
func (a *atlas) reload() {
	a.loading.Lock()
	defer a.loading.Unlock()
	files, asns := look(a.files()...), a.wanted()
	if unchanged(a.seen, files) && slices.Equal(asns, a.tried) {
		return
	}
	if err := a.load(files, asns); errors.Is(err, errChanging) {
		return // until it has settled
	} else if err != nil {
		reloads.WithLabelValues("refused").Inc()
		log.Errorf("refused, the last good data stays: %v", err)
		return
	}
	reloads.WithLabelValues("loaded").Inc()
	log.Infof("geography: %v", a.Trie())
}

// load makes the trie of the files as they were looked at. The caller holds loading.
func (a *atlas) load(files []os.FileInfo, asns []uint32) error {
	a.seen, a.tried = files, asns
	c := a.config
	c.ASNs = asns
	var trie *geoip.Trie
	var err error
	if old := a.Trie(); old != nil {
		trie, err = old.Reload(c, time.Now())
	} else {
		trie, err = geoip.Load(c)
	}
	for i, now := range look(a.files()...) {
		if !same(now, files[i]) {
			return fmt.Errorf("%s: %w", a.files()[i], errChanging)
		}
	}
	if err != nil {
		return err
	}
	a.told = asns
	a.trie.Store(trie)
	return nil
}
