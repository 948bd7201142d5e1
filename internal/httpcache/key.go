package httpcache

import (
	"cmp"
	"encoding/binary"
	"iter"
	"net/http"
	"net/url"
	"strings"
)

// Recipe is what the primary cache key is made of (RFC 9111 §2). The zero
// Recipe takes method class, scheme, host, path and query. What it leaves out
// of the query is not forwarded either; that scheme or host make no difference
// is the operator's word.
type Recipe struct {
	NoScheme bool
	NoHost   bool // not together with NoScheme
	NoQuery  bool

	IgnoreQuery []string // names of parameters to leave out; a final * stands for any ending
	SortQuery   bool     // parameters by name, those of one name in the order they came

	Headers []string // canonical names of fields that count, line by line
	Cookies []string // names of cookies that count
}

// AppendKey appends the primary cache key of a request, as Rewrite makes it
// before it is forwarded.
//
// Every part says what it is and how long, so no part can imitate another: two
// requests have the same key only if what the origin server would see of those
// parts is the same. The path is the escaped one, since "/a%2Fb" and "/a/b"
// may be different resources; escapes that mean nothing count as what they
// stand for. Host names compare without case and default port; a final dot
// counts, because servers take the name with it for that of another site.
// HEAD has the key of GET, being answered from it; so have unsafe methods,
// being looked up in order to invalidate it.
//
// X-Forwarded-Proto and X-Forwarded-Host, which are for a client the scheme
// and host it asked for, count where they are present: a proxy in front that
// ends TLS makes them part of the target. Whether they are to be trusted
// makes no difference here; a stranger who sends them has a key to himself.
func (p *Policy) AppendKey(dst []byte, r *http.Request) []byte {
	k := &p.Key
	scheme, port := schemeOf(r)
	dst = append(dst, 'G')
	if !k.NoScheme {
		dst = appendKeyPart(dst, 's', scheme)
		for _, line := range r.Header["X-Forwarded-Proto"] {
			dst = appendKeyPart(dst, 'p', line)
		}
	}
	if !k.NoHost {
		dst = appendHost(append(dst, 'a'), r.Host, port)
		for _, line := range r.Header["X-Forwarded-Host"] {
			dst = appendKeyPart(dst, 'h', line)
		}
	}
	dst = k.appendTarget(dst, '/', '?', r.URL)
	for _, name := range k.Headers {
		dst = appendKeyPart(dst, 'x', name)
		dst = binary.AppendUvarint(dst, uint64(len(r.Header[name])))
		for _, line := range r.Header[name] {
			dst = appendPart(dst, line)
		}
	}
	for _, name := range k.Cookies {
		for pair := range cookies(r.Header) {
			if cookieName(pair) == name {
				dst = appendKeyPart(dst, 'c', pair)
			}
		}
	}
	return dst
}

// AppendOriginal appends to a key of AppendKey the target that the client
// named, for a request that has been given another since.
func (p *Policy) AppendOriginal(dst []byte, u *url.URL) []byte {
	return p.Key.appendTarget(dst, 'o', 'q', u)
}

func (k *Recipe) appendTarget(dst []byte, pathKind, queryKind byte, u *url.URL) []byte {
	path := cmp.Or(normalPath(u.EscapedPath()), "/") // RFC 9110 §4.2.3: the same
	dst = appendKeyPart(dst, pathKind, path)
	if query, present := k.query(u); present { // "/a" and "/a?" are not the same target
		dst = appendKeyPart(dst, queryKind, query)
	}
	return dst
}

// AppendListener appends to a key of AppendKey the port, or the name of the
// socket, that a request came to.
func AppendListener(dst []byte, listener string) []byte { return appendKeyPart(dst, 'l', listener) }

// appendKeyPart appends what a response depends on; kind tells what.
func appendKeyPart(dst []byte, kind byte, part string) []byte {
	return appendPart(append(dst, kind), part)
}

func appendPart(dst []byte, part string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(part)))
	return append(dst, part...)
}

func schemeOf(r *http.Request) (scheme, defaultPort string) {
	if r.TLS != nil {
		return "https", ":443"
	}
	return "http", ":80"
}

// Port is the one that the target of r names: that of the host, or the default
// one of the scheme.
func Port(r *http.Request) string {
	_, byDefault := schemeOf(r)
	_, port := cutHost(r.Host, byDefault)
	return cmp.Or(port, byDefault)[1:]
}

func appendHost(dst []byte, host, defaultPort string) []byte {
	name, port := cutHost(host, defaultPort)
	dst = binary.AppendUvarint(dst, uint64(len(name)+len(port)))
	return append(appendLower(dst, name), port...)
}

// cutHost cuts a host into a name and a port with its colon, empty if it is
// the default one. What is no host it leaves alone.
func cutHost(host, defaultPort string) (name, port string) {
	name = host
	if i := strings.LastIndexByte(name, ':'); i >= 0 && !strings.HasSuffix(name, "]") {
		name, port = name[:i], name[i:]
	}
	if port == ":" || port == defaultPort {
		port = ""
	}
	if strings.IndexByte(name, ':') >= 0 && !strings.HasSuffix(name, "]") {
		return host, ""
	}
	return name, port
}

func appendLower(dst []byte, s string) []byte {
	for i := range len(s) {
		c := s[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		dst = append(dst, c)
	}
	return dst
}

// keyPart is one part of a key.
type keyPart struct {
	kind  byte
	text  string
	lines []string // of a field, whose name is the text
	raw   string   // all of it as it stands in the key
}

// keyParts are the parts of a key. What is no key ends early.
func keyParts(key string) iter.Seq[keyPart] {
	return func(yield func(keyPart) bool) {
		rest := key[min(1, len(key)):]
		number := func() uint64 {
			n, used := binary.Uvarint([]byte(rest[:min(binary.MaxVarintLen64, len(rest))]))
			if rest = rest[max(used, 0):]; used <= 0 {
				rest = ""
			}
			return n
		}
		text := func() string {
			n := min(number(), uint64(len(rest)))
			part := rest[:n]
			rest = rest[n:]
			return part
		}
		for rest != "" {
			from := rest
			rest = rest[1:]
			part := keyPart{kind: from[0], text: text()}
			if part.kind == 'x' {
				for n := number(); n > 0 && rest != ""; n-- {
					part.lines = append(part.lines, text())
				}
			}
			part.raw = from[:len(from)-len(rest)]
			if !yield(part) {
				return
			}
		}
	}
}

// KeyTarget returns a key of AppendKey without the fields and cookies that
// count beside the target. An unsafe request makes invalid what is stored for
// all of their values (RFC 9111 §4.4).
func KeyTarget(key string) string {
	var target strings.Builder
	target.WriteString(key[:min(1, len(key))])
	for part := range keyParts(key) {
		if part.kind != 'x' && part.kind != 'c' {
			target.WriteString(part.raw)
		}
	}
	return target.String()
}

// KeyText renders a key of AppendKey for people: the target URI and, behind
// it, everything else that counts. It is empty if key is no such key.
func KeyText(key string) string {
	if key == "" || key[0] != 'G' {
		return ""
	}
	var target, more strings.Builder
	for part := range keyParts(key) {
		switch part.kind {
		case 's':
			target.WriteString(part.text + ":")
		case 'a':
			target.WriteString("//" + part.text)
		case '/':
			target.WriteString(part.text)
		case '?':
			target.WriteString("?" + part.text)
		case 'x':
			more.WriteString("; " + strings.ToLower(part.text) + "=" + strings.Join(part.lines, ", "))
		case 'o':
			more.WriteString("; original=" + part.text)
		case 'q': // behind it
			more.WriteString("?" + part.text)
		case 'l':
			more.WriteString("; listener=" + part.text)
		case 'p':
			more.WriteString("; x-forwarded-proto=" + part.text)
		case 'h':
			more.WriteString("; x-forwarded-host=" + part.text)
		case 'c':
			more.WriteString("; cookie " + part.text)
		}
	}
	return target.String() + more.String()
}
