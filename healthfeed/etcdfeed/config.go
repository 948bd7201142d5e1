package etcdfeed

import (
	"bytes"
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/tandem-cdn/tandem/healthfeed"
)

// DefaultPrefix is where the keys are when nothing else is said.
const DefaultPrefix = "/tandem"

// Config says which etcd to use, and for what.
type Config struct {
	// Endpoints are the URLs of members, http or https; see [CheckEndpoint].
	Endpoints []string

	// Prefix is what all keys begin with, without a slash at its end. Default
	// [DefaultPrefix].
	Prefix string

	// Prober names whose records in the feed are written; none if it is empty.
	Prober string

	// User and PasswordFile authenticate with a password, read by New. Without
	// a User nobody is named but by the client's certificate.
	User, PasswordFile string

	// TLS is for https endpoints; nil trusts the system's authorities.
	TLS *tls.Config

	// Log receives what was refused and when etcd is away. Default
	// [slog.Default].
	Log *slog.Logger
}

// CheckEndpoint returns what is wrong with the URL of a member of etcd, which is a
// scheme, a host and a port.
func CheckEndpoint(word string) error {
	u, err := healthfeed.ParseURL(word)
	switch {
	case err != nil:
		return fmt.Errorf("bad etcd url %w", err)
	case u.Port() == "":
		return fmt.Errorf("bad etcd url %q: it has no port", word)
	case strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "":
		return fmt.Errorf("bad etcd url %q: there is more in it than a host and a port", word)
	}
	return nil
}

// CheckPrefix returns what is wrong with a prefix of keys.
func CheckPrefix(prefix string) error {
	for part := range strings.SplitSeq(strings.TrimPrefix(prefix, "/"), "/") {
		if err := healthfeed.CheckName(part); err != nil {
			return fmt.Errorf("etcd prefix %q: %w", prefix, err)
		}
	}
	return nil
}

// check returns what is wrong with a configuration, and its password.
func (c *Config) check() (password string, err error) {
	if len(c.Endpoints) == 0 {
		return "", errors.New("no etcd endpoint")
	}
	for _, e := range c.Endpoints {
		if err := CheckEndpoint(e); err != nil {
			return "", err
		}
	}
	if err := CheckPrefix(c.Prefix); err != nil {
		return "", err
	}
	if c.Prober != "" {
		if err := healthfeed.CheckName(c.Prober); err != nil {
			return "", fmt.Errorf("prober %w", err)
		}
	}
	if c.User == "" {
		return "", nil
	}
	data, err := os.ReadFile(c.PasswordFile)
	if err != nil {
		return "", err
	}
	password = string(bytes.TrimRight(data, "\r\n"))
	if password == "" {
		return "", fmt.Errorf("%s: the password is empty", c.PasswordFile)
	}
	return password, nil
}

// complete fills in what is left out.
func (c *Config) complete() {
	c.Prefix = cmp.Or(c.Prefix, DefaultPrefix)
	c.Log = cmp.Or(c.Log, slog.Default())
}

// A pace says how often and how patiently. Only tests change it.
type pace struct {
	write    time.Duration // between two writes of a record that does not change
	lease    time.Duration // whole seconds; three writes long
	request  time.Duration // for one request
	progress time.Duration // between two demands for a sign of life
	silence  time.Duration // after which a watch is given up
	believe  time.Duration // of silence of a cluster, after which another is believed
	relist   time.Duration // between two full lists, give or take a fifth
	spread   time.Duration // over which clients come back that were cut off together
}

var usualPace = pace{
	write:    5 * time.Second,
	lease:    15 * time.Second,
	request:  5 * time.Second,
	progress: 5 * time.Second,
	silence:  15 * time.Second,
	believe:  45 * time.Second,
	relist:   5 * time.Minute,
	spread:   20 * time.Second,
}
