package zerocopy

import (
	"path/filepath"
	"strings"

	"github.com/caddyserver/caddy/v2"
)

// hideList answers one question in front of an open: could the `hide` option
// concern this file? It errs towards yes, because after a yes the embedded
// file server decides by its own rules, and after a no nobody asks again.
type hideList struct {
	names   []string // glob patterns for one path component
	paths   []string // glob patterns for a whole absolute path, and path prefixes
	dynamic bool     // a pattern has placeholders: only the file server can tell
}

// newHideList sorts the patterns of a provisioned file server.
func newHideList(patterns []string) hideList {
	var l hideList
	for _, pattern := range patterns {
		switch {
		case strings.Contains(pattern, "{"):
			l.dynamic = true
		case strings.ContainsRune(pattern, filepath.Separator):
			if abs, err := caddy.FastAbs(pattern); err == nil {
				pattern = abs
			}
			l.paths = append(l.paths, pattern)
		default:
			l.names = append(l.names, pattern)
		}
	}
	return l
}

// mayHide reports whether a pattern could concern the file: a name pattern
// matches any component of the absolute path, a path pattern matches all of it
// or is it or a parent of it.
func (l *hideList) mayHide(filename string) bool {
	if l.dynamic {
		return true
	}
	if len(l.names) == 0 && len(l.paths) == 0 {
		return false
	}
	abs, err := caddy.FastAbs(filename)
	if err != nil {
		return true
	}
	for _, pattern := range l.paths {
		if rest, ok := strings.CutPrefix(abs, pattern); ok && (rest == "" || rest[0] == filepath.Separator) {
			return true
		}
		if match(pattern, abs) {
			return true
		}
	}
	if len(l.names) == 0 {
		return false
	}
	for component := range strings.SplitSeq(abs, string(filepath.Separator)) {
		for _, pattern := range l.names {
			if match(pattern, component) {
				return true
			}
		}
	}
	return false
}

// match is filepath.Match where a malformed pattern matches.
func match(pattern, name string) bool {
	matched, err := filepath.Match(pattern, name)
	return matched || err != nil
}
