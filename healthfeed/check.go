package healthfeed

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Check is one way to find out whether a node is up. Checks are compared with ==:
// equal ones are one probe, whichever nodes declare them.
type Check struct {
	// Type is "http", "tcp", "grpc", "redis" or "icmp".
	Type string

	// URL is what an http check requests; its scheme says whether by TLS.
	URL string

	// Addr is the host:port that the other checks connect to; that of an icmp check
	// has no port.
	Addr string

	// Interval is the time between the starts of two rounds. Default 2 s.
	Interval time.Duration

	// Timeout is for one attempt. Default 500 ms for http, redis and icmp, 300 ms
	// for tcp, 1.5 s for grpc.
	Timeout time.Duration

	// Retries is how many more attempts a round has when the first fails.
	// [DefaultRetries] is 2, and none for grpc: its attempt is long enough for TCP to
	// send again what was lost, and three of them would take 4.5 s.
	Retries int

	// Fall is how many rounds in a row must fail before the node is down.
	// Default 3.
	Fall int

	// Rise is how many rounds in a row must pass before a down node is up.
	// Default 10.
	Rise int

	// Host is the name that an http or grpc check asks for, perhaps with a port,
	// and that a certificate must have; by default the host of URL or Addr. With CA and
	// [Node.SPIFFE] the certificate must have that ID, and a name only if Host says which.
	Host string

	// Status lists the statuses that are good in an http answer, such as
	// "200-299,404". Default 200 to 399.
	Status string

	// Body must occur in the first 5120 bytes of an http answer. Empty: only
	// the status counts, and the request is a HEAD, or a GET where the server
	// has no HEAD.
	Body string

	// Service is what a grpc check asks about; empty is the server as a whole.
	Service string

	// TLS makes grpc and redis checks use it.
	TLS bool

	// CA is a PEM file of those who may vouch for the node, in place of the
	// system's. Cert and Key are PEM files of the prober's own certificate.
	// They are read by whoever probes, and again when they change. See
	// [ReadInventory] for relative paths.
	CA, Cert, Key string

	// User and the password in PasswordFile, without the line's end, or in the
	// environment variable PasswordEnv are for AUTH in a redis check.
	User, PasswordFile, PasswordEnv string

	// Critical makes the node down when this check alone is down. A check
	// that is not critical makes it degraded. Default true.
	Critical bool

	// Foreign is the check in JSON as another process wrote it, if this process
	// cannot make it: the type or a field of it is unknown here, or it names
	// files or variables, which are those of the other machine. Who probes
	// abstains from it. It is never set by [ParseInventory].
	Foreign string
}

// DefaultRetries stands for the retries that are usual for the type of a check.
const DefaultRetries = -1

// maxBody is the length of the part of an answer that is searched, in bytes.
const maxBody = 5120

// A checkType is what one type of check differs in from others.
type checkType struct {
	name    string
	timeout time.Duration
	retries int
	fields  []string // those that not all types have
}

var checkTypes = []checkType{
	{"http", 500 * time.Millisecond, 2, []string{"url", "host", "status", "body", "ca", "cert", "key"}},
	{"tcp", 300 * time.Millisecond, 2, []string{"addr"}},
	{"grpc", 1500 * time.Millisecond, 0, []string{"addr", "host", "service", "tls", "ca", "cert", "key"}},
	{"redis", 500 * time.Millisecond, 2, []string{"addr", "host", "user", "password_file", "password_env", "tls", "ca", "cert", "key"}},
	{"icmp", 500 * time.Millisecond, 2, []string{"addr"}},
}

// typeOf returns the type of that name, nil if there is none.
func typeOf(name string) *checkType {
	i := slices.IndexFunc(checkTypes, func(t checkType) bool { return t.name == name })
	if i < 0 {
		return nil
	}
	return &checkTypes[i]
}

// Validate returns what is wrong with a check.
func (c Check) Validate() error { return c.complete() }

// complete fills in the defaults of a check and checks it. Its errors are all
// fieldErrors.
func (c *Check) complete() error {
	if c.Foreign != "" {
		return nil
	}
	kind := typeOf(c.Type)
	if kind == nil {
		return wrong(path{"type"}, "type %q is not http, tcp, grpc, redis or icmp", c.Type)
	}
	for _, f := range []struct {
		name    string
		written bool
	}{
		{"url", c.URL != ""}, {"addr", c.Addr != ""}, {"host", c.Host != ""}, {"status", c.Status != ""}, {"body", c.Body != ""},
		{"service", c.Service != ""}, {"tls", c.TLS}, {"ca", c.CA != ""}, {"cert", c.Cert != ""}, {"key", c.Key != ""},
		{"user", c.User != ""}, {"password_file", c.PasswordFile != ""}, {"password_env", c.PasswordEnv != ""},
	} {
		if f.written && !slices.Contains(kind.fields, f.name) {
			return wrong(path{f.name}, "a check of type %s has no %s", c.Type, f.name)
		}
	}
	if err := c.checkTarget(); err != nil {
		return err
	}
	if err := c.checkSecrets(); err != nil {
		return err
	}
	c.Timeout = cmp.Or(c.Timeout, kind.timeout)
	if c.Retries == DefaultRetries {
		c.Retries = kind.retries
	}
	c.Interval = cmp.Or(c.Interval, 2*time.Second)
	c.Fall = cmp.Or(c.Fall, 3)
	c.Rise = cmp.Or(c.Rise, 10)
	switch {
	case c.Interval < 10*time.Millisecond || c.Interval > time.Hour:
		return wrong(path{"interval"}, "interval %v is outside 10ms to 1h", c.Interval)
	case c.Timeout < time.Millisecond || c.Timeout > time.Minute:
		return wrong(path{"timeout"}, "timeout %v is outside 1ms to 1m", c.Timeout)
	case c.Retries < 0 || c.Retries > 10:
		return wrong(path{"retries"}, "retries %d is outside 0 to 10", c.Retries)
	case c.Fall < 1 || c.Fall > 1000:
		return wrong(path{"fall"}, "fall %d is outside 1 to 1000", c.Fall)
	case c.Rise < 1 || c.Rise > 1000:
		return wrong(path{"rise"}, "rise %d is outside 1 to 1000", c.Rise)
	case len(c.Body) > maxBody:
		return wrong(path{"body"}, "body of %d bytes is longer than the %d that are searched", len(c.Body), maxBody)
	}
	return nil
}

// checkTarget checks what is asked.
func (c *Check) checkTarget() error {
	switch c.Type {
	case "http":
		if _, err := ParseURL(c.URL); err != nil {
			return wrong(path{"url"}, "url %w", err)
		}
	case "icmp":
		if _, err := netip.ParseAddr(c.Addr); err != nil && !hostName(strings.TrimSuffix(c.Addr, ".")) {
			return wrong(path{"addr"}, "addr %q is not an address or the name of a host, without a port", c.Addr)
		}
	default:
		if !hostPort(c.Addr) {
			return wrong(path{"addr"}, "addr %q is not host:port", c.Addr)
		}
	}
	if c.Host != "" && c.ServerName() == "" {
		return wrong(path{"host"}, "host %q is not the name of a host, with or without a port", c.Host)
	}
	if _, err := parseStatuses(c.Status); err != nil {
		return wrong(path{"status"}, "%w", err)
	}
	if len(c.Service) > 255 {
		return wrong(path{"service"}, "service %.40q… is longer than 255 bytes", c.Service)
	}
	return nil
}

// checkSecrets checks what the prober shows, and by what it believes the node.
func (c *Check) checkSecrets() error {
	encrypted := c.TLS || strings.HasPrefix(c.URL, "https:")
	switch {
	case c.CA != "" && !encrypted:
		return wrong(path{"ca"}, "ca %q is for TLS", c.CA)
	case c.Cert != "" && !encrypted:
		return wrong(path{"cert"}, "cert %q is for TLS", c.Cert)
	case c.Type == "redis" && c.Host != "" && !encrypted:
		return wrong(path{"host"}, "host %q is for TLS", c.Host)
	case c.Cert == "" && c.Key != "":
		return wrong(path{"key"}, "key %q has no cert beside it", c.Key)
	case c.Cert != "" && c.Key == "":
		return wrong(path{"cert"}, "cert %q has no key beside it", c.Cert)
	case c.PasswordFile != "" && c.PasswordEnv != "":
		return wrong(path{"password_env"}, "password_file and password_env exclude each other")
	case c.User != "" && c.PasswordFile == "" && c.PasswordEnv == "":
		return wrong(path{"user"}, "user %q has no password_file or password_env beside it", c.User)
	}
	return nil
}

// local reports whether the check names what only the machine has on which it was
// declared.
func (c *Check) local() bool {
	return c.CA != "" || c.Cert != "" || c.Key != "" || c.PasswordFile != "" || c.PasswordEnv != ""
}

// ServerName returns the name or address that the certificate of the node must have,
// without a port. It is empty for a Host that is none.
func (c *Check) ServerName() string {
	at := c.Host
	if at == "" {
		if at = c.Addr; c.Type == "http" {
			u, err := url.Parse(c.URL)
			if err != nil {
				return ""
			}
			return u.Hostname()
		}
	}
	if hostPort(at) {
		at, _, _ = net.SplitHostPort(at)
	}
	if net.ParseIP(strings.Trim(at, "[]")) == nil && !hostName(strings.TrimSuffix(at, ".")) {
		return ""
	}
	return strings.Trim(at, "[]")
}

// hostPort reports whether s is host:port.
func hostPort(s string) bool {
	host, port, err := net.SplitHostPort(s)
	n, notPort := strconv.ParseUint(port, 10, 16)
	return err == nil && host != "" && notPort == nil && n > 0
}

// Accepts reports whether a status is good in an http answer.
func (c *Check) Accepts(status int) bool {
	spans, _ := parseStatuses(c.Status)
	return slices.ContainsFunc(spans, func(s [2]int) bool { return s[0] <= status && status <= s[1] })
}

// parseStatuses reads statuses and spans of them with commas between. The empty list
// is 200-399.
func parseStatuses(list string) (spans [][2]int, err error) {
	if list == "" {
		return [][2]int{{200, 399}}, nil
	}
	for word := range strings.SplitSeq(list, ",") {
		from, to, isSpan := strings.Cut(word, "-")
		if !isSpan {
			to = from
		}
		first, errFirst := strconv.Atoi(from)
		last, errLast := strconv.Atoi(to)
		if errFirst != nil || errLast != nil || first < 200 || last > 599 || first > last || len(from) != 3 || len(to) != 3 {
			return nil, fmt.Errorf("status %.40q is not a list such as 200-299,404, within 200 to 599", list)
		}
		spans = append(spans, [2]int{first, last})
	}
	return spans, nil
}
