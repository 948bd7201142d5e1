package etcdfeed

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/tandem-cdn/tandem/healthfeed"
)

// lookInterval is how often the writer looks whether a vote has changed. Tables
// are not replaced more often.
const lookInterval = 100 * time.Millisecond

// A writer keeps one prober's record in etcd, under a lease of this process.
type writer struct {
	// set at construction
	client *clientv3.Client
	key    string
	prober string
	pace   pace
	note   func(error) // of each attempt

	// owned by run
	lease   clientv3.LeaseID // 0 for none
	written healthfeed.Record
	due     time.Time // of the next write, whether something changed or not
}

// run writes what f knows of the prober until ctx ends, and then gives the lease
// back. A write that fails is not repeated: the next one says more.
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
		record, ok := f.Record(w.prober)
		now := time.Now()
		switch waiting := now.Before(w.due); {
		case !ok, waiting && !flipped(&w.written, &record.Record):
			continue
		case record.Epoch == w.written.Epoch && record.Seq == w.written.Seq:
			continue // the prober is silent, and so are we: the lease will end
		case !waiting:
			w.due = now.Add(w.pace.write*9/10 + rand.N(w.pace.write/5))
		}
		w.written = record.Record
		err := w.write(ctx, record, now)
		if ctx.Err() == nil {
			w.note(err)
		}
	}
}

// flipped reports whether the votes differ.
func flipped(a, b *healthfeed.Record) bool {
	if a.Epoch != b.Epoch || len(a.Nodes) != len(b.Nodes) {
		return true
	}
	for id, o := range b.Nodes {
		if was, ok := a.Nodes[id]; !ok || was.State != o.State {
			return true
		}
	}
	return false
}

// write puts a record under a lease that lives.
func (w *writer) write(ctx context.Context, record healthfeed.Aged, now time.Time) error {
	data, err := json.Marshal(&healthfeed.Snapshot{Records: []healthfeed.Aged{record}})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, w.pace.request)
	defer cancel()
	if err := w.hold(ctx); err != nil {
		return err
	}
	_, err = w.client.Put(ctx, w.key, string(pack(data)), clientv3.WithLease(w.lease))
	if errors.Is(err, rpctypes.ErrLeaseNotFound) {
		w.lease = 0
	}
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
