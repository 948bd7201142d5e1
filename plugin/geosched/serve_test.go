package geosched

import (
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	_ "github.com/coredns/coredns/plugin/bind"
	_ "github.com/coredns/coredns/plugin/cache"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/file"
	_ "github.com/coredns/coredns/plugin/log"
	_ "github.com/coredns/coredns/plugin/metadata"
	_ "github.com/coredns/coredns/plugin/metrics"
	_ "github.com/coredns/coredns/plugin/minimal"
	clog "github.com/coredns/coredns/plugin/pkg/log"
	_ "github.com/coredns/coredns/plugin/ready"
	_ "github.com/coredns/coredns/plugin/root"
	"github.com/miekg/dns"
)

func TestMain(m *testing.M) {
	clog.Discard()
	caddy.Quiet, dnsserver.Quiet = true, true
	directives := slices.Clone(dnsserver.Directives)
	if err := dnsserver.SetDirectives(slices.Insert(directives, slices.Index(directives, "hosts"), pluginName)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// corefile wraps a server block of the zone cdn.example around a body.
func corefile(body string) caddy.Input {
	return caddy.CaddyfileInput{
		Filepath:       "Corefile",
		Contents:       []byte("cdn.example:0 {\n\tbind 127.0.0.1\n" + body + "\n}\n"),
		ServerTypeName: "dns",
	}
}

// start starts a server and stops it with the test.
func start(t testing.TB, body string) *caddy.Instance {
	t.Helper()
	inst, err := caddy.Start(corefile(body))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, inst) })
	return inst
}

func stop(t testing.TB, inst *caddy.Instance) {
	t.Helper()
	if err := inst.Stop(); err != nil {
		t.Error(err)
	}
	for _, err := range inst.ShutdownCallbacks() {
		t.Error(err)
	}
}

// ask sends a query over UDP to the first server of the instance.
func ask(t testing.TB, inst *caddy.Instance, m *dns.Msg) *dns.Msg {
	t.Helper()
	r, err := dns.Exchange(m, inst.Servers()[0].LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// question builds a query; subnet is like "192.0.2.0/24", or empty.
func question(name string, qtype uint16, subnet string) *dns.Msg {
	m := new(dns.Msg).SetQuestion(name, qtype)
	if subnet != "" {
		m.SetEdns0(4096, false)
		m.IsEdns0().Option = append(m.IsEdns0().Option, option(subnet))
	}
	return m
}

func option(subnet string) *dns.EDNS0_SUBNET {
	ip, n, err := net.ParseCIDR(subnet)
	if err != nil {
		panic(err)
	}
	ones, _ := n.Mask.Size()
	e := &dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: 1, SourceNetmask: uint8(ones), Address: ip}
	if strings.Contains(subnet, ":") {
		e.Family = 2
	}
	return e
}

// Five lines of Corefile steer a name.
func TestFiveLines(t *testing.T) {
	inst := start(t, `	geosched {
		node lon 192.0.2.1 51.5 -0.12
		node sea 192.0.2.2 47.6 -122.3
		steer www
	}`)
	for subnet, want := range map[string]string{"193.0.6.0/24": "192.0.2.1", "8.8.8.0/24": "192.0.2.2"} {
		r := ask(t, inst, question("www.cdn.example.", dns.TypeA, subnet))
		if len(r.Answer) != 1 || r.Answer[0].(*dns.A).A.String() != want {
			t.Errorf("%s: got %v, want %s", subnet, r, want)
		}
		r, _, err := (&dns.Client{Net: "tcp"}).Exchange(question("www.cdn.example.", dns.TypeA, subnet), inst.Servers()[0].Addr().String())
		if err != nil || len(r.Answer) != 1 || r.Answer[0].(*dns.A).A.String() != want {
			t.Errorf("%s over TCP: got %v, %v, want %s", subnet, r, err, want)
		}
	}
}

// looking sets how often files are looked at, until the test ends.
func looking(t *testing.T, every time.Duration) {
	lookEvery.Store(int64(every))
	t.Cleanup(func() { lookEvery.Store(0) })
}
