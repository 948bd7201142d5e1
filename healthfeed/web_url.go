package healthfeed

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

// ParseURL reads a URL that is to be asked. One with a password is refused, since URLs stand
// in logs and in the inventory, which everybody reads; the error does not have it.
func ParseURL(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return nil, fmt.Errorf("%q: want http://host:port or https://host:port", hidden(raw))
	}
	if u.User != nil {
		return nil, fmt.Errorf("%q: a URL stands in logs; want it without a user and a password", hidden(raw))
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return nil, fmt.Errorf("%q: %q is not a port", raw, port)
		}
	}
	return u, nil
}

// hidden is a URL without what stands before an @ in it.
func hidden(raw string) string {
	at := strings.LastIndex(raw, "@")
	if at < 0 {
		return raw
	}
	scheme, _, found := strings.Cut(raw[:at], "://")
	if !found {
		return "…" + raw[at:]
	}
	return scheme + "://…" + raw[at:]
}
