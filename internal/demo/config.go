package demo

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"text/template"
	"time"

	"github.com/tandem-cdn/tandem/healthfeed"
)

// quiet is for the demo's own reader of the feed: what it sees is in the story.
var quiet = slog.New(slog.DiscardHandler)

var corefile = template.Must(template.New("Corefile").Parse(`# The name server of the demo.
cdn.example:{{.Addresses.dns.Port}} {
	bind {{.Addresses.dns.Addr}}
	errors
	ready {{.Addresses.ready}}
	geosched {
{{- with .Etcd}}
		feed etcd {{.}} prober dns-1
{{- else}}
		nodes nodes.json
{{- end}}
{{- with .GeoIP}}
		geoip "{{.}}"
{{- end}}
		steer www
		ttl 20 5
		feed listen {{.Addresses.hub}}
		feed state feed.json
	}
}
`))

var caddyfile = template.Must(template.New("Caddyfile").Parse(`# An edge of the demo.
{
	admin {{.Admin}}
	auto_https off
	persist_config off
	edgehealth {
		self {{.ID}}
		from{{range .Hubs}} http://{{.}}{{end}}
	}
}

http://:{{.HTTP.Port}} {
	bind {{.HTTP.Addr}}

	handle /healthz {
		respond ok
	}

	handle /static/* {
		root * {{.Root}}
		zerocopy
	}

	handle {
		edgecache {
			name {{.ID}}
		}
		reverse_proxy {{.Origin}}
	}
}
`))

// staticSize is the size of the demo's static file: large enough that sendfile
// matters.
const staticSize = 1 << 20

// writeConfigs fills the stage's folder. every is the interval of the checks.
func (s *stage) writeConfigs(geoipFile string, every time.Duration) error {
	if geoipFile != "" {
		abs, err := filepath.Abs(geoipFile)
		if err != nil {
			return err
		}
		geoipFile = abs
	}
	a := s.addresses
	if err := s.render("Corefile", corefile, map[string]any{
		"Addresses": map[string]netip.AddrPort{"dns": a.dns, "hub": a.hub, "ready": a.ready},
		"GeoIP":     geoipFile,
		"Etcd":      s.etcdEndpoint(),
	}); err != nil {
		return err
	}
	hubs := []netip.AddrPort{a.hub}
	if s.sharing != nil {
		hubs = append(hubs, s.sharing.hub)
		if err := s.secondCorefile(); err != nil {
			return err
		}
	}
	for i, e := range edges {
		if err := s.render(e.id+".Caddyfile", caddyfile, map[string]any{
			"ID": e.id, "Admin": a.edges[i].admin, "HTTP": a.edges[i].http,
			"Hubs": hubs, "Origin": a.origin, "Root": filepath.ToSlash(s.path("site")),
		}); err != nil {
			return err
		}
	}
	inventory, err := s.inventory(every)
	if err != nil {
		return err
	}
	if err := os.WriteFile(s.path("nodes.json"), inventory, 0o644); err != nil {
		return err
	}
	if err := os.MkdirAll(s.path("site/static"), 0o755); err != nil {
		return err
	}
	return os.WriteFile(s.path("site/static/file.bin"), bytes.Repeat([]byte("tandem.\n"), staticSize/8), 0o644)
}

func (s *stage) render(name string, t *template.Template, data any) error {
	var b bytes.Buffer
	if err := t.Execute(&b, data); err != nil {
		return err
	}
	return os.WriteFile(s.path(name), b.Bytes(), 0o644)
}

// inventory writes the nodes.json of the demo. Two rounds decide, so that what a
// viewer kills is seen to move within seconds.
func (s *stage) inventory(every time.Duration) ([]byte, error) {
	var nodes []healthfeed.Node
	for i, e := range edges {
		nodes = append(nodes, healthfeed.Node{
			ID: e.id, Addrs: []netip.Addr{s.addresses.edges[i].answer}, Weight: healthfeed.DefaultWeight,
			Location: &healthfeed.Location{Lat: e.lat, Lon: e.lon},
			Checks: []healthfeed.Check{{
				Type: "http", URL: fmt.Sprintf("http://%s/healthz", s.addresses.edges[i].http),
				Interval: every, Retries: 1, Fall: 2, Rise: 2, Critical: true,
			}},
		})
	}
	inv, err := healthfeed.NewInventory(nodes, nil)
	if err != nil {
		return nil, err
	}
	return json.MarshalIndent(inv, "", "  ")
}
