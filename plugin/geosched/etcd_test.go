package geosched

import (
	"crypto/sha256"
	"encoding/hex"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus/testutil"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/tandem-cdn/tandem/healthfeed"
	"github.com/tandem-cdn/tandem/internal/freeport"
)

// startEtcd starts a real etcd, and returns its URL and what puts a value there. It skips
// the test where none is installed.
func startEtcd(t *testing.T) (url string, put func(key, value string)) {
	t.Helper()
	program, err := exec.LookPath("etcd")
	if err != nil {
		t.Skip("etcd is not installed (Debian: etcd-server)")
	}
	var urls []string
	for range 2 {
		port, err := freeport.On(freeport.Loopback)
		if err != nil {
			t.Fatal(err)
		}
		urls = append(urls, "http://"+netip.AddrPortFrom(freeport.Loopback, port).String())
	}
	cmd := exec.Command(program, "--name", "m", "--data-dir", t.TempDir(), "--initial-cluster", "m="+urls[1],
		"--listen-client-urls", urls[0], "--advertise-client-urls", urls[0],
		"--listen-peer-urls", urls[1], "--initial-advertise-peer-urls", urls[1])
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	client, err := clientv3.New(clientv3.Config{Endpoints: urls[:1], Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	put = func(key, value string) {
		t.Helper()
		for began := time.Now(); ; time.Sleep(20 * time.Millisecond) {
			if _, err := client.Put(t.Context(), key, value); err == nil {
				return
			} else if time.Since(began) > 2*time.Minute {
				t.Fatal(err)
			}
		}
	}
	return urls[0], put
}

func eventually(t *testing.T, otherwise string, is func() bool) {
	t.Helper()
	for began := time.Now(); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Since(began) > 2*time.Minute {
			t.Fatal(otherwise)
		}
	}
}

// Nodes and policies come from etcd, and a wrong policy is refused while the last good
// one stays.
func TestFeedEtcd(t *testing.T) {
	url, put := startEtcd(t)
	put("/tandem/inventory", `{"nodes": [{"id": "lon", "addrs": ["192.0.2.1"]}, {"id": "sea", "addrs": ["192.0.2.2"]}],
		"services": {"web": {"policy": "web"}}}`)
	g := serving(t, "feed etcd "+url+" region eu prober dns-1\nsteer www service web")
	wait(t, g, inState("sea", healthfeed.Up))
	answers := func() int {
		return len(serve(t, g, question("www.cdn.example.", dns.TypeA, ""), resolver).Answer)
	}
	if got := answers(); got != 1 {
		t.Fatalf("%d answers before there is a policy", got)
	}
	put("/tandem/policy/all/web", `{"answers": 2}`)
	eventually(t, "the policy is not used", func() bool { return answers() == 2 })
	refused := func() float64 { return testutil.ToFloat64(reloads.WithLabelValues("refused")) }
	before := refused()
	put("/tandem/policy/eu/web", `{"answers": 1, "default": 7}`)
	eventually(t, "the wrong policy is not refused", func() bool { return refused() == before+1 })
	put("/tandem/policy/eu/web", `{"answers": 1}, "default": {"answers": 1}`)
	eventually(t, "two policies in one are not refused", func() bool { return refused() == before+2 })
	if got := answers(); got != 2 {
		t.Errorf("%d answers after a wrong policy, want 2 as before", got)
	}
	put("/tandem/policy/eu/web", `{"answers": 1}`)
	eventually(t, "the region's policy is not used", func() bool { return answers() == 1 })
}

// The policy file wins over etcd.
func TestPolicyFileOverEtcd(t *testing.T) {
	url, put := startEtcd(t)
	put("/tandem/policy/all/web", `{"answers": 1}`)
	put("/tandem/policy/all/video", `{"answers": 2}`)
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	nodes := write("nodes.json", `{"nodes": [{"id": "lon", "addrs": ["192.0.2.1"]}, {"id": "sea", "addrs": ["192.0.2.2"]}, {"id": "sin", "addrs": ["192.0.2.3"]}],
		"services": {"web": {"policy": "web"}, "video": {"policy": "video"}}}`)
	g := serving(t, "feed etcd "+url+"\nnodes "+nodes+"\npolicy "+write("policy.json", `{"policies": {"web": {"answers": 3}}}`)+
		"\nsteer www service web\nsteer video service video")
	answers := func(name string) int {
		return len(serve(t, g, question(name+".cdn.example.", dns.TypeA, ""), resolver).Answer)
	}
	eventually(t, "the policy of etcd is not used", func() bool { return answers("video") == 2 })
	if got := answers("www"); got != 3 {
		t.Errorf("%d answers, want the 3 of the file", got)
	}
}

// A notice makes the server look at its file at once, and says when it is another one.
func TestNotice(t *testing.T) {
	url, put := startEtcd(t)
	looking(t, time.Hour) // so that nobody looks unless told to
	nets := filepath.Join(t.TempDir(), "nets")
	write := func(text string) (sum string) {
		if err := os.WriteFile(nets, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		hash := sha256.Sum256([]byte(text))
		return hex.EncodeToString(hash[:])
	}
	write("198.51.100.0/24 node lon\n")
	g := serving(t, "feed etcd "+url+" read\nnode lon 192.0.2.1 51.5 -0.12\nnode sea 192.0.2.2 47.6 -122.3\nsteer www\nnets "+nets)
	answer := func() string {
		return summary(serve(t, g, question("www.cdn.example.", dns.TypeA, "198.51.100.0/24"), resolver))
	}
	if got := answer(); !strings.Contains(got, "192.0.2.1") {
		t.Fatalf("got %s", got)
	}
	eventually(t, "etcd is not followed", g.etcd.Following)
	other := strings.Repeat("00", 32)
	put("/tandem/notice/nets", `{"kind": "nets", "version": "1", "sha256": "`+other+`"}`)
	eventually(t, "nobody sees that the file is another", func() bool { return g.notices.waiting()["nets"] })
	sum := write("198.51.100.0/24 node sea\n")
	put("/tandem/notice/nets", `{"kind": "nets", "version": "2", "sha256": "`+sum+`"}`)
	eventually(t, "the file is not loaded", func() bool { return strings.Contains(answer(), "192.0.2.2") })
	eventually(t, "nobody sees that it is the one", func() bool { return !g.notices.waiting()["nets"] })
}

// Two feeds of one server must not write the same key; another prober, prefix or etcd will
// do, and so does the same feed. A server that is reloaded may write what the one before wrote.
func TestTwoBlocksOneProber(t *testing.T) {
	const lon = "node lon 192.0.2.1 0 0\nsteer www\nfeed etcd "
	const sea = "node sea 192.0.2.2 0 0\nsteer www\nfeed etcd "
	const at = "http://127.0.0.1:1 http://127.0.0.1:2"
	p := new(pool)
	for other, refused := range map[string]bool{
		lon + at:                              false,
		lon + at + " region eu":               true,
		sea + at:                              true,
		sea + "http://127.0.0.1:2/":           true,
		sea + "http://127.0.0.1:3":            false,
		sea + at + " prefix /tandem":          true,
		sea + at + " prefix /other":           false,
		sea + at + " prober dns-2":            false,
		sea + at + " read":                    false,
		sea + at + "\nfeed from /nonexisting": false,
	} {
		h := new(holder)
		start := func(properties string) error {
			cfg, err := block(properties)
			if err != nil {
				t.Fatal(err)
			}
			return newGeosched(cfg).start(p, h)
		}
		if err := start(lon + at); err != nil {
			t.Fatal(err)
		}
		err := start(other)
		if !refused && err != nil || refused && (err == nil || !strings.HasPrefix(err.Error(), "Testfile:4 - feed etcd: prober \"dns-") || !strings.Contains(err.Error(), "at Testfile:4;")) {
			t.Errorf("%q: got %v", other, err)
		}
		defer p.release(h)
	}
}
