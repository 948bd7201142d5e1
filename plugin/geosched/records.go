package geosched

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/tandem-cdn/tandem/internal/names"
	"github.com/tandem-cdn/tandem/internal/records"
)

// recordsConfig is a records property as parsed. Blocks with the same one, and
// generations of them, share what was read of the file.
type recordsConfig struct {
	File   string
	Zones  []string
	Shrink int // percent of the names that a version may lack
}

// guardedNames is from how many names on a version may not lose more of them than
// Shrink says. A smaller file is edited by hand.
const guardedNames = 100

// recordsFile is a file of names, followed. A query never waits for it: the file
// is read beside the index that answers, and what is different is in another one
// that takes its place at once.
type recordsFile struct {
	config recordsConfig

	// owned by reload
	file    *records.File
	seen    os.FileInfo // the file as of the last attempt; nil when it was not there
	settled bool        // it had not changed for a while then
	refusal string      // of the last attempt

	mu         sync.Mutex
	current    *names.Index
	generation int
	followers  []follower
}

// follower is a block that answers with the records.
type follower struct {
	by    *holder
	block *Geosched
}

// holdRecords returns the records of a configuration, from the pool.
func holdRecords(p *pool, h *holder, c recordsConfig) (*recordsFile, error) {
	key, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	return hold(p, h, "records "+string(key), func() (*recordsFile, func(), error) {
		f, err := openRecords(c)
		if err != nil {
			return nil, nil, err
		}
		log.Infof("records: %d names from %s", f.current.Len(), c.File)
		ctx, cancel := context.WithCancel(context.Background())
		go keepLooking(ctx, &p.announced, f.reload)
		return f, cancel, nil
	})
}

// openRecords reads the file for the first time. An error names the file and, if
// something is wrong in it, the line.
func openRecords(c recordsConfig) (*recordsFile, error) {
	file, err := records.New(c.Zones)
	if err != nil {
		return nil, err
	}
	f := &recordsFile{config: c, file: file}
	began := time.Now()
	var v *records.Version
	if err := patiently(func() (err error) {
		v, err = f.read(time.Now())
		return err
	}); err != nil {
		return nil, err
	}
	f.file.Keep(v)
	f.current = v.Index
	f.generation = 1
	recordsApplied.WithLabelValues("full").Observe(time.Since(began).Seconds())
	return f, nil
}

// reload reads the file again if it has changed. A version that is wrong is refused,
// and the last good one stays.
func (f *recordsFile) reload() {
	began := time.Now()
	news := !same(f.seen, look(f.config.File)[0])
	if !news && f.settled {
		return
	}
	v, err := f.read(began)
	if errors.Is(err, errChanging) {
		return // until it has settled
	}
	if err == nil {
		err = f.publish(v, began)
	}
	if err != nil {
		// What cannot be opened is tried again each time, and is news once.
		if news && f.seen != nil || err.Error() != f.refusal {
			reloads.WithLabelValues("refused").Inc()
			log.Errorf("refused, the last good records stay: %v", err)
		}
		f.refusal = err.Error()
		return
	}
	f.refusal = ""
	if news || v.Changed > 0 {
		reloads.WithLabelValues("loaded").Inc()
		recordsApplied.WithLabelValues("delta").Observe(time.Since(began).Seconds())
		log.Infof("records: %d names from %s, %d of them changed", v.Index.Len(), f.config.File, v.Changed)
	}
}

// read reads a version of the file. Since clocks of file systems are coarse, a file
// that has changed just now is read again the next time, whatever they say.
func (f *recordsFile) read(now time.Time) (*records.Version, error) {
	f.seen, f.settled = nil, true
	in, err := os.Open(f.config.File)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	before, err := in.Stat()
	if err != nil {
		return nil, err
	}
	v, bad := f.file.Read(in)
	after, err := in.Stat()
	if err != nil {
		return nil, err
	}
	if !same(before, after) {
		return nil, fmt.Errorf("%s: %w", f.config.File, errChanging)
	}
	f.seen, f.settled = before, now.Sub(before.ModTime()) > lookInterval()
	if bad != nil {
		if _, is := errors.AsType[*records.Error](bad); is {
			bad = fmt.Errorf("%s:%w", f.config.File, bad)
		}
		return nil, bad
	}
	return v, nil
}

// publish makes a version the one that all blocks answer with, or none of them.
func (f *recordsFile) publish(v *records.Version, now time.Time) error {
	if err := f.guard(f.file.Index().Len(), v.Index.Len()); err != nil {
		return err
	}
	if v.Changed == 0 {
		f.file.Keep(v)
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	ready := make([]*nameVersion, len(f.followers))
	for i, b := range f.followers {
		index, err := b.block.names.with(v.Index)
		if err != nil {
			return f.conflict(err)
		}
		ready[i] = &nameVersion{index: index, serial: max(uint32(now.Unix()), b.block.serial()+1)}
	}
	f.file.Keep(v)
	f.current = v.Index
	f.generation++
	for i, b := range f.followers {
		b.block.follow(ready[i])
	}
	return nil
}

// guard refuses a version that lacks so much that it is rather a mistake than meant.
func (f *recordsFile) guard(before, now int) error {
	if f.config.Shrink == 100 || before == 0 {
		return nil
	}
	if now == 0 || before >= guardedNames && now*100 < before*(100-f.config.Shrink) {
		return fmt.Errorf("%s has %d names and had %d: more than %d %% are gone; if that is meant, %q in the Corefile accepts it",
			f.config.File, now, before, f.config.Shrink, "records FILE shrink 100")
	}
	return nil
}

// conflict says where a name of the file contradicts the Corefile.
func (f *recordsFile) conflict(err error) error {
	conflict, is := errors.AsType[*names.ConflictError](err)
	if !is {
		return err
	}
	return fmt.Errorf("%w, at %s", err, f.lineOf(func(name string, _ steered) bool { return name == conflict.Name }))
}

// lineOf returns the file and the first line of it for which is returns true, as far
// as it can be found out.
func (f *recordsFile) lineOf(is func(name string, to steered) bool) string {
	in, err := os.Open(f.config.File)
	if err != nil {
		return f.config.File
	}
	defer in.Close()
	line, err := records.LineOf(in, f.config.Zones, is)
	if err != nil || line == 0 {
		return f.config.File
	}
	return fmt.Sprintf("%s:%d", f.config.File, line)
}

// follow makes the names of a block those of its Corefile and of the file, and keeps
// them so.
func (f *recordsFile) follow(h *holder, g *Geosched) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	index, err := g.names.with(f.current)
	if err != nil {
		return f.conflict(err)
	}
	g.names.version.Store(&nameVersion{index: index})
	f.followers = append(f.followers, follower{h, g})
	return nil
}

// follow answers with other names from now on.
func (g *Geosched) follow(v *nameVersion) {
	before := g.names.version.Swap(v).index.Services()
	if now := v.index.Services(); now != before {
		came := slices.DeleteFunc(slices.Clone(*now), func(s string) bool { return slices.Contains(*before, s) })
		logMissing(missing(g.feed.Table().Inventory, came))
	}
}

// leave implements leaver.
func (f *recordsFile) leave(h *holder) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.followers = slices.DeleteFunc(f.followers, func(b follower) bool { return b.by == h })
}

// size returns how many names there are, and how many times they have changed.
func (f *recordsFile) size() (names, generation int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.current.Len(), f.generation
}
