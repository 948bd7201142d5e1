package etcdfeed

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tandem-cdn/tandem/healthfeed"
)

// What one prober sees, all know, at once when it changes; and one lease has the key.
func TestShare(t *testing.T) {
	eachEtcd(t, func(t *testing.T, etcd string) {
		c := startEtcd(t, etcd, 1)
		one := join(t, "one", quick, inventory, c.endpoints()...)
		two := join(t, "two", quick, inventory, c.endpoints()...)
		reader := join(t, "", quick, inventory, c.endpoints()...)
		for _, p := range []*party{one, two, reader} {
			eventually(t, "not both probers are heard", func() bool { return len(p.Snapshot().Records) == 2 && p.fresh() })
		}
		votes := map[string]healthfeed.State{"lon": healthfeed.Down, "sea": healthfeed.Up}
		one.vote(votes)
		two.vote(votes)
		eventually(t, "lon is not down", func() bool { return reader.state("lon") == healthfeed.Down })
		if got := reader.state("sea"); got != healthfeed.Up {
			t.Errorf("sea is %v", got)
		}
		client := c.client(t)
		eventually(t, "there is not one lease for each of the two probers", func() bool {
			r, err := client.Leases(t.Context())
			return err == nil && len(r.Leases) == 2
		})
		got, err := client.Get(t.Context(), "/tandem/obs/one")
		if err != nil || len(got.Kvs) != 1 || got.Kvs[0].Lease == 0 {
			t.Fatalf("the key of one: %v, %v", got, err)
		}
		if s, err := healthfeed.ParseSnapshot(got.Kvs[0].Value); err != nil || s.Records[0].Prober != "one" {
			t.Errorf("the value is %s: %v", got.Kvs[0].Value, err)
		}
	})
}

// While nothing changes a record is written every write interval, and not with every
// record of the prober.
func TestConstantWork(t *testing.T) {
	eachEtcd(t, func(t *testing.T, etcd string) {
		c := startEtcd(t, etcd, 1)
		p := quick
		p.write = 10 * 100 * time.Millisecond // ten records of the prober long
		one, client := join(t, "one", p, inventory, c.endpoints()...), c.client(t)
		version := func() int64 {
			r, err := client.Get(t.Context(), "/tandem/obs/one")
			if err != nil {
				t.Fatal(err)
			}
			if len(r.Kvs) == 0 {
				return 0
			}
			return r.Kvs[0].Version
		}
		eventually(t, "it is never written", func() bool { return version() > 0 })
		before, seq := version(), func() uint64 { r, _ := one.Record("one"); return r.Seq }
		from := seq()
		eventually(t, "it is not written again", func() bool { return version() >= before+3 })
		if written, made := version()-before, seq()-from; made < 2*uint64(written) {
			t.Errorf("%d writes of %d records", written, made)
		}
	})
}

// A record that was there before the reader votes, but does not count in full until
// the prober is heard again.
func TestLateJoiner(t *testing.T) {
	eachEtcd(t, func(t *testing.T, etcd string) {
		c := startEtcd(t, etcd, 1)
		c.put("/tandem/obs/gone", `{"records":[{"age_ms":0,"prober":"gone","epoch":5,"seq":1,"interval_ms":2000,"ttl_ms":15000,"nodes":{"lon":{"state":"down","health":0}}}]}`)
		reader := join(t, "", quick, inventory, c.endpoints()...)
		eventually(t, "the record is not taken", func() bool { return reader.state("lon") == healthfeed.Down })
		if got := reader.Table().Freshness; got != healthfeed.Frozen {
			t.Errorf("the table is %v", got)
		}
		c.put("/tandem/obs/gone", `{"records":[{"age_ms":0,"prober":"gone","epoch":5,"seq":2,"interval_ms":2000,"ttl_ms":15000,"nodes":{"lon":{"state":"down","health":0}}}]}`)
		eventually(t, "the table does not become fresh", reader.fresh)
	})
}

// A large inventory and record travel compressed, and what is wrong is refused whole,
// counted and logged once.
func TestInventoryAndRefusals(t *testing.T) {
	eachEtcd(t, func(t *testing.T, etcd string) {
		c := startEtcd(t, etcd, 1)
		var nodes []string
		for i := range 500 {
			nodes = append(nodes, fmt.Sprintf(`{"id": "n%d", "addrs": ["192.0.%d.%d"]}`, i, i/250, 1+i%250))
		}
		text := `{"nodes": [` + strings.Join(nodes, ",\n") + `]}`
		c.put("/tandem/inventory", string(pack([]byte(text))))
		reader := join(t, "", quick, nil, c.endpoints()...)
		local := join(t, "", quick, inventory, c.endpoints()...)
		eventually(t, "the nodes do not come", func() bool { return len(reader.Table().Nodes) == 500 })

		c.put("/tandem/inventory", `{"nodes": [{"id": "x", "addrs": ["192.0.2.1"], "wieght": 1}]}`)
		eventually(t, "the wrong inventory is not refused", func() bool { return reader.Refused() == 1 })
		c.put("/tandem/obs/one", `{"records":[{"age_ms":0,"prober":"two","epoch":5,"seq":1,"interval_ms":2000,"ttl_ms":15000,"nodes":{}}]}`)
		c.put("/tandem/obs/two", "\x1f\x8bnonsense")
		eventually(t, "wrong records are not refused", func() bool { return reader.Refused() == 3 })
		c.put("/tandem/inventory", `{"nodes": [{"id": "x", "addrs": ["192.0.2.1"]}]}`)
		eventually(t, "the good inventory is not taken", func() bool { return len(reader.Table().Nodes) == 1 })
		log := reader.log.String()
		for _, want := range []string{`nodes.json:1: unknown field \"wieght\"`, `the record is that of prober \"two\"`, "gzip"} {
			if strings.Count(log, want) != 1 {
				t.Errorf("%q is %d times in the log\n%s", want, strings.Count(log, want), log)
			}
		}
		if !strings.Contains(log, "good again") {
			t.Errorf("nothing is good again\n%s", log)
		}
		if got := len(local.Table().Nodes); got != 2 {
			t.Errorf("a local inventory gave way to one of %d nodes", got)
		}
	})
}

// Policies and notices come and go.
func TestDocuments(t *testing.T) {
	eachEtcd(t, func(t *testing.T, etcd string) {
		c := startEtcd(t, etcd, 1)
		c.put("/tandem/policy/all/web", `{"answers": 1}`)
		c.put("/tandem/policy/eu/web", `{"answers": 2}`)
		c.put("/tandem/policy/us/web", `{"answers": 3}`)
		reader := join(t, "", quick, inventory, c.endpoints()...)
		answers := func(region string) string {
			ps := reader.source.Policies(region)
			if len(ps) != 1 || ps[0].Name != "web" {
				return fmt.Sprint(ps)
			}
			return string(ps[0].Text)
		}
		eventually(t, "the policies do not come", func() bool { return answers("eu") == `{"answers": 2}` })
		if got := answers("asia"); got != `{"answers": 1}` {
			t.Errorf("asia has %s", got)
		}
		_, next := reader.source.Changed()
		sum := strings.Repeat("0f", 32)
		c.put("/tandem/notice/geoip", `{"kind": "geoip", "version": "2026-11", "sha256": "`+sum+`"}`)
		select {
		case <-next:
		case <-time.After(2 * time.Minute):
			t.Fatal("nobody is told of a notice")
		}
		if got := reader.source.Notices(); len(got) != 1 || got[0] != (Notice{"geoip", "2026-11", sum}) {
			t.Errorf("notices: %v", got)
		}
		if _, err := c.client(t).Delete(t.Context(), "/tandem/policy/eu/web"); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the policy does not go", func() bool { return answers("eu") == `{"answers": 1}` })
		c.put("/tandem/notice/geoip", `{"kind": "geoip"}`)
		eventually(t, "a wrong notice is not refused", func() bool { return reader.Refused() == 1 })
		if got := reader.source.Notices(); len(got) != 1 {
			t.Errorf("the last good notice did not stay: %v", got)
		}
	})
}

// A process writes what its own prober sees, and not again what it has heard of another
// one that has the same name.
func TestNoEcho(t *testing.T) {
	eachEtcd(t, func(t *testing.T, etcd string) {
		c := startEtcd(t, etcd, 1)
		one := join(t, "one", quick, inventory, c.endpoints()...)
		client := c.client(t)
		version := func() int64 {
			r, err := client.Get(t.Context(), "/tandem/obs/one")
			if err != nil || len(r.Kvs) != 1 {
				return 0
			}
			return r.Kvs[0].Version
		}
		eventually(t, "the record is not written", func() bool { return version() > 0 })
		twin := one.Epoch("one") + 1000_000
		const records = 6
		before := int64(0)
		for seq := range uint64(1 + records) {
			c.put("/tandem/obs/one", fmt.Sprintf(`{"records":[{"age_ms":0,"prober":"one","epoch":%d,"seq":%d,"interval_ms":2000,"ttl_ms":15000,"nodes":{}}]}`, twin, seq))
			eventually(t, "the twin is not heard", func() bool { r, _ := one.Record("one"); return r.Epoch == twin && r.Seq == seq })
			time.Sleep(2 * quick.write)
			if seq == 0 {
				time.Sleep(quick.request) // a write of our own may have been under way
				before = version()
			}
		}
		if n := version() - before; n != records {
			t.Errorf("the twin has written %d records, and there were %d writes", records, n)
		}
	})
}
