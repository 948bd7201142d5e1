package geoip

import (
	"fmt"
	"slices"
	"time"
)

// Config says what to build a Trie from.
type Config struct {
	Files     []string // City, Country or Enterprise files; where two know a network, the first wins
	ASN       string   // ASN or ISP file, or empty
	Nets      string   // nets file, or empty
	Resolvers string   // resolvers file, or empty

	// The longest prefixes of IPv4 and IPv6 that MaxMind files may tell apart,
	// 24 and 56 if zero: resolvers do not send more (RFC 7871, section 11.1),
	// so a longer scope would only fill their caches. The operator's nets may
	// go deeper.
	MaxV4, MaxV6 int

	// The autonomous systems that somebody asks about, in any order. Only they
	// divide classes, so that the scope of an answer that has nothing to do
	// with autonomous systems is not cut by their borders.
	ASNs []uint32
}

// Error is an error that is about one file of a Config.
type Error struct {
	Property string // the word for it in the Corefile: geoip, asn, nets or resolvers
	Err      error  // names the file
}

func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

// Load reads the files of cfg and builds the trie. With none it is the
// built-in coarse table. An error that is about a file is an *Error; it names the
// file, and for nets and resolvers the line and the word. There is no trie then.
func Load(cfg Config) (*Trie, error) { return load(cfg, nil, time.Time{}) }

// Reload is Load for a trie that is to take the place of t. It refuses a MaxMind
// file that is older than the one of the same name and type that t was made of:
// somebody has restored a backup, or a mirror lags behind. Who means it gives
// the file another name. A file that says that it was built after now is a mistake
// that must not keep out those that come to mend it, so everything may follow it.
func (t *Trie) Reload(cfg Config, now time.Time) (*Trie, error) { return load(cfg, t.databases, now) }

func load(cfg Config, before []Database, now time.Time) (*Trie, error) {
	if cfg.MaxV4 == 0 {
		cfg.MaxV4 = 24
	}
	if cfg.MaxV6 == 0 {
		cfg.MaxV6 = 56
	}
	if cfg.MaxV4 < 0 || cfg.MaxV4 > 32 || cfg.MaxV6 < 0 || cfg.MaxV6 > 128 {
		return nil, fmt.Errorf("prefixes of at most %d and %d bits: IPv4 has 32, IPv6 has 128", cfg.MaxV4, cfg.MaxV6)
	}
	if cfg.ASN == "" && len(cfg.ASNs) > 0 {
		return nil, &Error{"asn", fmt.Errorf("AS%d is asked about, and there is no ASN file", cfg.ASNs[0])}
	}
	b := newBuilder(cfg.MaxV4, cfg.MaxV6)
	b.insertCoarse()
	databases := make([]Database, len(cfg.Files), len(cfg.Files)+1)
	for i, file := range slices.Backward(cfg.Files) { // the last to be laid on top wins
		m, err := openNewer(file, before, now)
		if err == nil {
			err = b.insertPlaces(m)
		}
		if err != nil {
			return nil, &Error{"geoip", err}
		}
		databases[i] = m.Database
	}

	w := newPatchwork()
	w.insertSpecial(b)
	nets, err := readNets(cfg.Nets)
	if err != nil {
		return nil, &Error{"nets", err}
	}
	w.insertNets(b, Nets, nets)
	w.insertGrafts(b)
	b.patch(w)

	if cfg.ASN != "" {
		m, err := openNewer(cfg.ASN, before, now)
		if err == nil {
			err = b.insertASNs(m, cfg.ASNs)
		}
		if err != nil {
			return nil, &Error{"asn", err}
		}
		databases = append(databases, m.Database)
	}

	w = newPatchwork()
	if nets, err = readNets(cfg.Resolvers); err != nil {
		return nil, &Error{"resolvers", err}
	}
	w.insertNets(b, Resolvers, nets)

	t := b.finish(w.nodes)
	t.databases = databases
	return t, nil
}

// openNewer opens a MaxMind file, unless it is older than its predecessor.
func openNewer(file string, before []Database, now time.Time) (*mmdb, error) {
	m, err := openMMDB(file)
	if err != nil {
		return nil, err
	}
	for _, d := range before {
		if d.File == m.File && d.Type == m.Type && m.Built.Before(d.Built) && !d.Built.After(now) {
			return nil, fmt.Errorf("%s: built %s, which is older than the one in use, built %s", file,
				m.Built.UTC().Format(time.DateTime), d.Built.UTC().Format(time.DateTime))
		}
	}
	return m, nil
}
