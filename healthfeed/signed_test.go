package healthfeed

import (
	"encoding/json"
	"log/slog"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tandem-cdn/tandem/healthfeed/identity"
	"github.com/tandem-cdn/tandem/healthfeed/identity/identitytest"
)

// as is who a process of the CDN is, such as "dns/ns1".
func as(t testing.TB, a *identitytest.Authority, id string) *identity.Files {
	t.Helper()
	cert, key, ca := a.Issue(t.TempDir(), "spiffe://cdn.example/"+id, time.Now().Add(time.Hour))
	files, err := identity.Load(cert, key, ca, quiet)
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// known is a feed that does not run.
func known(t testing.TB, who *identity.Files, inv *Inventory, log *slog.Logger) *Feed {
	t.Helper()
	f, err := Open(Config{Inventory: inv, Identity: who, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// told is the snapshot of f as it stands on the wire.
func told(t testing.TB, f *Feed) []byte {
	t.Helper()
	data, err := f.Snapshot().encode()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// A record stays signed by its prober over a hub that has no part in it, with a field
// that the hub does not know; what was changed on the way is not believed.
func TestSignedRecordsTravel(t *testing.T) {
	a := identitytest.New(t)
	inv := watched(t, "n")
	prober := known(t, as(t, a, "dns/ns1"), inv, quiet)
	offer(t, prober, says("dns-ns1", 1, map[string]State{"n": Down}))
	first := told(t, prober)

	hub := known(t, as(t, a, "dns/ns2"), inv, quiet)
	do(t, hub.Receive(first, 0))
	second := told(t, hub)
	reader := known(t, as(t, a, "edge/e"), inv, quiet)
	do(t, reader.Receive(second, 0))
	if r := reader.Snapshot().Records; len(r) != 1 || r[0].Nodes["n"].State != Down || reader.Refused() != 0 {
		t.Fatalf("got %+v, %d refused", r, reader.Refused())
	}
	do(t, reader.Receive(second, 0)) // no news, and not a fault
	if reader.Refused() != 0 {
		t.Errorf("the same again is refused")
	}

	var log logbook
	for _, test := range []struct {
		name   string
		data   string
		reason Refusal
	}{
		{"changed", strings.Replace(string(second), `"state":"down"`, `"state":"up"`, 1), RefusedForged},
		{"renamed", strings.Replace(string(second), `"dns-ns1"`, `"dns-ns9"`, 1), RefusedForged},
		{"newer", strings.Replace(string(second), `"seq":1,`, `"seq":2,`, 1), RefusedForged},
		{"unsigned", string(told(t, func() *Feed { f := known(t, nil, inv, quiet); offer(t, f, says("dns-ns1", 1, nil)); return f }())), RefusedUnsigned},
		{"no-chain", strings.Replace(string(second), `"chain":[`, `"chains":[`, 1), RefusedForged},
	} {
		if test.data == string(second) {
			t.Fatalf("%s: nothing is", test.name)
		}
		f := known(t, as(t, a, "edge/e"), inv, log.logger())
		for range 3 {
			do(t, f.Receive([]byte(test.data), 0))
		}
		for reason, n := range f.RefusedBy() {
			if want := map[bool]uint64{true: 3}[reason == test.reason]; n != want {
				t.Errorf("%s: %d refused as %s, want %d", test.name, n, reason, want)
			}
		}
		if len(f.Snapshot().Records) != 0 {
			t.Errorf("%s: it is believed", test.name)
		}
		do(t, f.Receive(second, 0)) // one bad record does no harm to what follows
		if len(f.Snapshot().Records) != 1 {
			t.Errorf("%s: the good one is not believed", test.name)
		}
	}
	if n := log.count("record not believed"); n != 5 {
		t.Errorf("%d lines, want one for each", n)
	}
}

// A hub that makes another mistake with every event fills no log, not by names that it makes up
// either, and what is wrong later is said all the same.
func TestDisbeliefIsCalm(t *testing.T) {
	a := identitytest.New(t)
	who := as(t, a, "edge/e")
	good := known(t, as(t, a, "dns/ns1"), nil, quiet)
	offer(t, good, says("dns-ns1", 1, nil))
	unsigned := known(t, nil, nil, quiet)
	offer(t, unsigned, says("dns-ns1", 1, nil))
	wrong := [][]byte{told(t, unsigned), []byte(strings.Replace(string(told(t, good)), `"seq":1,`, `"seq":2,`, 1))}
	synctest.Test(t, func(t *testing.T) {
		var log logbook
		f := known(t, who, nil, log.logger())
		said := func(want int) {
			t.Helper()
			if n := log.count("record not believed"); n != want {
				t.Fatalf("%d lines, want %d", n, want)
			}
		}
		for i := range 100 {
			do(t, f.Receive(wrong[i%2], 0))
		}
		said(1)
		time.Sleep(disbeliefPause)
		for i := range 100 {
			do(t, f.Receive(wrong[i%2], 0))
		}
		said(2)
		for i := range 2 * maxProbers {
			f.note(strconv.Itoa(i), errUnsigned)
		}
		said(1 + maxProbers)
		time.Sleep(disbeliefPause)
		f.note("late", errUnsigned)
		said(2 + maxProbers)
		f.note("late", nil)
		f.note("late", errUnsigned)
		said(2 + maxProbers)
		time.Sleep(disbeliefPause)
		f.note("late", errUnsigned)
		said(3 + maxProbers)
	})
}

// Nothing of a record counts that stands beside what is signed.
func TestNothingBesideTheSigned(t *testing.T) {
	a := identitytest.New(t)
	prober := known(t, as(t, a, "dns/ns1"), nil, quiet)
	offer(t, prober, says("dns-ns1", 1, map[string]State{"n": Up}))
	data := strings.Replace(string(told(t, prober)), `"age_ms":0,`, `"age_ms":0,"prober":"dns-ns1","epoch":9,"nodes":{"m":{"state":"down"}},`, 1)
	reader := known(t, as(t, a, "edge/e"), nil, quiet)
	do(t, reader.Receive([]byte(data), 0))
	if r := reader.Snapshot().Records; len(r) != 1 || r[0].Epoch != 1 || len(r[0].Nodes) != 1 {
		t.Errorf("got %+v", r)
	}
}

// White space and fields of a later version do not matter to a hub between.
func TestSignedRecordsSurviveOthersVersions(t *testing.T) {
	a := identitytest.New(t)
	who := as(t, a, "prober/p")
	record := []byte(`{"prober":"prober-p","epoch":1,"seq":1,"interval_ms":1000,"ttl_ms":15000,"nodes":{"n":{"state":"up","health":90,"new":"\u003c"}}}`)
	signature, err := who.Sign(recordPurpose, record)
	do(t, err)
	wire, err := json.MarshalIndent(&Snapshot{Records: []Aged{{Signed: &Signed{record, signature}}}}, "", "\t")
	do(t, err)
	for range 3 { // hubs
		f := known(t, as(t, a, "dns/ns1"), nil, quiet)
		do(t, f.Receive(wire, 0))
		if f.Refused() != 0 || len(f.Snapshot().Records) != 1 {
			t.Fatalf("%d refused", f.Refused())
		}
		wire = told(t, f)
	}
	if !strings.Contains(string(wire), `"new":"\u003c"`) {
		t.Errorf("got %s", wire)
	}
}

// A process without an identity believes what it is told, and passes on what is signed.
func TestWithoutIdentity(t *testing.T) {
	a := identitytest.New(t)
	prober := known(t, as(t, a, "dns/ns1"), nil, quiet)
	offer(t, prober, says("dns-ns1", 1, nil), says("monitor", 1, nil))
	f := known(t, nil, nil, quiet)
	do(t, f.Receive(told(t, prober), 0))
	r := f.Snapshot().Records
	if len(r) != 2 || r[0].Signed == nil || r[1].Signed != nil {
		t.Errorf("got %+v", r)
	}
}

// BenchmarkSigned is what signatures cost for a record of 10,000 nodes.
func BenchmarkSigned(b *testing.B) {
	a := identitytest.New(b)
	r := tenThousand(b).Records[0]
	r.Prober = "dns-ns1"
	prober, reader := known(b, as(b, a, "dns/ns1"), nil, quiet), known(b, as(b, a, "edge/e"), nil, quiet)
	b.Run("sign", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			r.Signed = nil
			if err := prober.sign([]Aged{r}); err != nil {
				b.Fatal(err)
			}
		}
	})
	records := []Aged{r}
	if err := prober.sign(records); err != nil {
		b.Fatal(err)
	}
	s := &Snapshot{Records: records}
	data, err := s.encode()
	if err != nil {
		b.Fatal(err)
	}
	b.Run("write", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			s.encode()
		}
	})
	b.Run("read", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := ParseSnapshot(data); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("verify", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if len(reader.believed(records)) != 1 {
				b.Fatal("not believed")
			}
		}
	})
}
