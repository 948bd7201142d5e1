package httpcache

import (
	"cmp"
	"encoding/binary"
	"net/http"
	"strings"
)

// AppendKey appends the primary cache key of a request (RFC 9111 §2): method
// class, scheme, host, path and query, as they would be forwarded.
//
// Every part carries its length, so no part can imitate another: two requests
// have the same key only if what the origin server would see of those parts
// is the same. The path is the escaped one, since "/a%2Fb" and "/a/b" may be
// different resources. Host names compare without case, default port and
// final dot. HEAD has the key of GET, being answered from it; so have unsafe
// methods, being looked up in order to invalidate it.
//
// X-Forwarded-Proto and X-Forwarded-Host, which are for a client the scheme
// and host it asked for, count where they are present: a proxy in front that
// ends TLS makes them part of the target. Whether they are to be trusted
// makes no difference here; a stranger who sends them has a key to himself.
func AppendKey(dst []byte, r *http.Request) []byte {
	scheme, port := "http", ":80"
	if r.TLS != nil {
		scheme, port = "https", ":443"
	}
	dst = append(dst, 'G')
	dst = appendPart(dst, scheme)
	dst = appendHost(dst, r.Host, port)
	dst = appendPart(dst, cmp.Or(r.URL.EscapedPath(), "/")) // RFC 9110 §4.2.3: the same
	if r.URL.RawQuery == "" && !r.URL.ForceQuery {
		dst = append(dst, 0) // "/a" and "/a?" are not the same target
	} else {
		dst = appendPart(append(dst, 1), r.URL.RawQuery)
	}
	for _, line := range r.Header["X-Forwarded-Proto"] {
		dst = AppendKeyPart(dst, 'p', line)
	}
	for _, line := range r.Header["X-Forwarded-Host"] {
		dst = AppendKeyPart(dst, 'h', line)
	}
	return dst
}

// AppendKeyPart appends to a key of AppendKey something else that the
// response depends on; kind tells what, and is none of 'p' and 'h'.
func AppendKeyPart(dst []byte, kind byte, part string) []byte {
	return appendPart(append(dst, kind), part)
}

func appendPart(dst []byte, part string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(part)))
	return append(dst, part...)
}

func appendHost(dst []byte, host, defaultPort string) []byte {
	host = strings.TrimSuffix(host, defaultPort)
	port := ""
	if i := strings.LastIndexByte(host, ':'); i >= 0 && !strings.HasSuffix(host, "]") {
		host, port = host[:i], host[i:]
	}
	host = strings.TrimSuffix(host, ".")
	dst = binary.AppendUvarint(dst, uint64(len(host)+len(port)))
	for i := range len(host) {
		c := host[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		dst = append(dst, c)
	}
	return append(dst, port...)
}
