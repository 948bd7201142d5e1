package etcdfeed

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// page is how many keys a list brings at once, so that a thousand large values are
// not all in memory twice.
const page = 100

// A follower keeps somebody up to date with all keys below a prefix.
type follower struct {
	// set at construction
	client *clientv3.Client
	prefix string // with the slash at its end
	pace   pace
	mirror mirror
	note   func(error) // of each round: nil when the keys have been listed

	// owned by run
	cluster  uint64    // whose keys these are, 0 before the first list
	revision int64     // the last that it is known to have had
	heard    time.Time // when it was last heard
}

// A mirror is told what is there.
type mirror interface {
	// take is called with each key, without its prefix: listed if it may be
	// there for long, otherwise because it was just written.
	take(key string, value []byte, listed bool)

	// gone is called with a key that was taken away.
	gone(key string)

	// only is called after a list, with all keys that are there.
	only(keys map[string]bool)

	// anew is called before a list of an etcd that is not the one that it was: its
	// data were lost, or restored. What is missing there was not taken away.
	anew()
}

// Why a watch is given up.
var (
	errSilent = errors.New("the watch is silent, or behind,")
	errEnded  = errors.New("the watch ended")
)

// run follows until ctx ends.
func (f *follower) run(ctx context.Context) {
	const first = time.Second
	for pause := first; ctx.Err() == nil; {
		began := time.Now()
		err := f.round(ctx)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			continue // it was time for another list
		}
		f.note(err)
		if time.Since(began) > f.pace.silence {
			pause = first
		}
		select {
		case <-time.After(rand.N(pause)):
		case <-ctx.Done():
		}
		pause = min(2*pause, f.pace.spread)
	}
}

// round lists the keys and watches them until there is a doubt, which is the error.
func (f *follower) round(ctx context.Context) error {
	revision, err := f.list(ctx)
	if err != nil {
		return fmt.Errorf("list: %w", err)
	}
	f.note(nil)
	// What happened in the last revision is known, and passed over. Yet an etcd 3.7
	// gives no sign of life to a watch whose first revision is still to come.
	return f.watch(ctx, revision)
}

// list brings all keys as they are at one revision, which it returns.
func (f *follower) list(ctx context.Context) (revision int64, err error) {
	keys := make(map[string]bool)
	end := clientv3.GetPrefixRangeEnd(f.prefix)
	for from := f.prefix; ; {
		options := []clientv3.OpOption{clientv3.WithRange(end), clientv3.WithLimit(page)}
		if revision != 0 {
			options = append(options, clientv3.WithRev(revision))
		}
		// An answer of this member alone may be old; the default is one that
		// the majority stands behind.
		pageCtx, cancel := context.WithTimeout(ctx, f.pace.request)
		r, err := f.client.Get(pageCtx, from, options...)
		cancel()
		if err != nil {
			return 0, err
		}
		if revision == 0 {
			if err := f.recognise(r.Header); err != nil {
				return 0, err
			}
			revision = r.Header.Revision
		} else if r.Header.ClusterId != f.cluster {
			return 0, f.stranger(r.Header)
		}
		for _, kv := range r.Kvs {
			key := string(kv.Key)
			f.mirror.take(key[len(f.prefix):], kv.Value, true)
			keys[key[len(f.prefix):]] = true
			from = key + "\x00" // the next key there can be
		}
		if !r.More {
			break
		}
	}
	f.mirror.only(keys)
	return revision, nil
}

// recognise notes whose list begins. Another cluster is believed when the one that
// there was has been silent for as long as votes hold; until then it is a mistake in the
// configuration of somebody.
func (f *follower) recognise(h *etcdserverpb.ResponseHeader) error {
	same := f.cluster == h.ClusterId
	switch {
	case f.cluster == 0:
	case !same && time.Since(f.heard) < f.pace.believe:
		return f.stranger(h)
	case !same, h.Revision < f.revision: // the majority stands behind it: that is no lag
		f.mirror.anew()
	}
	f.cluster, f.revision, f.heard = h.ClusterId, h.Revision, time.Now()
	return nil
}

func (f *follower) stranger(h *etcdserverpb.ResponseHeader) error {
	return fmt.Errorf("another cluster answers: %x, not %x", h.ClusterId, f.cluster)
}

// watch passes on what changes from a revision on.
func (f *follower) watch(ctx context.Context, revision int64) error {
	// Without a leader a member would keep the watch open and say nothing.
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer cancel()
	changes := f.client.Watch(ctx, f.prefix, clientv3.WithPrefix(), clientv3.WithRev(revision))
	go f.demand(ctx)

	silence := time.NewTimer(f.pace.silence)
	defer silence.Stop()
	relist := time.After(f.pace.relist*4/5 + rand.N(f.pace.relist*2/5))
	for {
		select {
		case r, ok := <-changes:
			if !ok {
				return errEnded
			}
			if err := r.Err(); err != nil { // compacted, no leader, not allowed
				return fmt.Errorf("watch: %w", err)
			}
			if r.Header.ClusterId != f.cluster {
				return f.stranger(r.Header)
			}
			// A member that is behind is no sign of life: it may have lost
			// its data, and wait for a revision that is far away.
			if r.Header.Revision >= f.revision {
				f.revision, f.heard = r.Header.Revision, time.Now()
				silence.Reset(f.pace.silence)
			}
			for _, e := range r.Events {
				key := string(e.Kv.Key)[len(f.prefix):]
				if e.Type == clientv3.EventTypeDelete {
					f.mirror.gone(key)
				} else {
					f.mirror.take(key, e.Kv.Value, false)
				}
			}
		case <-silence.C:
			return fmt.Errorf("%w for %v", errSilent, f.pace.silence)
		case <-relist:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// demand asks for a sign of life again and again. It is apart from the watch
// because asking can block.
func (f *follower) demand(ctx context.Context) {
	tick := time.NewTicker(f.pace.progress)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			f.client.RequestProgress(ctx) // when it fails there is silence
		case <-ctx.Done():
			return
		}
	}
}
