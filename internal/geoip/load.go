package geoip

import (
	"fmt"
	"slices"
)

// Config says what to build a Trie from.
type Config struct {
	Files []string // MaxMind files; where two know a network, the first wins
	Nets  string   // nets file, or empty

	// The longest prefixes of IPv4 and IPv6 that GeoIP data may tell apart,
	// 24 and 56 if zero: resolvers do not send more (RFC 7871, section 11.1),
	// so a longer scope would only fill their caches. The operator's nets may
	// go deeper.
	MaxV4, MaxV6 int
}

// NetsError is an error that is about the nets file, not a MaxMind file.
type NetsError struct{ error }

// Unwrap returns the error itself.
func (e *NetsError) Unwrap() error { return e.error }

// Load reads the files of cfg and builds the trie. With none it is the
// built-in coarse table. An error names the file, and for a nets file the line
// and the word, and is a *NetsError; there is no trie then.
func Load(cfg Config) (*Trie, error) {
	if cfg.MaxV4 == 0 {
		cfg.MaxV4 = 24
	}
	if cfg.MaxV6 == 0 {
		cfg.MaxV6 = 56
	}
	if cfg.MaxV4 < 0 || cfg.MaxV4 > 32 || cfg.MaxV6 < 0 || cfg.MaxV6 > 128 {
		return nil, fmt.Errorf("prefixes of at most %d and %d bits: IPv4 has 32, IPv6 has 128", cfg.MaxV4, cfg.MaxV6)
	}
	b := newBuilder()
	b.insertCoarse()
	for _, file := range slices.Backward(cfg.Files) { // the last to be inserted wins
		if err := b.insertFile(file, cfg.MaxV4, cfg.MaxV6); err != nil {
			return nil, err
		}
	}
	b.insertSpecial()
	if cfg.Nets != "" {
		nets, err := readNets(cfg.Nets)
		if err != nil {
			return nil, &NetsError{err}
		}
		b.insertNets(nets)
	}
	b.insertGrafts()
	return b.compile(), nil
}
