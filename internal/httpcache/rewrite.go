package httpcache

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Rewrite makes r, a copy that is about to be forwarded and whose response
// may be stored, say what its key says and no more: requests with the same
// key become the same request, so that none of them can shape the response
// for the others by a part that does not count.
func (p *Policy) Rewrite(r *http.Request) {
	p.RewriteFields(r.Header)
	if v := r.Header["Accept-Encoding"]; len(v) > 0 {
		r.Header["Accept-Encoding"] = []string{p.AcceptEncoding(v)}
	}
	_, port := schemeOf(r)
	name, port := cutHost(r.Host, port)
	host := string(appendLower(nil, name)) + port
	u := p.RewriteURL(r.URL)
	r.Host, r.URL, r.RequestURI = host, u, u.RequestURI()
}

// RewriteURL returns what the key says of a target: path and query. What comes
// before them in an absolute form is in the host of the request, or means
// nothing (RFC 9110 §4.2.4).
func (p *Policy) RewriteURL(target *url.URL) *url.URL {
	query, present := p.Key.query(target)
	return &url.URL{
		Path:       target.Path,
		RawPath:    normalPath(target.EscapedPath()),
		RawQuery:   query,
		ForceQuery: present && query == "",
	}
}

// normalPath undoes, in an escaped path, the escapes of characters that need
// none and writes the others in capitals (RFC 3986 §6.2.2). An escaped dot
// stays: as part of "." or ".." it would mean another thing to whoever
// resolves those.
func normalPath(path string) string {
	i := strings.IndexByte(path, '%')
	if i < 0 {
		return path
	}
	b := make([]byte, i, len(path))
	copy(b, path)
	for ; i < len(path); i++ {
		if path[i] != '%' || i+2 >= len(path) {
			b = append(b, path[i])
			continue
		}
		high, low := unhex(path[i+1]), unhex(path[i+2])
		switch c := high<<4 | low; {
		case isAlpha(c) || '0' <= c && c <= '9' || c == '-' || c == '_' || c == '~':
			b = append(b, c)
		default:
			const digits = "0123456789ABCDEF"
			b = append(b, '%', digits[high], digits[low])
		}
		i += 2
	}
	return string(b)
}

// query is the query that counts and is forwarded, byte for byte as it came
// unless the recipe says otherwise. Only & separates parameters: what another
// parser might find behind a ; goes or stays with the parameter it is in.
func (k *Recipe) query(u *url.URL) (query string, present bool) {
	query, present = u.RawQuery, u.RawQuery != "" || u.ForceQuery
	switch {
	case k.NoQuery:
		return "", false
	case query == "" || len(k.IgnoreQuery) == 0 && !k.SortQuery:
		return query, present
	}
	params := slices.DeleteFunc(strings.Split(query, "&"), func(param string) bool {
		return param == "" || k.ignores(paramName(param))
	})
	if k.SortQuery {
		slices.SortStableFunc(params, func(a, b string) int { return strings.Compare(paramName(a), paramName(b)) })
	}
	query = strings.Join(params, "&")
	return query, query != ""
}

// paramName is the name of a parameter as an application reads it.
func paramName(param string) string {
	name, _, _ := strings.Cut(param, "=")
	if plain, err := url.QueryUnescape(name); err == nil {
		return plain
	}
	return name
}

func (k *Recipe) ignores(name string) bool {
	return slices.ContainsFunc(k.IgnoreQuery, func(pattern string) bool {
		prefix, open := strings.CutSuffix(pattern, "*")
		return open && strings.HasPrefix(name, prefix) || name == pattern
	})
}
