package geosched

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/tandem-cdn/tandem/healthfeed/etcdfeed"
)

// A bell wakes everybody who has listened for it.
type bell struct {
	mu   sync.Mutex
	rung chan struct{}
}

// heard returns a channel that is closed when the bell rings.
func (b *bell) heard() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.rung == nil {
		b.rung = make(chan struct{})
	}
	return b.rung
}

func (b *bell) ring() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.rung != nil {
		close(b.rung)
		b.rung = nil
	}
}

// notices compares the files of a block with what etcd says that they are.
type notices struct {
	source *etcdfeed.Source
	bell   *bell
	files  map[string][]string // by kind

	// owned by run
	looked map[string]lookedAt // by kind

	mu      sync.Mutex
	pending map[string]bool // by kind, of which there are few: whether no file is the announced one
}

// lookedAt is what was compared last.
type lookedAt struct {
	notice etcdfeed.Notice
	infos  []os.FileInfo
}

// holdNotices follows the notices for a block until h is released.
func holdNotices(p *pool, h *holder, g *Geosched) (*notices, error) {
	return hold(p, h, fmt.Sprintf("notices %p", g), func() (*notices, func(), error) {
		n := newNotices(g.config, g.etcd, &p.announced)
		ctx, cancel := context.WithCancel(context.Background())
		go n.run(ctx)
		return n, cancel, nil
	})
}

func newNotices(c *config, source *etcdfeed.Source, b *bell) *notices {
	n := &notices{source: source, bell: b, files: make(map[string][]string), looked: make(map[string]lookedAt), pending: make(map[string]bool)}
	add := func(kind string, files ...string) {
		for _, f := range files {
			if f != "" {
				n.files[kind] = append(n.files[kind], f)
			}
		}
	}
	add("nodes", c.Nodes)
	add("geoip", c.GeoIP.Files...)
	add("asn", c.GeoIP.ASN)
	add("nets", c.GeoIP.Nets)
	add("resolvers", c.GeoIP.Resolvers)
	add("policy", c.PolicyFile)
	if c.Records != nil {
		add("records", c.Records.File)
	}
	return n
}

// run rings the bell at every change, and compares then and whenever files are looked
// at, as a file may come after its notice.
func (n *notices) run(ctx context.Context) {
	tick := time.NewTicker(lookInterval())
	defer tick.Stop()
	for {
		_, changed := n.source.Changed()
		n.compare(n.source.Notices())
		select {
		case <-ctx.Done():
			return
		case <-changed:
			n.bell.ring()
		case <-tick.C:
		}
	}
}

// compare looks whether one of the files of each kind is the announced one, and logs
// when that changes. Kinds of which there is no file here are passed over.
func (n *notices) compare(all []etcdfeed.Notice) {
	for _, notice := range all {
		files := n.files[notice.Kind]
		if len(files) == 0 {
			continue
		}
		now := lookedAt{notice, look(files...)}
		if was, ok := n.looked[notice.Kind]; ok && was.notice == now.notice && unchanged(was.infos, now.infos) {
			continue
		}
		was := n.looked[notice.Kind]
		n.looked[notice.Kind] = now
		err := announcedIn(files, notice.SHA256)
		n.mu.Lock()
		before := n.pending[notice.Kind]
		n.pending[notice.Kind] = err != nil
		n.mu.Unlock()
		switch {
		case err == nil && (before || was.notice != notice):
			log.Infof("notice of %s %q: the file is here", notice.Kind, notice.Version)
		case err != nil:
			log.Warningf("notice of %s %q: the file is not here: %v", notice.Kind, notice.Version, err)
		}
	}
}

// announcedIn returns an error if none of the files has a hash.
func announcedIn(files []string, want string) error {
	var last error
	for _, name := range files {
		got, err := hashOf(name)
		if got == want {
			return nil
		}
		if last = err; err == nil {
			last = fmt.Errorf("%s has sha256 %s, not %s", name, got, want)
		}
	}
	return last
}

func hashOf(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// waiting returns, by kind, whether a file was announced and is not here.
func (n *notices) waiting() map[string]bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	out := make(map[string]bool, len(n.pending))
	for kind, is := range n.pending {
		out[kind] = is
	}
	return out
}
