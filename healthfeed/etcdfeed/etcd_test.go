package etcdfeed

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/tandem-cdn/tandem/healthfeed"
	"github.com/tandem-cdn/tandem/internal/freeport"
	"github.com/tandem-cdn/tandem/internal/leaktest"
)

// TestMain lets more tests wait at the same time than there may be processors, and no more
// than leaves two of them time for the etcds.
func TestMain(m *testing.M) {
	if err := flag.Set("test.parallel", "4"); err != nil {
		panic(err)
	}
	leaktest.Main(m)
}

// A cluster is one or more members of a real etcd on loopback, each a process.
type cluster struct {
	t       *testing.T
	members []*member
}

type member struct {
	args     []string
	endpoint string
	cmd      *exec.Cmd
	output   *bytes.Buffer
}

// eachEtcd runs a test with each etcd that there is: the installed one, which on Debian
// is a 3.4, and the one that TANDEM_ETCD names, which `go run build.go test` makes of the
// version that the client has. It skips the test where there is neither.
func eachEtcd(t *testing.T, test func(t *testing.T, etcd string)) {
	t.Parallel() // most of the time all wait
	found := false
	for name, program := range map[string]string{"installed": "etcd", "built": os.Getenv("TANDEM_ETCD")} {
		program, err := exec.LookPath(program)
		if err != nil {
			continue
		}
		found = true
		t.Run(name, func(t *testing.T) { t.Parallel(); test(t, program) })
	}
	if !found {
		t.Skip("etcd is not installed (Debian: etcd-server), and TANDEM_ETCD names none")
	}
}

// startEtcd starts members that know each other, with more arguments if any.
func startEtcd(t *testing.T, program string, n int, args ...string) *cluster {
	t.Helper()
	c := &cluster{t: t}
	var peers []string
	for i := range n {
		client, peer := freeURL(t), freeURL(t)
		name := fmt.Sprintf("m%d", i)
		peers = append(peers, name+"="+peer)
		c.members = append(c.members, &member{endpoint: client, args: append([]string{
			program, "--name", name, "--data-dir", t.TempDir(),
			"--listen-client-urls", client, "--advertise-client-urls", client,
			"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
			"--heartbeat-interval", "100", "--election-timeout", "1000", "--logger", "zap", "--log-level", "warn",
		}, args...)})
	}
	for _, m := range c.members {
		m.args = append(m.args, "--initial-cluster", strings.Join(peers, ","))
		m.start(t)
	}
	t.Cleanup(func() {
		for _, m := range c.members {
			m.kill()
			if t.Failed() {
				t.Logf("%s said:\n%s", m.endpoint, m.output)
			}
		}
	})
	client := c.client(t)
	eventually(t, "etcd does not answer", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		_, err := client.Get(ctx, "none")
		return err == nil
	})
	return c
}

// freeURL is for a server that listens by itself, perhaps more than once.
func freeURL(t *testing.T) string {
	t.Helper()
	port, err := freeport.On(freeport.Loopback)
	if err != nil {
		t.Fatal(err)
	}
	return "http://" + netip.AddrPortFrom(freeport.Loopback, port).String()
}

func (m *member) start(t *testing.T) {
	t.Helper()
	m.output = new(bytes.Buffer)
	m.cmd = exec.Command(m.args[0], m.args[1:]...)
	m.cmd.Stdout, m.cmd.Stderr = m.output, m.output
	if err := m.cmd.Start(); err != nil {
		t.Fatal(err)
	}
}

func (m *member) kill() {
	m.cmd.Process.Kill()
	m.cmd.Wait()
}

// leader returns the member that leads, when one does.
func (c *cluster) leader(t *testing.T) (leader *member) {
	t.Helper()
	client := c.client(t)
	eventually(t, "nobody leads", func() bool {
		for _, m := range c.members {
			if s, err := client.Status(t.Context(), m.endpoint); err == nil && s.Header.MemberId == s.Leader {
				leader = m
			}
		}
		return leader != nil
	})
	return leader
}

func (c *cluster) endpoints() (all []string) {
	for _, m := range c.members {
		all = append(all, m.endpoint)
	}
	return all
}

// client returns an operator's client, closed when the test ends.
func (c *cluster) client(t *testing.T) *clientv3.Client {
	t.Helper()
	client, err := clientv3.New(clientv3.Config{Endpoints: c.endpoints(), Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

func (c *cluster) put(key, value string) {
	c.t.Helper()
	if _, err := c.client(c.t).Put(c.t.Context(), key, value); err != nil {
		c.t.Fatal(err)
	}
}

// quick is the usual pace, several times as fast. A sign of life may be ten times late
// before it is missed: an etcd that is well can wait seconds for its disk.
var quick = pace{
	write:    300 * time.Millisecond,
	lease:    2 * time.Second,
	request:  3 * time.Second,
	progress: 300 * time.Millisecond,
	silence:  3 * time.Second,
	believe:  9 * time.Second,
	relist:   time.Minute,
	spread:   500 * time.Millisecond,
}

const recordTTL = 2 * time.Second // what a record says of itself

// A party is a process in small: a feed with a source, and perhaps a prober.
type party struct {
	*healthfeed.Feed
	source *Source
	log    *logBuffer
	votes  atomic.Pointer[map[string]healthfeed.State]
	down   atomic.Bool // a node was ever down in its table
}

var inventory = func() *healthfeed.Inventory {
	inv, err := healthfeed.ParseInventory("nodes.json", []byte(`{"nodes": [
		{"id": "lon", "addrs": ["192.0.2.1"], "checks": [{"type": "tcp", "addr": "192.0.2.1:80"}]},
		{"id": "sea", "addrs": ["192.0.2.2"], "checks": [{"type": "tcp", "addr": "192.0.2.2:80"}]}]}`))
	if err != nil {
		panic(err)
	}
	return inv
}()

// join starts a party that lives until the test ends. Without a prober it reads only.
func join(t *testing.T, prober string, p pace, inv *healthfeed.Inventory, endpoints ...string) *party {
	t.Helper()
	return joinWith(t, prober, p, healthfeed.Config{Inventory: inv}, endpoints...)
}

func joinWith(t *testing.T, prober string, p pace, c healthfeed.Config, endpoints ...string) *party {
	t.Helper()
	a := &party{log: new(logBuffer)}
	log := slog.New(slog.NewTextHandler(a.log, nil))
	var err error
	if a.source, err = New(Config{Endpoints: endpoints, Prober: prober, Log: log}); err != nil {
		t.Fatal(err)
	}
	a.source.pace = p
	c.Sources, c.Log = []healthfeed.Source{a.source}, log
	if a.Feed, err = healthfeed.Open(c); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { a.Feed.Run(ctx) })
	wg.Go(func() { a.watch(ctx) })
	if prober != "" {
		a.vote(map[string]healthfeed.State{"lon": healthfeed.Up, "sea": healthfeed.Up})
		wg.Go(func() { a.probe(ctx, prober) })
	}
	t.Cleanup(func() {
		cancel()
		wg.Wait()
		if t.Failed() {
			t.Logf("log of %q:\n%s", prober, a.log)
		}
	})
	return a
}

func (a *party) vote(votes map[string]healthfeed.State) { a.votes.Store(&votes) }

// probe offers records as a prober does, with the votes of the test.
func (a *party) probe(ctx context.Context, prober string) {
	record := healthfeed.Record{Prober: prober, Epoch: a.Epoch(prober), IntervalMS: 100, TTLMS: recordTTL.Milliseconds()}
	for tick := time.NewTicker(100 * time.Millisecond); ; {
		record.Seq++
		record.Nodes = map[string]healthfeed.Observation{}
		for id, state := range *a.votes.Load() {
			record.Nodes[id] = healthfeed.Observation{State: state, Health: 100}
		}
		if err := a.Offer(&healthfeed.Snapshot{Records: []healthfeed.Aged{{Record: record}}}); err != nil {
			panic(err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			tick.Stop()
			return
		}
	}
}

// watch notes whether a node is ever down.
func (a *party) watch(ctx context.Context) {
	for table := a.Table(); ; {
		for i := range table.Nodes {
			if table.Nodes[i].State == healthfeed.Down {
				a.down.Store(true)
			}
		}
		var err error
		if table, err = a.Next(ctx, table.Generation); err != nil {
			return
		}
	}
}

func (a *party) state(id string) healthfeed.State {
	s, _ := a.Table().Lookup(id)
	return s.State
}

func (a *party) fresh() bool { return a.Table().Freshness == healthfeed.Fresh }

// eventually waits until something is so, however slow the machine is.
func eventually(t *testing.T, otherwise string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal(otherwise)
		}
	}
}

// A logBuffer is a log that can be read while it is written.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
