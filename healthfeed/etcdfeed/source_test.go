package etcdfeed

import (
	"log/slog"
	"testing"
	"time"

	"github.com/tandem-cdn/tandem/healthfeed"
	"github.com/tandem-cdn/tandem/healthfeed/identity"
	"github.com/tandem-cdn/tandem/healthfeed/identity/identitytest"
)

// Who may write the key of one prober can say what that prober sees, and nothing else.
func TestProberKeysHoldARecordAlone(t *testing.T) {
	const record = `{"age_ms":0,"prober":"p","epoch":1,"seq":1,"interval_ms":2000,"ttl_ms":15000,"nodes":{}}`
	for name, value := range map[string]string{
		"an override":    `{"records":[` + record + `],"overrides":[{"node":"one","state":"drain","rev":1}]}`,
		"an inventory":   `{"records":[` + record + `],"inventory":{"nodes":[{"id":"x","addrs":["192.0.2.1"]}]}}`,
		"two records":    `{"records":[` + record + `,` + record[:22] + `q` + record[23:] + `]}`,
		"no record":      `{"records":[]}`,
		"another prober": `{"records":[` + record[:22] + `q` + record[23:] + `]}`,
	} {
		f, err := healthfeed.Open(healthfeed.Config{Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		s := &Source{}
		s.refused.log = slog.New(slog.DiscardHandler)
		r := &receiver{source: s, feed: f, seen: map[string][32]byte{}}
		r.take("obs/p", []byte(value), false)
		got := f.Snapshot()
		if f.Refused() != 1 || len(got.Records) != 0 || len(got.Overrides) != 0 || got.Inventory != nil {
			t.Errorf("%s: %d refused, and the feed knows %+v", name, f.Refused(), got)
		}
		r.take("obs/p", []byte(`{"records":[`+record+`]}`), false)
		if got := f.Snapshot(); len(got.Records) != 1 {
			t.Errorf("%s: the record that follows is not taken", name)
		}
	}
}

// Between servers with certificates, who may write a prober's key and does not have its
// certificate has no vote.
func TestProberKeysNeedCertificates(t *testing.T) {
	a := identitytest.New(t)
	cert, key, ca := a.Issue(t.TempDir(), "spiffe://cdn.example/dns/ns1", time.Now().Add(time.Hour))
	files, err := identity.Load(cert, key, ca, nil)
	if err != nil {
		t.Fatal(err)
	}
	f, err := healthfeed.Open(healthfeed.Config{Identity: files, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	r := &receiver{source: &Source{}, feed: f, seen: map[string][32]byte{}}
	r.take("obs/dns-ns2", []byte(`{"records":[{"age_ms":0,"prober":"dns-ns2","epoch":1,"seq":1,"interval_ms":2000,"ttl_ms":15000,"nodes":{}}]}`), false)
	for reason, n := range f.RefusedBy() {
		if want := map[bool]uint64{true: 1}[reason == healthfeed.RefusedUnsigned]; n != want {
			t.Errorf("%d refused as %s", n, reason)
		}
	}
	if len(f.Snapshot().Records) != 0 {
		t.Error("it is believed")
	}
}
