package etcdfeed

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/tandem-cdn/tandem/healthfeed"
)

// lookInterval is how often the writer looks whether a vote has changed. Tables
// are not replaced more often.
const lookInterval = 100 * time.Millisecond

// A writer keeps one prober's record in etcd, under a lease of this process, and what
// operators have said, which has none: it is true until they take it back.
type writer struct {
	// set at construction
	client *clientv3.Client
	prober string
	record string // key of the prober's record
	words  string // key of the operators' words
	pace   pace
	note   func(error) // of each attempt
	own    func(*healthfeed.Aged) bool

	// owned by run
	lease   clientv3.LeaseID // 0 for none
	written healthfeed.Snapshot
	due     time.Time // of the next write, whether something changed or not
}

// run writes what f knows of the prober, and of the word of operators, until ctx ends,
// and then gives the lease back. A write that fails is not repeated: the next one says
// more.
func (w *writer) run(ctx context.Context, f *healthfeed.Feed) {
	tick := time.NewTicker(lookInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			w.giveBack()
			return
		case <-tick.C:
		}
		s := healthfeed.Snapshot{Records: []healthfeed.Aged{}, Overrides: f.Overrides()}
		if record, ok := f.Record(w.prober); ok && w.own(&record) {
			s.Records = append(s.Records, record)
		}
		now := time.Now()
		if news := flipped(&w.written, &s); now.Before(w.due) && !news || silent(&w.written, &s) && !news {
			continue
		}
		if !now.Before(w.due) {
			w.due = now.Add(w.pace.write*9/10 + rand.N(w.pace.write/5))
		}
		w.written = s
		err := w.write(ctx, &s)
		if ctx.Err() == nil {
			w.note(err)
		}
	}
}

// flipped reports whether votes or words of operators differ.
func flipped(was, is *healthfeed.Snapshot) bool {
	if len(was.Records) != len(is.Records) || !slices.Equal(was.Overrides, is.Overrides) {
		return true
	}
	for i := range is.Records {
		a, b := &was.Records[i], &is.Records[i]
		if a.Epoch != b.Epoch || len(a.Nodes) != len(b.Nodes) {
			return true
		}
		for id, o := range b.Nodes {
			if was, ok := a.Nodes[id]; !ok || was.State != o.State {
				return true
			}
		}
	}
	return false
}

// silent reports whether nothing was heard of the prober, so that the lease is to end,
// or there is nothing to write.
func silent(was, is *healthfeed.Snapshot) bool {
	if len(is.Records) == 0 {
		return len(is.Overrides) == 0
	}
	return len(was.Records) > 0 && was.Records[0].Epoch == is.Records[0].Epoch && was.Records[0].Seq == is.Records[0].Seq
}

// write puts what there is, each under its own key, so that not everybody who may say
// how the nodes are may drain them.
func (w *writer) write(ctx context.Context, s *healthfeed.Snapshot) error {
	ctx, cancel := context.WithTimeout(ctx, w.pace.request)
	defer cancel()
	var errs []error
	if len(s.Records) > 0 {
		err := w.hold(ctx)
		if err == nil {
			err = w.put(ctx, w.record, &healthfeed.Snapshot{Records: s.Records}, clientv3.WithLease(w.lease))
		}
		if errors.Is(err, rpctypes.ErrLeaseNotFound) {
			w.lease = 0
		}
		errs = append(errs, err)
	}
	if len(s.Overrides) > 0 {
		errs = append(errs, w.put(ctx, w.words, &healthfeed.Snapshot{Records: []healthfeed.Aged{}, Overrides: s.Overrides}))
	}
	return errors.Join(errs...)
}

func (w *writer) put(ctx context.Context, key string, s *healthfeed.Snapshot, options ...clientv3.OpOption) error {
	data, err := json.Marshal(s)
	if err != nil {
		return err
	}
	_, err = w.client.Put(ctx, key, string(pack(data)), options...)
	return err
}

// hold extends the lease, or takes another if it has ended.
func (w *writer) hold(ctx context.Context) error {
	if w.lease != 0 {
		_, err := w.client.KeepAliveOnce(ctx, w.lease)
		if !errors.Is(err, rpctypes.ErrLeaseNotFound) {
			return err
		}
		w.lease = 0
	}
	granted, err := w.client.Grant(ctx, int64(w.pace.lease/time.Second))
	if err != nil {
		return err
	}
	w.lease = granted.ID
	return nil
}

// giveBack ends the lease, so that nobody has to find out that it did.
func (w *writer) giveBack() {
	if w.lease == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	w.client.Revoke(ctx, w.lease) // or it ends by itself
}
