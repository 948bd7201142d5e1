package geosched

import (
	"bytes"
	"fmt"
	golog "log"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coredns/caddy"
	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/tandem-cdn/tandem/healthfeed"
)

// write writes a file as careless people do, in place, and makes it look as if that
// had been a while ago, so that it is read no more often than it must.
func write(t testing.TB, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	written++
	then := time.Now().Add(-time.Hour + time.Duration(written)*time.Second)
	if err := os.Chtimes(file, then, then); err != nil {
		t.Fatal(err)
	}
}

var written int

// logged returns what is logged until the test ends.
func logged(t *testing.T) *bytes.Buffer {
	t.Helper()
	var buf bytes.Buffer
	golog.SetOutput(&buf)
	t.Cleanup(func() { golog.SetOutput(os.Stderr) })
	return &buf
}

// webAndVideo are two nodes of a service each.
const webAndVideo = `{"nodes": [
	{"id": "lon", "addrs": ["192.0.2.1"], "location": {"lat": 51.5, "lon": 0}, "labels": {"role": "web"}},
	{"id": "sea", "addrs": ["192.0.2.2"], "location": {"lat": 47.6, "lon": -122}, "labels": {"role": "video"}}],
	"services": {"web": {"select": {"role": "web"}}, "video": {"select": {"role": "video"}}}}`

// recorded returns a block that answers with a records file.
func recorded(t testing.TB, text, properties string) (g *Geosched, file string) {
	t.Helper()
	dir := t.TempDir()
	nodes := filepath.Join(dir, "nodes.json")
	file = filepath.Join(dir, "names")
	write(t, nodes, webAndVideo)
	write(t, file, text)
	return serving(t, "nodes "+nodes+"\nrecords "+file+" "+properties), file
}

// answers asks for addresses, and says what came.
func answers(t testing.TB, g *Geosched, name string) string {
	t.Helper()
	return summary(serve(t, g, question(name+".cdn.example.", dns.TypeA, ""), resolver))
}

func TestRecords(t *testing.T) {
	g, file := recorded(t, "www STEER web\n*.v 30 STEER video\nany STEER *\n", "\nsteer old service web\nttl 300 60\nns ns1")
	expect := func(want map[string]string) {
		t.Helper()
		for name, w := range want {
			if got := answers(t, g, name); got != w {
				t.Errorf("%s: got %s, want %s", name, got, w)
			}
		}
	}
	const lon, sea, nodata, nxdomain = "NOERROR 192.0.2.1", "NOERROR 192.0.2.2", "NOERROR auth SOA", "NXDOMAIN auth SOA"
	expect(map[string]string{"www": lon, "a.v": sea, "v": nodata, "*.v": sea, "a.b.v": sea, "any": lon, "old": lon, "nope": nxdomain, "ns1": nodata, "a.www": nxdomain})
	r := serve(t, g, question("x.v.cdn.example.", dns.TypeA, ""), resolver)
	if ttl := r.Answer[0].Header().Ttl; ttl != 30 {
		t.Errorf("TTL %d, want that of the line", ttl)
	}
	first := g.soa("cdn.example.", "cdn.example.").Serial

	loaded, refusedBefore := testutil.ToFloat64(reloads.WithLabelValues("loaded")), testutil.ToFloat64(reloads.WithLabelValues("refused"))
	counted := func(wantLoaded, wantRefused float64) {
		t.Helper()
		l, r := testutil.ToFloat64(reloads.WithLabelValues("loaded"))-loaded, testutil.ToFloat64(reloads.WithLabelValues("refused"))-refusedBefore
		if l != wantLoaded || r != wantRefused {
			t.Errorf("%v loaded and %v refused, want %v and %v", l, r, wantLoaded, wantRefused)
		}
	}
	write(t, file, "www STEER video\n*.v 30 STEER video\na.b STEER web\n")
	g.records.reload()
	g.records.reload()
	counted(1, 0)
	expect(map[string]string{"www": sea, "any": nxdomain, "a.b": lon, "b": nodata, "old": lon, "nope": nxdomain})
	second := g.soa("cdn.example.", "cdn.example.").Serial
	if second <= first {
		t.Errorf("serial %d after %d", second, first)
	}

	log := logged(t)
	for i, bad := range []struct{ text, want string }{
		{"www STEER web\nwww A 192.0.2.1\n", file + `:2: "A" is not STEER`},
		{"www STEER web\nimg ST", file + `:2: the file ends within a line`},
		{"", "0 names and had 3"},
		{"www STEER web\nold STEER video\n", `Testfile:4 - name "old.cdn.example." is steered already, and differently, at ` + file + ":2"},
		{"www STEER web\nwWw STEER video\n", file + `:2: name "www.cdn.example." is steered on line 1 already`},
	} {
		log.Reset()
		write(t, file, bad.text)
		g.records.reload()
		g.records.reload()
		counted(1, float64(i+1))
		if n := strings.Count(log.String(), bad.want); n != 1 {
			t.Errorf("%q is in the log %d times:\n%s", bad.want, n, log)
		}
		expect(map[string]string{"www": sea, "a.b": lon, "old": lon})
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	g.records.reload()
	g.records.reload()
	counted(1, 6)
	expect(map[string]string{"www": sea})

	write(t, file, "www STEER nobody\nold STEER web ; as in the Corefile\n")
	log.Reset()
	g.records.reload()
	counted(2, 6)
	expect(map[string]string{"www": lon, "a.b": nxdomain, "b": nxdomain, "old": lon}) // all nodes stand in
	if !strings.Contains(log.String(), `service "nobody" is not in the inventory`) {
		t.Errorf("the log says %s", log)
	}
	if names, generation := g.records.size(); names != 2 || generation != 3 {
		t.Errorf("%d names in generation %d", names, generation)
	}
}

// The TTL of a line is that of good times, and bounds that of bad ones.
func TestRecordsTTL(t *testing.T) {
	g, _ := recorded(t, "short 30 STEER *\nlong 600 STEER *\nplain STEER *\nzero 0 STEER *\n", "\nttl 300 60")
	ttls := func() string {
		var all []string
		for _, name := range []string{"short", "long", "plain", "zero"} {
			r := serve(t, g, question(name+".cdn.example.", dns.TypeA, ""), resolver)
			all = append(all, fmt.Sprint(r.Answer[0].Header().Ttl))
		}
		return strings.Join(all, " ")
	}
	if got, want := ttls(), "30 600 300 0"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	vote(t, g, 1, map[string]healthfeed.State{"lon": healthfeed.Down, "sea": healthfeed.Up})
	if got, want := ttls(), "30 60 60 0"; got != want {
		t.Errorf("while a node is down: got %s, want %s", got, want)
	}
}

// A file that is there and cannot be opened is refused once, and read as soon as it can.
func TestRecordsCannotBeOpened(t *testing.T) {
	g, file := recorded(t, "www STEER web\n", "")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	socket, err := net.Listen("unix", file)
	if err != nil {
		t.Fatal(err)
	}
	log := logged(t)
	before := testutil.ToFloat64(reloads.WithLabelValues("refused"))
	for range 3 {
		g.records.reload()
	}
	if n := testutil.ToFloat64(reloads.WithLabelValues("refused")) - before; n != 1 || strings.Count(log.String(), file) != 1 {
		t.Errorf("refused %v times, and the log says\n%s", n, log)
	}
	socket.Close() // and is gone
	write(t, file, "img STEER web\n")
	g.records.reload()
	if got := answers(t, g, "img"); got != "NOERROR 192.0.2.1" {
		t.Errorf("got %s", got)
	}
}

// A file that loses most of its names is rather a mistake.
func TestRecordsShrink(t *testing.T) {
	text := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "n%d STEER web\n", i)
		}
		return b.String()
	}
	for _, tt := range []struct {
		before, after int
		option        string
		taken         bool
	}{
		{200, 100, "", true},
		{200, 99, "", false},
		{200, 0, "", false},
		{99, 1, "", true},
		{99, 0, "", false},
		{200, 0, "shrink 100", true},
		{200, 180, "shrink 10%", true},
		{200, 179, "shrink 10", false},
		{100, 99, "shrink 0", false},
	} {
		g, file := recorded(t, text(tt.before), tt.option)
		write(t, file, text(tt.after))
		g.records.reload()
		if n, _ := g.records.size(); (n == tt.after) != tt.taken {
			t.Errorf("%d names after a change from %d to %d with %q", n, tt.before, tt.after, tt.option)
		}
	}
}

// What changed just now is read again, because the next change may look the same.
func TestRecordsChangeTwiceAtOnce(t *testing.T) {
	g, file := recorded(t, "www STEER web\n", "")
	now := time.Now()
	overwrite := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(file, now, now); err != nil {
			t.Fatal(err)
		}
		g.records.reload()
	}
	overwrite("img STEER web\n")
	overwrite("vid STEER web\n")
	if got := answers(t, g, "vid"); got != "NOERROR 192.0.2.1" {
		t.Errorf("got %s", got)
	}
	_, generation := g.records.size()
	g.records.reload()
	if _, again := g.records.size(); again != generation {
		t.Error("a generation in which nothing changed")
	}
}

// The file is looked at every few seconds until the context ends.
func TestRecordsRun(t *testing.T) {
	file := filepath.Join(t.TempDir(), "names")
	write(t, file, "www STEER web\n")
	f, err := openRecords(recordsConfig{File: file, Zones: []string{"cdn.example."}, Shrink: 50})
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		go keepLooking(t.Context(), new(bell), f.reload)
		write(t, file, "www STEER web\nimg STEER web\n")
		time.Sleep(lookInterval() - time.Nanosecond)
		synctest.Wait()
		if n, _ := f.size(); n != 1 {
			t.Errorf("%d names too early", n)
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if n, _ := f.size(); n != 2 {
			t.Errorf("%d names, want those of the new file", n)
		}
	})
}

// A reload of the Corefile keeps what was read, and blocks of the same zones share it.
func TestRecordsInThePool(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "nodes.json"), webAndVideo)
	write(t, filepath.Join(dir, "names"), "www STEER web\n")
	body := "\troot " + dir + "\n\tgeosched {\n\t\tnodes nodes.json\n\t\trecords names\n"
	inst := run(t, body+"}")
	before := only(t).records
	inst = restart(t, inst, body+"steer img service video\n}")
	after := only(t)
	if after.records != before {
		t.Error("the file was read again")
	}
	if got := summary(ask(t, inst, question("img.cdn.example.", dns.TypeA, ""))); got != "NOERROR 192.0.2.2" {
		t.Errorf("got %s", got)
	}
	if n := len(before.followers); n != 1 {
		t.Errorf("%d blocks follow, want the new one alone", n)
	}
	same, err := inst.Restart(corefile(body + "steer www service video\n}"))
	if err == nil {
		inst = same
		t.Error("it reloads with a name that the records steer elsewhere")
	} else if want := "geosched: Corefile:7 - name"; !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "names:1") {
		t.Errorf("got %v, want %s", err, want)
	}
	if n := len(before.followers); n != 1 {
		t.Errorf("%d blocks follow after a reload that failed", n)
	}
	stop(t, inst)
	if n := poolSize(); n != 0 {
		t.Errorf("%d things are left", n)
	}
}

func TestRecordsRefusedAtStart(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "nodes.json"), webAndVideo)
	for _, tt := range []struct{ nodes, text, want string }{
		{"nodes nodes.json", "www STEER web\nimg STEER nobody\n", `names:2: service "nobody" is not in `},
		{"node lon 192.0.2.1 51.5 0", "www STEER web\n", `names:1: service "web": inline nodes have no services, only "*"`},
		{"nodes nodes.json", "www STEER web\nwww.other. STEER web\n", `names:2: name "www.other." is not in the zone cdn.example.`},
		{"nodes nodes.json", "www STEER web", `names:1: the file ends within a line`},
		{"nodes nodes.json\nsteer www service web", "img STEER *\nwww STEER video\n", `name "www.cdn.example." is steered already, and differently, at `},
	} {
		write(t, filepath.Join(dir, "names"), tt.text)
		shared.sweep()
		inst, err := caddy.Start(corefile("\troot " + dir + "\n\tgeosched {\n\t\trecords names\n" + tt.nodes + "\n}"))
		if err == nil {
			stop(t, inst)
			t.Fatalf("it starts with %q", tt.text)
		}
		if !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "Corefile:") {
			t.Errorf("got %v, want %s", err, tt.want)
		}
	}
	shared.sweep()
	inst, err := caddy.Start(corefile("\tgeosched {\n\t\trecords " + dir + "/nothing\nnode lon 192.0.2.1 51.5 0\n}"))
	if err == nil {
		stop(t, inst)
		t.Fatal("it starts without the file")
	}
	shared.sweep()
}

// Queries go on while names come and go under them, and none meets half of a change.
func TestRecordsSwapUnderLoad(t *testing.T) {
	g, file := recorded(t, "www STEER web\na STEER web\n", "")
	done := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if got := answers(t, g, "www"); got != "NOERROR 192.0.2.1" && got != "NOERROR 192.0.2.2" {
					t.Errorf("got %s", got)
					return
				}
				g.names.find("x.y.www.cdn.example.")
			}
		})
	}
	for i := range 50 {
		write(t, file, []string{"www STEER video\nb STEER web\n", "www STEER web\na STEER web\n"}[i%2])
		g.records.reload()
	}
	close(done)
	wg.Wait()
}
