package edgehealth

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/caddyserver/caddy/v2"

	"github.com/tandem-cdn/tandem/healthfeed"
)

// isURL reports whether a word after `from` is a URL rather than a path: it has
// a colon that does not belong to a drive letter. So a scheme that was forgotten
// ("localhost:8053") is an error, and not a file that never appears.
func isURL(from string) bool {
	return strings.Contains(from, ":") && filepath.VolumeName(from) == ""
}

// checkFrom returns what is wrong with a word after `from`.
func checkFrom(from string) error {
	switch {
	case from == "":
		return errors.New("from: an empty word is neither a file nor a URL")
	case isURL(from):
		return healthfeed.CheckURL(from)
	}
	return nil
}

// absoluteFrom returns a word after `from` with its path, if it is one, made
// absolute.
func absoluteFrom(from string) (string, error) {
	if err := checkFrom(from); err != nil || isURL(from) {
		return from, err
	}
	path, err := caddy.FastAbs(from)
	if err != nil {
		return "", fmt.Errorf("from %q: %w", from, err)
	}
	return path, nil
}

// source returns the Source for a word that passed absoluteFrom.
func source(from string) healthfeed.Source {
	if isURL(from) {
		return healthfeed.FromURL(from, nil)
	}
	return healthfeed.FromFile(from)
}

// hostProber names this process in records by its host, as far as the letters
// of an ID allow.
func hostProber() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	name := []byte("edge-" + host)
	for i := range name {
		if healthfeed.CheckName(string(name[i:i+1])) != nil {
			name[i] = '_'
		}
	}
	return string(name[:min(len(name), 64)])
}
