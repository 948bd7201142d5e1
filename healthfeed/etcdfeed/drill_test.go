package etcdfeed

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/tandem-cdn/tandem/healthfeed"
)

// A reader that is cut off keeps what it knows: a node that is down stays down, one
// that is up stays up. Nor does it matter to the others.
func TestReaderCutOff(t *testing.T) {
	eachEtcd(t, func(t *testing.T, etcd string) {
		c := startEtcd(t, etcd, 1)
		one := join(t, "one", quick, inventory, c.endpoints()...)
		one.vote(map[string]healthfeed.State{"lon": healthfeed.Up, "sea": healthfeed.Down})
		k := newLink(t, c.members[0].endpoint)
		reader := join(t, "", quick, inventory, k.url)
		known := func() bool {
			return reader.state("lon") == healthfeed.Up && reader.state("sea") == healthfeed.Down
		}
		eventually(t, "the reader does not hear", func() bool { return reader.fresh() && known() })
		k.cut()
		eventually(t, "the reader's table does not grow old", func() bool { return reader.Table().Freshness == healthfeed.LastKnownGood })
		if !known() {
			t.Errorf("cut off, lon is %v and sea is %v", reader.state("lon"), reader.state("sea"))
		}
		one.vote(map[string]healthfeed.State{"lon": healthfeed.Up, "sea": healthfeed.Up})
		k.heal()
		eventually(t, "the reader does not come back", func() bool { return reader.fresh() && reader.state("sea") == healthfeed.Up })
	})
}

// A prober that is cut off from etcd, but not from the nodes, abstains: its key goes
// with the lease, its vote when it is too old, and the others decide.
func TestProberCutOff(t *testing.T) {
	eachEtcd(t, func(t *testing.T, etcd string) {
		c := startEtcd(t, etcd, 1)
		k := newLink(t, c.members[0].endpoint)
		one := join(t, "one", quick, inventory, k.url)
		join(t, "two", quick, inventory, c.endpoints()...)
		reader := join(t, "", quick, inventory, c.endpoints()...)
		voters := func() string { s, _ := reader.Table().Lookup("lon"); return s.Reason }
		eventually(t, "not both vote", func() bool { return voters() == "2 of 2 probers" })
		k.cut()
		one.vote(map[string]healthfeed.State{"lon": healthfeed.Down, "sea": healthfeed.Down})
		client := c.client(t)
		eventually(t, "the key outlives the lease", func() bool {
			r, err := client.Get(t.Context(), "/tandem/obs/one")
			return err == nil && len(r.Kvs) == 0
		})
		eventually(t, "the prober does not abstain, or the other one with it", func() bool {
			return voters() == "1 of 1 probers" && reader.fresh()
		})
		if reader.down.Load() {
			t.Errorf("a node went down without one of two probers; lon is %v", reader.state("lon"))
		}
		one.vote(map[string]healthfeed.State{"lon": healthfeed.Up, "sea": healthfeed.Up})
		k.heal()
		eventually(t, "the prober does not come back", func() bool { return voters() == "2 of 2 probers" })
	})
}

// What was written and compacted while nobody listened is found by a list.
func TestCompactedWhileCutOff(t *testing.T) {
	eachEtcd(t, func(t *testing.T, etcd string) {
		c := startEtcd(t, etcd, 1)
		p := quick
		p.silence = 20 * time.Second // so that it is the compaction that ends the watch
		k := newLink(t, c.members[0].endpoint)
		reader := join(t, "", p, nil, k.url)
		c.put("/tandem/inventory", `{"nodes": [{"id": "a", "addrs": ["192.0.2.1"]}]}`)
		eventually(t, "the first inventory does not come", func() bool { return len(reader.Table().Nodes) == 1 })
		k.cut()
		client := c.client(t)
		var revision int64
		for i := range 5 {
			r, err := client.Put(t.Context(), "/tandem/inventory", fmt.Sprintf(`{"nodes": [{"id": "a", "addrs": ["192.0.2.1"]}, {"id": "b%d", "addrs": ["192.0.2.2"]}]}`, i))
			if err != nil {
				t.Fatal(err)
			}
			revision = r.Header.Revision
		}
		if _, err := client.Compact(t.Context(), revision, clientv3.WithCompactPhysical()); err != nil {
			t.Fatal(err)
		}
		k.heal()
		eventually(t, "the last inventory does not come", func() bool { _, ok := reader.Table().Lookup("b4"); return ok })
		if reader.source.Doubts() == 0 || !strings.Contains(reader.log.String(), "compacted") {
			t.Errorf("%d doubts, and the log does not speak of the compaction:\n%s", reader.source.Doubts(), reader.log)
		}
	})
}

// A full etcd takes no writes. Readers go on, and so do writers when there is room.
func TestNoSpace(t *testing.T) {
	eachEtcd(t, func(t *testing.T, etcd string) {
		c := startEtcd(t, etcd, 1, "--quota-backend-bytes", "200000")
		p := quick
		p.lease = time.Minute // a full etcd grants no other one
		one := join(t, "one", p, inventory, c.endpoints()...)
		reader := join(t, "", quick, inventory, c.endpoints()...)
		eventually(t, "the reader hears nothing", reader.fresh)
		client := c.client(t)
		var last int64
		eventually(t, "etcd does not become full", func() bool {
			r, err := client.Put(t.Context(), "filler", strings.Repeat("x", 30_000))
			if err == nil {
				last = r.Header.Revision
			}
			return err != nil
		})
		eventually(t, "no write fails", func() bool { return one.source.Unwritten() > 0 })
		if !strings.Contains(one.log.String(), "exceeded") {
			t.Errorf("the log does not say why\n%s", one.log)
		}
		eventually(t, "the record does not grow old", func() bool { return !reader.fresh() })
		eventually(t, "the reader does not follow", reader.source.Following)
		if reader.down.Load() {
			t.Error("a node went down because nothing could be written")
		}
		// A late joiner finds the key, whose lease lives, and does not take it for news.
		late := join(t, "", quick, inventory, c.endpoints()...)
		eventually(t, "the late joiner finds nothing", func() bool { return len(late.Snapshot().Records) == 1 })
		if late.fresh() {
			t.Error("a record that cannot be renewed is fresh to a late joiner")
		}
		if _, err := client.Delete(t.Context(), "filler"); err != nil {
			t.Fatal(err)
		}
		if _, err := client.Compact(t.Context(), last, clientv3.WithCompactPhysical()); err != nil {
			t.Fatal(err)
		}
		if _, err := client.Defragment(t.Context(), c.members[0].endpoint); err != nil {
			t.Fatal(err)
		}
		if _, err := client.AlarmDisarm(t.Context(), &clientv3.AlarmMember{}); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the prober does not write again", func() bool { return reader.fresh() && late.fresh() })
	})
}

// Etcd that is killed and starts again, even with nothing left, costs nobody anything.
func TestRestart(t *testing.T) {
	eachEtcd(t, func(t *testing.T, etcd string) {
		for _, test := range []string{"with its data", "without"} {
			t.Run(test, func(t *testing.T) {
				c := startEtcd(t, etcd, 1)
				c.put("/tandem/inventory", `{"nodes": [{"id": "lon", "addrs": ["192.0.2.1"]}]}`)
				join(t, "one", quick, inventory, c.endpoints()...)
				reader := join(t, "", quick, nil, c.endpoints()...)
				eventually(t, "the reader hears nothing", func() bool { return reader.fresh() && len(reader.Table().Nodes) == 1 })
				m := c.members[0]
				m.kill()
				if test == "without" {
					if err := os.RemoveAll(m.args[4] + "/member"); err != nil {
						t.Fatal(err)
					}
				}
				time.Sleep(recordTTL)
				before, _ := reader.Record("one")
				m.start(t)
				eventually(t, "the reader does not come back", func() bool {
					now, _ := reader.Record("one")
					return reader.fresh() && now.Seq > before.Seq
				})
				if _, ok := reader.Table().Lookup("lon"); !ok || reader.down.Load() {
					t.Errorf("the inventory went: %v; a node was down: %v", !ok, reader.down.Load())
				}
			})
		}
	})
}

// The leases of fifty probers end together while etcd is away, and all come back with
// one lease each.
func TestLeasesEndTogether(t *testing.T) {
	eachEtcd(t, func(t *testing.T, etcd string) {
		c := startEtcd(t, etcd, 1)
		p := quick
		p.spread, p.write = 2*time.Second, time.Second // fifty write to one disk, which takes its time
		p.lease, p.request, p.silence = 5*time.Second, 5*time.Second, 5*time.Second
		k := newLink(t, c.members[0].endpoint)
		reader := join(t, "", quick, inventory, c.endpoints()...)
		const probers = 50
		for i := range probers {
			join(t, fmt.Sprintf("p%d", i), p, inventory, k.url)
		}
		heard := func() int { return len(reader.Snapshot().Records) }
		eventually(t, "not all are heard", func() bool { return heard() == probers })
		k.cut()
		client := c.client(t)
		leases := func() int {
			r, err := client.Leases(context.Background())
			if err != nil {
				return -1
			}
			return len(r.Leases)
		}
		eventually(t, "the leases do not end", func() bool { return leases() == 0 })
		k.heal()
		eventually(t, "not all come back with one lease each, and are heard", func() bool {
			return leases() == probers && heard() == probers && reader.fresh()
		})
		if reader.down.Load() {
			t.Error("a node went down because leases ended")
		}
	})
}
