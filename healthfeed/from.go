package healthfeed

import (
	"cmp"
	"crypto/tls"
	"errors"
	"os"
	"path/filepath"
	"strings"
)

// ParseFrom reads a word of configuration that says where to hear of health: the
// URL of a hub, or the path of a snapshot file, which it returns as an absolute
// path below dir. A word with a colon is a URL, unless the colon belongs to a
// drive letter; so a scheme that was forgotten, as in "localhost:8053", is an
// error and not a file that never appears.
func ParseFrom(word, dir string) (string, error) {
	switch {
	case word == "":
		return "", errors.New("an empty word is neither a file nor a URL")
	case isURL(word):
		_, err := feedURL(word)
		return word, err
	case filepath.IsAbs(word):
		return filepath.Clean(word), nil
	}
	return filepath.Abs(filepath.Join(dir, word))
}

// From returns the Source for what [ParseFrom] returned.
func From(where string) Source { return FromTLS(where, nil) }

// FromTLS is From with a configuration for hubs at https URLs, such as that of an
// healthfeed/identity.
func FromTLS(where string, config *tls.Config) Source {
	if !isURL(where) {
		return FromFile(where)
	}
	return &urlSource{url: where, tls: config, pace: pollPace}
}

func isURL(word string) bool {
	return strings.Contains(word, ":") && filepath.VolumeName(word) == ""
}

// HostProber names a prober by its role and the host it runs on, as far as the
// letters of a name allow: "dns-ns1.example.net".
func HostProber(role string) string {
	host, _ := os.Hostname()
	name := []byte(role + "-" + cmp.Or(host, "unknown"))
	for i := range name {
		if CheckName(string(name[i:i+1])) != nil {
			name[i] = '_'
		}
	}
	return string(name[:min(len(name), 64)])
}
