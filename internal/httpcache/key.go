package httpcache

import (
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
func AppendKey(dst []byte, r *http.Request) []byte {
	scheme, port := "http", ":80"
	if r.TLS != nil {
		scheme, port = "https", ":443"
	}
	dst = append(dst, 'G')
	dst = appendPart(dst, scheme)
	dst = appendHost(dst, r.Host, port)
	dst = appendPart(dst, r.URL.EscapedPath())
	if r.URL.RawQuery == "" && !r.URL.ForceQuery {
		return append(dst, 0) // "/a" and "/a?" are not the same target
	}
	dst = append(dst, 1)
	return appendPart(dst, r.URL.RawQuery)
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
