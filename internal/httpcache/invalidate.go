package httpcache

import "net/http"

// Invalidates reports whether a response to a request of that method makes
// what is stored under its target URI invalid (RFC 9111 §4.4): the method is
// not known to be safe and the response is no error.
func Invalidates(method string, status int) bool {
	return !Safe(method) && method != http.MethodConnect && status >= 200 && status < 400
}

// Safe reports whether a method is known to be safe: a request that asks for
// nothing to change (RFC 9110 §9.2.1).
func Safe(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace,
		"PRI", "PROPFIND", "QUERY", "REPORT", "SEARCH":
		return true
	}
	return false
}

// InvalidatedTargets returns the target itself and, where they name the same
// host, the targets of Location and Content-Location. Each comes as a request
// ready for AppendKey.
func InvalidatedTargets(r *http.Request, response http.Header) []*http.Request {
	targets := []*http.Request{r}
	for _, name := range [...]string{"Location", "Content-Location"} {
		v := response[name]
		if len(v) != 1 {
			continue
		}
		u, err := r.URL.Parse(v[0])
		if err != nil {
			continue
		}
		// Only of the same origin: otherwise one site could empty another's
		// cache (RFC 9111 §4.4).
		scheme, port := "http", ":80"
		if r.TLS != nil {
			scheme, port = "https", ":443"
		}
		host := u.Host
		if host == r.URL.Host {
			host = r.Host
		}
		if u.Scheme != "" && u.Scheme != scheme || !sameHost(host, r.Host, port) {
			continue
		}
		targets = append(targets, &http.Request{Method: http.MethodGet, Host: r.Host, TLS: r.TLS, URL: u, Header: r.Header})
	}
	return targets
}

// sameHost reports whether two hosts have the same key.
func sameHost(a, b, defaultPort string) bool {
	return string(appendHost(nil, a, defaultPort)) == string(appendHost(nil, b, defaultPort))
}
