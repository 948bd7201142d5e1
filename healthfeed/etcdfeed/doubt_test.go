package etcdfeed

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tandem-cdn/tandem/healthfeed"
)

// Etcd that starts again with nothing left begins to count revisions anew. A watch from
// the old one would wait for a number that comes in days; a policy that is not there any
// more has not been taken back.
func TestDataLost(t *testing.T) {
	eachEtcd(t, func(t *testing.T, etcd string) {
		c := startEtcd(t, etcd, 1)
		c.put("/tandem/inventory", `{"nodes": [{"id": "lon", "addrs": ["192.0.2.1"]}]}`)
		c.put("/tandem/policy/all/web", `{"answers": 1}`)
		client := c.client(t)
		for i := range 1000 { // as long-lived clusters have many revisions
			if _, err := client.Put(t.Context(), "elsewhere", fmt.Sprint(i)); err != nil {
				t.Fatal(err)
			}
		}
		reader := join(t, "", quick, nil, c.endpoints()...)
		eventually(t, "the policy does not come", func() bool { return len(reader.source.Policies("eu")) == 1 })
		m := c.members[0]
		m.kill()
		if err := os.RemoveAll(m.args[4] + "/member"); err != nil {
			t.Fatal(err)
		}
		m.start(t)
		c.put("/tandem/inventory", `{"nodes": [{"id": "lon", "addrs": ["192.0.2.1"]}, {"id": "sea", "addrs": ["192.0.2.2"]}]}`)
		eventually(t, "what is written after the loss is not heard", func() bool { return len(reader.Table().Nodes) == 2 })
		if got := reader.source.Policies("eu"); len(got) != 1 {
			t.Errorf("the policies that were known are now %v", got)
		}
		// Nor does it go with a later list, but when somebody takes it away.
		c.put("/tandem/policy/all/web", `{"answers": 2}`)
		eventually(t, "the new policy does not come", func() bool {
			p := reader.source.Policies("eu")
			return len(p) == 1 && string(p[0].Text) == `{"answers": 2}`
		})
		if _, err := client.Delete(t.Context(), "/tandem/policy/all/web"); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the policy does not go", func() bool { return len(reader.source.Policies("eu")) == 0 })
		if log := reader.log.String(); strings.Count(log, "begun anew") != 1 {
			t.Errorf("the log does not say once that etcd has begun anew:\n%s", log)
		}
	})
}

// Members of two clusters are a mistake that is found, and not a mixture of both.
func TestTwoClusters(t *testing.T) {
	eachEtcd(t, func(t *testing.T, etcd string) {
		one, two := startEtcd(t, etcd, 1), startEtcd(t, etcd, 1)
		one.put("/tandem/inventory", `{"nodes": [{"id": "lon", "addrs": ["192.0.2.1"]}]}`)
		two.put("/tandem/inventory", `{"nodes": [{"id": "sea", "addrs": ["192.0.2.2"]}]}`)
		k := newLink(t, one.members[0].endpoint)
		reader := join(t, "", quick, nil, k.url)
		eventually(t, "the nodes do not come", func() bool { return len(reader.Table().Nodes) == 1 })
		began := time.Now()
		k.lead(two.members[0].endpoint)
		k.cut()
		k.heal()
		eventually(t, "nobody finds that it is another cluster", func() bool {
			return !reader.source.Following() && strings.Contains(reader.log.String(), "another cluster")
		})
		// Until the other one is all there is, for a while that begins with the last sign of
		// life of the first.
		eventually(t, "the other cluster is never believed", func() bool { _, ok := reader.Table().Lookup("sea"); return ok })
		if took := time.Since(began); took < quick.believe-quick.silence {
			t.Errorf("it is believed after %v", took)
		}
		k.lead(one.members[0].endpoint)
		k.cut()
		k.heal()
		one.put("/tandem/inventory", `{"nodes": [{"id": "lon", "addrs": ["192.0.2.3"]}]}`)
		eventually(t, "it does not go on with the one that it had", func() bool {
			i, ok := reader.Table().Lookup("lon")
			return ok && i.State == healthfeed.Up
		})
	})
}

// A link that swallows everything breaks no connection. Reader and writer notice by the
// silence, nobody is taken down for it, and all goes on when it is over.
func TestSwallowed(t *testing.T) {
	eachEtcd(t, func(t *testing.T, etcd string) {
		c := startEtcd(t, etcd, 1)
		k := newLink(t, c.members[0].endpoint)
		one := join(t, "one", quick, inventory, k.url)
		reader := join(t, "", quick, inventory, k.url)
		eventually(t, "the reader hears nothing", reader.fresh)
		k.freeze()
		began := time.Now()
		eventually(t, "the silence is not noticed", func() bool {
			return !reader.source.Following() && one.source.Unwritten() > 0
		})
		if took := time.Since(began); took > 10*quick.silence {
			t.Errorf("noticed after %v", took)
		}
		if !strings.Contains(reader.log.String(), "silent") {
			t.Errorf("the log does not say that it is silent:\n%s", reader.log)
		}
		eventually(t, "the record does not grow old", func() bool { return !reader.fresh() })
		k.thaw()
		eventually(t, "it does not go on", func() bool { return reader.fresh() && reader.source.Following() })
		if reader.down.Load() || one.down.Load() {
			t.Error("a node went down because the link was silent")
		}
	})
}

// What an operator says at the hub of one name server is true for all that share.
func TestDrainIsShared(t *testing.T) {
	eachEtcd(t, func(t *testing.T, etcd string) {
		c := startEtcd(t, etcd, 1)
		hub := func(prober string) *party { // has a state file to keep it in
			return joinWith(t, prober, quick, healthfeed.Config{Inventory: inventory, StateFile: filepath.Join(t.TempDir(), "state.json")}, c.endpoints()...)
		}
		one, two := hub("one"), hub("two")
		eventually(t, "not both are heard", func() bool { return len(one.Snapshot().Records) == 2 && len(two.Snapshot().Records) == 2 })
		if _, err := one.Drain("lon", "jo", "new disks"); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the other does not drain", func() bool { return two.state("lon") == healthfeed.Draining })
		late := join(t, "", quick, inventory, c.endpoints()...)
		eventually(t, "who comes later does not drain", func() bool { return late.state("lon") == healthfeed.Draining })
		if _, err := two.Undrain("lon", "jo", ""); err != nil {
			t.Fatal(err)
		}
		eventually(t, "not all take it back", func() bool {
			return one.state("lon") == healthfeed.Up && late.state("lon") == healthfeed.Up
		})
	})
}

// Where nothing is written there is a sign of life all the same.
func TestIdle(t *testing.T) {
	eachEtcd(t, func(t *testing.T, etcd string) {
		c := startEtcd(t, etcd, 1)
		p := quick
		p.silence = 10 * time.Second // it is a doubt that is wrong here, and not a machine that is slow
		reader := join(t, "", p, inventory, c.endpoints()...)
		eventually(t, "it does not follow", reader.source.Following)
		time.Sleep(2 * p.silence)
		if n := reader.source.Doubts(); n > 0 {
			t.Errorf("%d doubts of an etcd that is well:\n%s", n, reader.log)
		}
	})
}
