package geosched

import (
	"context"
	"encoding/json"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/tandem-cdn/tandem/internal/geoip"
)

// atlas is the class trie and the files that it was made of. A newer file is
// found by looking, not by being notified: a ConfigMap swaps a symbolic link two
// directories up, and an update may come over NFS.
type atlas struct {
	config geoip.Config

	// owned by run
	seen []os.FileInfo // the files as of the last attempt; nil where there was none

	trie atomic.Pointer[geoip.Trie] // written by run
}

// lookInterval is how often the files are looked at.
const lookInterval = 5 * time.Second

// openAtlas loads the files, and an error names the one that is missing or
// wrong.
func openAtlas(c geoip.Config) (*atlas, error) {
	a := &atlas{config: c}
	a.seen = a.look()
	trie, err := geoip.Load(c)
	if err != nil {
		return nil, err
	}
	a.trie.Store(trie)
	return a, nil
}

// holdAtlas returns the atlas of a configuration, from the pool.
func holdAtlas(p *pool, h *holder, c geoip.Config) (*atlas, error) {
	key, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	return hold(p, h, "geoip "+string(key), func() (*atlas, func(), error) {
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
			go a.run(ctx)
		}
		return a, cancel, nil
	})
}

// Trie returns the trie of the newest good files. It never blocks.
func (a *atlas) Trie() *geoip.Trie { return a.trie.Load() }

func (a *atlas) files() []string {
	files := a.config.Files[:len(a.config.Files):len(a.config.Files)]
	if a.config.Nets != "" {
		files = append(files, a.config.Nets)
	}
	return files
}

// look returns what tells one version of the files from another.
func (a *atlas) look() []os.FileInfo {
	var infos []os.FileInfo
	for _, f := range a.files() {
		info, err := os.Stat(f)
		if err != nil {
			info = nil
		}
		infos = append(infos, info)
	}
	return infos
}

func same(a, b os.FileInfo) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	// The mode, because a file that could not be read may be let be read.
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime()) && a.Mode() == b.Mode()
}

// run follows the files until ctx ends.
func (a *atlas) run(ctx context.Context) {
	tick := time.NewTicker(lookInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			a.reload()
		}
	}
}

// reload loads the files again if one of them has changed. When one is wrong or
// gone the last good trie stays, and the next attempt is at the next change.
func (a *atlas) reload() {
	now := a.look()
	changed := false
	for i := range now {
		changed = changed || !same(now[i], a.seen[i])
	}
	if !changed {
		return
	}
	a.seen = now
	trie, err := geoip.Load(a.config)
	if err != nil {
		reloads.WithLabelValues("refused").Inc()
		log.Errorf("refused, the last good data stays: %v", err)
		return
	}
	a.trie.Store(trie)
	reloads.WithLabelValues("loaded").Inc()
	log.Infof("geography: %v from %s", trie, strings.Join(a.files(), ", "))
}
