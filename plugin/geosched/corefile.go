package geosched

import (
	"bytes"
	"fmt"
	"net/netip"

	"github.com/coredns/caddy"
	"github.com/coredns/caddy/caddyfile"
	"github.com/coredns/coredns/core/dnsserver"

	"github.com/tandem-cdn/tandem/healthfeed"
	"github.com/tandem-cdn/tandem/internal/geoip"
	"github.com/tandem-cdn/tandem/internal/steer"
)

// A Block is what a geosched block of a Corefile says of decisions, for a tool that
// makes them without a server. Paths are relative to *root* no more.
type Block struct {
	Zones []string // absolute, in lower case

	Nodes     string                // file, or
	Inventory *healthfeed.Inventory // that of inline nodes, or nil

	Geography geoip.Config
	ECS       bool
	Trust     []netip.Prefix // whose client subnets are believed; empty for everybody's

	Policies string       // file, or empty
	Base     steer.Policy // what all policies start from

	Negative uint32 // seconds

	config *config
	names  *nameTable
}

// ParseCorefile returns the geosched blocks of a Corefile, as the server reads them
// but for what other plugins are given. A records file is read, and nothing else. An
// error names the file and the line.
func ParseCorefile(name string, data []byte) ([]*Block, error) {
	servers, err := caddyfile.Parse(name, bytes.NewReader(data), nil)
	if err != nil {
		return nil, err
	}
	var blocks []*Block
	for _, server := range servers {
		tokens := server.Tokens[pluginName]
		if tokens == nil {
			continue
		}
		c := caddy.NewTestController("dns", "") // no other has an instance to itself
		c.ServerBlockKeys = server.Keys
		root := caddyfile.NewDispenserTokens(name, server.Tokens["root"])
		for root.Next() {
			if !root.NextArg() {
				return nil, root.ArgErr()
			}
			dnsserver.GetConfig(c).Root = root.Val()
		}
		c.Dispenser = caddyfile.NewDispenserTokens(name, tokens)
		b, err := newBlock(c)
		if err != nil {
			return nil, err
		}
		blocks = append(blocks, b)
	}
	if len(blocks) == 0 {
		return nil, fmt.Errorf("%s: there is no %s in it", name, pluginName)
	}
	return blocks, nil
}

func newBlock(c *caddy.Controller) (*Block, error) {
	cfg, err := parse(c)
	if err != nil {
		return nil, err
	}
	b := &Block{
		Zones: cfg.Zones, Nodes: cfg.Nodes, Geography: cfg.GeoIP, ECS: cfg.ECS, Trust: cfg.Trust,
		Policies: cfg.PolicyFile, Base: cfg.Policy, Negative: cfg.Negative, config: cfg,
	}
	if len(cfg.Inline) > 0 {
		if b.Inventory, err = healthfeed.NewInventory(cfg.Inline, nil); err != nil {
			return nil, cfg.At["node"].wrap(err)
		}
	}
	if b.names, err = newNames(cfg); err != nil || cfg.Records == nil {
		return b, err
	}
	records, err := openRecords(*cfg.Records)
	if err != nil {
		return nil, cfg.At["records"].wrap(err)
	}
	index, err := b.names.with(records.current)
	if err != nil {
		return nil, err
	}
	b.names.version.Store(&nameVersion{index: index})
	return b, nil
}

// Service returns the service that a name is steered to, "" for all nodes, and
// whether it is steered at all. The name is absolute and in lower case.
func (b *Block) Service(name string) (service string, ok bool) {
	s := b.find(name)
	if s == nil {
		return "", false
	}
	return s.Service, true
}

// TTL returns what the TTLs of a policy are for a name, which may have one of its own.
func (b *Block) TTL(name string, ttl steer.TTL) steer.TTL {
	if s := b.find(name); s != nil {
		return ttlOf(s, ttl)
	}
	return ttl
}

func (b *Block) find(name string) *steered {
	f := b.names.find(name)
	if to := b.config.Apex[name]; f.steered == nil && to != "" {
		f = b.names.find(to)
	}
	return f.steered
}

// Check returns the error with which the server would refuse the block for what it
// decides by: files, and what they say of each other. Nobody is asked for anything.
func (b *Block) Check() error {
	p, h := new(pool), new(holder)
	defer p.release(h)
	return newGeosched(b.config).decides(p, h, func(*healthfeed.Feed) (running, error) {
		return b.config.feedKey().open() // and not run
	})
}

// Steered calls f for each steer line, with its file, line, name and service.
func (b *Block) Steered(f func(file string, line int, name, service string)) {
	for _, s := range b.config.Steer {
		f(s.At.File, s.At.Line, s.Name, s.Service)
	}
}

// At returns the file and the line of a property, such as "ttl", or of an inline node,
// such as "node lon1"; or those of the block if it is not there.
func (b *Block) At(property string) (file string, line int) {
	at, ok := b.config.At[property]
	if !ok {
		at = b.config.At[pluginName]
	}
	return at.File, at.Line
}
