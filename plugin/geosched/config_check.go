package geosched

import (
	"cmp"
	"strconv"
	"strings"

	"github.com/tandem-cdn/tandem/healthfeed"
)

// An inlineCheck is a check of all inline nodes; its target is a port, and perhaps a
// path, until aim completes it with a node.
type inlineCheck struct {
	healthfeed.Check
	target string
	scheme string // http or https, else empty
}

// checkOptions are what a check may say beside its target, as the fields of the same
// words in a nodes file.
var checkOptions = map[string]func(*healthfeed.Check) *string{
	"host":          func(c *healthfeed.Check) *string { return &c.Host },
	"status":        func(c *healthfeed.Check) *string { return &c.Status },
	"body":          func(c *healthfeed.Check) *string { return &c.Body },
	"service":       func(c *healthfeed.Check) *string { return &c.Service },
	"ca":            func(c *healthfeed.Check) *string { return &c.CA },
	"cert":          func(c *healthfeed.Check) *string { return &c.Cert },
	"key":           func(c *healthfeed.Check) *string { return &c.Key },
	"user":          func(c *healthfeed.Check) *string { return &c.User },
	"password_file": func(c *healthfeed.Check) *string { return &c.PasswordFile },
	"password_env":  func(c *healthfeed.Check) *string { return &c.PasswordEnv },
}

// check parses TYPE TARGET [OPTION…], or icmp [OPTION…]. The target begins with a colon
// and is completed with each node's address in finish.
func (p *parser) check(args []string) error {
	c := inlineCheck{Check: healthfeed.Check{Retries: healthfeed.DefaultRetries, Critical: true}}
	var opts []string
	switch {
	case len(args) > 0 && args[0] == "icmp":
		c.Type, opts = args[0], args[1:]
		if len(opts) > 0 && strings.HasPrefix(opts[0], ":") {
			return p.Errf("check target %q: icmp has no port", opts[0])
		}
	case len(args) < 2:
		return p.Errf("check wants TYPE TARGET, got %q", strings.Join(args, " "))
	default:
		c.Type, c.target, opts = args[0], args[1], args[2:]
		if err := p.target(&c); err != nil {
			return err
		}
	}
	if err := p.checkOptions(&c.Check, opts); err != nil {
		return err
	}
	if err := c.aim("::1").Validate(); err != nil {
		return p.Errf("check %q: %v", cmp.Or(c.target, c.Type), err)
	}
	p.checks = append(p.checks, c)
	return nil
}

// target checks what is asked of a node, and completes its path.
func (p *parser) target(c *inlineCheck) error {
	port, _, path := strings.Cut(strings.TrimPrefix(c.target, ":"), "/")
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 || c.target[0] != ':' {
		return p.Errf("check target %q does not begin with a port such as :8080", c.target)
	}
	switch c.Type {
	case "http", "https":
		c.scheme, c.Type = c.Type, "http"
		if !path {
			c.target += "/"
		}
	case "tcp", "grpc", "redis":
		if path {
			return p.Errf("check target %q: %s has no path", c.target, c.Type)
		}
	default:
		return p.Errf("check type %q is unknown, want http, https, tcp, grpc, redis or icmp", c.Type)
	}
	return nil
}

// checkOptions reads pairs of a word and a value, and the word tls, which has none.
func (p *parser) checkOptions(c *healthfeed.Check, opts []string) error {
	given := map[string]bool{}
	for len(opts) > 0 {
		name := opts[0]
		if given[name] {
			return p.Errf("check option %q is given twice", name)
		}
		given[name] = true
		if opts = opts[1:]; name == "tls" {
			c.TLS = true
			continue
		}
		text := checkOptions[name]
		isTime := name == "interval" || name == "timeout"
		switch {
		case text == nil && !isTime:
			return p.Errf("check option %q is unknown, want interval, timeout, host, status, body, service, tls, ca, cert, key, user, password_file or password_env", name)
		case len(opts) == 0 && isTime:
			return p.Errf("check option %q wants a duration", name)
		case len(opts) == 0 || opts[0] == "":
			return p.Errf("check option %q wants a value", name)
		case !isTime:
			*text(c) = opts[0]
		default:
			d, err := p.duration(opts[0])
			if err != nil {
				return err
			}
			into := &c.Interval
			if name == "timeout" {
				into = &c.Timeout
			}
			*into = d
		}
		opts = opts[1:]
	}
	for _, file := range []*string{&c.CA, &c.Cert, &c.Key, &c.PasswordFile} {
		if *file != "" {
			*file = p.path(*file)
		}
	}
	return nil
}

// aim returns the check of a node, by its address or name.
func (c *inlineCheck) aim(host string) healthfeed.Check {
	aimed := c.Check
	if c.Type == "icmp" {
		aimed.Addr = host
		return aimed
	}
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if c.scheme != "" {
		aimed.URL = c.scheme + "://" + host + c.target
	} else {
		aimed.Addr = host + c.target
	}
	return aimed
}
