package etcdfeed

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/tandem-cdn/tandem/healthfeed"
)

// Where things are below the prefix.
const (
	observations = "obs/"
	overrides    = "override/"
	inventoryKey = "inventory"
	policyKeys   = "policy/"
	noticeKeys   = "notice/"
)

// Source is a [healthfeed.Source] that shares a feed over etcd.
type Source struct {
	// set by New
	config    Config
	password  string
	pace      pace
	following trouble
	writing   trouble
	refused   refusals

	// of records under our prober's name
	mine atomic.Int64 // the epoch in which it writes
	twin atomic.Int64 // that of somebody else

	Documents
}

// New returns a Source. It reads the password and asks nobody; an error is one of
// the configuration.
func New(c Config) (*Source, error) {
	c.complete()
	password, err := c.check()
	if err != nil {
		return nil, err
	}
	s := &Source{config: c, password: password, pace: usualPace}
	s.following = trouble{log: c.Log, what: s.String()}
	s.writing = trouble{log: c.Log, what: "writing to " + s.String()}
	s.refused.log = c.Log
	return s, nil
}

// String implements [healthfeed.Source].
func (s *Source) String() string {
	return "etcd " + strings.Join(s.config.Endpoints, " ") + " " + s.config.Prefix
}

// Following reports whether the keys could be listed and no doubt came up since.
func (s *Source) Following() bool { return s.following.good() }

// Doubts returns how often following had to begin anew because of an error.
func (s *Source) Doubts() uint64 { return s.following.count.Load() }

// Unwritten returns how many writes failed.
func (s *Source) Unwritten() uint64 { return s.writing.count.Load() }

// Run implements [healthfeed.Source]: it follows etcd, and writes f's own record to
// it, until ctx ends. It returns an error when a client cannot be made, as when the
// password is wrong.
func (s *Source) Run(ctx context.Context, f *healthfeed.Feed) error {
	client, err := connect(&s.config, s.password, s.pace)
	if err != nil {
		s.following.note(err)
		return err
	}
	defer client.Close()
	var wg sync.WaitGroup
	defer wg.Wait()
	prefix := s.config.Prefix + "/"
	wg.Go(func() {
		m := &receiver{source: s, feed: f, seen: make(map[string][sha256.Size]byte)}
		(&follower{client: client, prefix: prefix, pace: s.pace, mirror: m, note: s.following.note}).run(ctx)
	})
	if s.config.Prober != "" {
		wg.Go(func() {
			(&writer{
				client: client, prober: s.config.Prober, record: prefix + observations + s.config.Prober,
				words: prefix + overrides + s.config.Prober, pace: s.pace, note: s.writing.note, own: s.own,
			}).run(ctx, f)
		})
	}
	return nil
}

// own reports whether a record of our prober's name is ours to write, and not what was
// heard of another one who has the name.
func (s *Source) own(r *healthfeed.Aged) bool {
	if r.Epoch == s.twin.Load() {
		return false
	}
	s.mine.Store(r.Epoch)
	return true
}

// A receiver is the [mirror] that brings keys into a feed. It is owned by the
// goroutine that follows.
type receiver struct {
	source *Source
	feed   *healthfeed.Feed
	seen   map[string][sha256.Size]byte // what was taken last, by key
}

// take implements [mirror]. A value that was there before is passed over, so that a
// list costs little, and a wrong one is counted once.
func (r *receiver) take(key string, value []byte, listed bool) {
	sum := sha256.Sum256(value)
	if was, known := r.seen[key]; known && was == sum {
		return
	}
	r.seen[key] = sum
	err := r.read(key, value, listed)
	if err != nil {
		r.feed.Refuse()
		err = fmt.Errorf("etcd %s/%s: %w", r.source.config.Prefix, key, err)
	}
	r.source.refused.note(key, err)
}

// read reads a value. What stands under a key that is not known is passed over: a
// newer version may know it.
func (r *receiver) read(key string, value []byte, listed bool) error {
	data, err := unpack(value)
	if err != nil {
		return err
	}
	prober, isRecord := strings.CutPrefix(key, observations)
	switch {
	case isRecord:
		return r.record(prober, data, listed)
	case key == inventoryKey:
		inv, err := healthfeed.ParseSharedInventory("nodes.json", data)
		if err != nil {
			return err
		}
		return r.feed.Offer(&healthfeed.Snapshot{Inventory: inv})
	case strings.HasPrefix(key, overrides):
		return r.words(data)
	case strings.HasPrefix(key, policyKeys), strings.HasPrefix(key, noticeKeys):
		return r.source.Documents.set(key, data)
	}
	return nil
}

// record offers the record of a prober, which is alone in its snapshot.
func (r *receiver) record(prober string, data []byte, listed bool) error {
	s, err := healthfeed.ParseSnapshot(data)
	switch {
	case err != nil:
		return err
	case s.Inventory != nil || len(s.Overrides) > 0 || len(s.Records) != 1:
		return fmt.Errorf("want one record and nothing beside it, got %d records", len(s.Records))
	case s.Records[0].Prober != prober:
		return fmt.Errorf("the record is that of prober %q", s.Records[0].Prober)
	}
	if a := &s.Records[0]; listed {
		// Nobody knows since when it has been there: a prober that cannot
		// write keeps its lease all the same. So its votes hold, but count in
		// full only when the next one comes.
		a.AgeMS = max(a.AgeMS, a.TTLMS+1)
	}
	if e := s.Records[0].Epoch; prober == r.source.config.Prober && e != r.source.mine.Load() {
		r.source.twin.Store(e)
	}
	return r.feed.Hear(s)
}

// words offers what operators have said, which is alone in its snapshot.
func (r *receiver) words(data []byte) error {
	s, err := healthfeed.ParseSnapshot(data)
	if err == nil && (s.Inventory != nil || len(s.Records) > 0) {
		err = errors.New("want overrides and nothing beside them")
	}
	if err != nil {
		return err
	}
	return r.feed.Hear(s)
}

// gone implements [mirror].
func (r *receiver) gone(key string) {
	delete(r.seen, key)
	r.source.refused.note(key, nil)
	r.source.Documents.remove(key)
}

// anew implements [mirror]. What is forgotten here is in the feed and in the documents
// all the same.
func (r *receiver) anew() {
	r.source.config.Log.Warn("etcd has begun anew; what it has no more stays until it is written and taken away", "what", r.source.String())
	clear(r.seen)
}

// only implements [mirror].
func (r *receiver) only(keys map[string]bool) {
	for key := range maps.Clone(r.seen) {
		if !keys[key] {
			r.gone(key)
		}
	}
}
