package zerocopy

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "github.com/caddyserver/caddy/v2/modules/caddyhttp/fileserver"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// parityTree makes the files that both handlers serve and returns the paths to
// ask for: with every combination of request fields, and with none.
func parityTree(t *testing.T) (root string, thorough, plain []string) {
	t.Helper()
	root = t.TempDir()
	outside := writeFile(t, t.TempDir(), "outside.txt", []byte("outside the root"))
	for name, content := range map[string]string{
		"file.txt": "a plain file\n", "empty.txt": "", "page.html": "<p>page", "noext": "<p>no extension",
		"odd.zzz": "unknown extension", "big.js": strings.Repeat("var x = 1;\n", 20_000),
		"zero-time.txt": "mtime 0", "one-time.txt": "mtime 1", "old.txt": "mtime 1999",
		"dir/index.html": "<p>index", "dir/hidden.html": "<p>hidden", "text/index.txt": "index", "bare/x.txt": "no index",
		"dirindex/index.html/x": "the index is a directory", ".dot": "dot", "secret/s.txt": "secret", "a.secret": "glob",
		"sp ace.txt": "space", "ü.txt": "umlaut", "per%cent.txt": "percent", "a[1].txt": "brackets", "semi;colon.txt": "semicolon",
		"side.txt": "original of the siblings", "side.txt.gz": "gzip sibling", "side.txt.br": "brotli sibling", "side.txt.zst": "zstd sibling",
		"dirside.txt": "its sibling is a directory", "dirside.txt.gz/x": "", "hiddenside.txt": "sibling hidden", "hiddenside.txt.gz": "gz",
		"tagged.txt": "tag in a file", "tagged.txt.etag": "\"from-file\"\n", "unreadable.txt": "mode 000",
		"short/f.txt": strings.Repeat("0123456789", 10),
	} {
		path := writeFile(t, root, name, []byte(content))
		if err := os.Chtimes(path, time.Time{}, time.Unix(1_700_000_000, 123_456_789)); err != nil {
			t.Fatal(err)
		}
	}
	for name, seconds := range map[string]int64{"zero-time.txt": 0, "one-time.txt": 1, "old.txt": 915_148_800} {
		if err := os.Chtimes(filepath.Join(root, name), time.Time{}, time.Unix(seconds, 0)); err != nil {
			t.Fatal(err)
		}
	}
	for link, target := range map[string]string{
		"link.txt": "file.txt", "linkdir": "dir", "dangling": "nowhere", "out.txt": outside, "loop": "loop",
	} {
		if err := os.Symlink(target, filepath.Join(root, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Join(root, "unreadable.txt"), 0); err != nil {
		t.Fatal(err)
	}

	thorough = []string{"/file.txt", "/empty.txt", "/zero-time.txt", "/short/f.txt", "/side.txt", "/dir/", "/noext"}
	plain = []string{
		"/", "/page.html", "/odd.zzz", "/big.js", "/one-time.txt", "/old.txt", "/dir", "/dir/index.html", "/dir/hidden.html",
		"/text", "/text/", "/bare", "/bare/", "/bare/x.txt", "/dirindex/", "/dirindex/index.html", "/.dot", "/secret", "/secret/", "/secret/s.txt",
		"/a.secret", "/sp%20ace.txt", "/%C3%BC.txt", "/per%25cent.txt", "/a%5B1%5D.txt", "/semi;colon.txt",
		"/dirside.txt", "/hiddenside.txt", "/tagged.txt", "/unreadable.txt",
		"/link.txt", "/linkdir", "/linkdir/", "/dangling", "/out.txt", "/loop", "/missing", "/missing/", "/missing/x",
		"/file.txt/", "/file.txt/x", "/file.txt?q=1", "/dir?q=1", "/file.txt/?q=1", "//file.txt", "//dir", "/dir//index.html",
		"/dir/../file.txt", "/../file.txt", "/%2e%2e/file.txt", "/dir%2findex.html", "/./file.txt", "/dir/.", "/%00", "/file.txt%00", "/" + strings.Repeat("n", 300),
	}
	return root, thorough, plain
}

// parityFields are combinations of request fields, some made from the
// validators of the file.
func parityFields(etag, modified string) []http.Header {
	weak := "W/" + etag
	past, future := "Sat, 01 Jan 2000 00:00:00 GMT", "Fri, 01 Jan 2100 00:00:00 GMT"
	var all []http.Header
	add := func(pairs ...string) {
		h := http.Header{}
		for i := 0; i < len(pairs); i += 2 {
			h.Add(pairs[i], pairs[i+1])
		}
		all = append(all, h)
	}
	for _, tag := range []string{etag, weak, `"other"`, "*", `"other", ` + etag, "garbage", ""} {
		add("If-None-Match", tag)
		add("If-Match", tag)
		add("If-Range", tag, "Range", "bytes=0-3")
	}
	for _, date := range []string{modified, past, future, "garbage"} {
		add("If-Modified-Since", date)
		add("If-Unmodified-Since", date)
		add("If-Range", date, "Range", "bytes=0-3")
	}
	add("If-None-Match", `"other"`, "If-Modified-Since", future)
	for _, r := range []string{
		"bytes=0-0", "bytes=2-5", "bytes=5-", "bytes=-3", "bytes=-0", "bytes=-9999", "bytes=0-9999", "bytes=9999-", "bytes=5-2",
		"bytes=0-1,3-4", "bytes=0-50,10-60,20-99", "bytes=", "bytes", "lines=1-2", "bytes=a-b", "bytes=0-1,9999-", "",
	} {
		add("Range", r)
		add("Range", r, "Accept-Encoding", "gzip")
	}
	for _, coding := range []string{"gzip", "br;q=0, gzip", "zstd", "br, zstd, gzip", "*", "identity", "identity;q=0", "gzip;q=0", "unknown"} {
		add("Accept-Encoding", coding)
		add("Accept-Encoding", coding, "If-None-Match", etag)
	}
	add("Accept", "application/json")
	add("Connection", "Upgrade", "Upgrade", "websocket", "Accept-Encoding", "gzip")
	return all
}

// TestParity asks file_server and zerocopy the same questions and wants the
// same answers: status, every field but Date, body.
func TestParity(t *testing.T) {
	root, thorough, plain := parityTree(t)
	siblings := object{
		"precompressed":       object{"br": object{}, "gzip": object{}, "zstd": object{}},
		"precompressed_order": []string{"br", "zstd", "gzip"},
	}
	answer := handler("static_response", object{"status_code": 200, "body": "the next handler"})
	route := func(server func(fileHandler func(...object) object) object) func(string) object {
		return func(name string) object {
			return server(func(options ...object) object {
				return handler(name, append([]object{{"root": root}}, options...)...)
			})
		}
	}
	only := func(options ...object) func(string) object {
		return route(func(files func(...object) object) object { return handle(files(options...)) })
	}
	behind := func(first object, options ...object) func(string) object {
		return route(func(files func(...object) object) object { return handle(first, files(options...)) })
	}
	tests := map[string]func(handlerName string) object{
		"defaults": only(),
		"hide": only(object{"hide": []string{
			"hidden.html", "*.secret", filepath.Join(root, "secret"), filepath.Join(root, "short", "*.txt"), filepath.Join(root, "a[1].txt"),
		}}),
		"hide-malformed":   only(object{"hide": []string{"[", filepath.Join(root, "[")}}),
		"hide-placeholder": only(object{"hide": []string{"{http.request.uri.query.q}", filepath.Join(root, "{http.request.uri.query.q}", "s.txt")}}),
		"hide-sibling":     only(siblings, object{"hide": []string{"hiddenside.txt.gz"}}),
		"index":            only(object{"index_names": []string{"hidden.html", "index.txt"}}),
		"no-index":         only(object{"index_names": []string{}}),
		"browse":           only(object{"browse": object{}}),
		"not-canonical":    only(object{"canonical_uris": false}),
		"status":           only(object{"status_code": "418"}),
		"status-bad":       only(object{"status_code": "{http.request.uri.query.q}"}),
		"precompressed":    only(siblings),
		"etag-files":       only(siblings, object{"etag_file_extensions": []string{".etag"}}),
		"unknown-fs":       only(object{"fs": "nowhere"}),
		"pass-thru": route(func(files func(...object) object) object {
			return handle(files(object{"pass_thru": true}), answer)
		}),
		"pass-thru-hide": route(func(files func(...object) object) object {
			return handle(files(object{"pass_thru": true, "hide": []string{"*.html"}}), answer)
		}),
		"root-variable": func(name string) object {
			return handle(handler("vars", object{"root": root}), handler(name))
		},
		"fields-set-before": behind(handler("headers", object{"response": object{"set": object{
			"Etag": []string{`"operator"`}, "Content-Type": []string{"text/operator"}, "Cache-Control": []string{"max-age=5"}, "Vary": []string{"Origin"},
		}}})),
		"fields-set-after": behind(handler("headers", object{"response": object{"deferred": true, "delete": []string{"Etag"}, "set": object{"X-Set": []string{"1"}}}})),
		"encode":           behind(handler("encode", object{"encodings": object{"gzip": object{}, "zstd": object{}}, "prefer": []string{"zstd", "gzip"}})),
		"rewritten":        behind(handler("rewrite", object{"uri": "/file.txt"})),
		"slash-rewritten":  behind(handler("rewrite", object{"path_regexp": []object{{"find": "/$", "replace": ""}}})),
		"slash-added":      behind(handler("rewrite", object{"path_regexp": []object{{"find": "$", "replace": "/"}}})),
		"empty-path":       behind(handler("rewrite", object{"strip_path_prefix": "/dir"})),
		"error-route": route(func(files func(...object) object) object {
			return object{
				"routes": []object{{"handle": []object{handler("error", object{"status_code": "404"})}}},
				"errors": object{"routes": []object{{"handle": []object{files()}}}},
			}
		}),
		"error-page": route(func(files func(...object) object) object {
			return object{
				"routes": []object{{"handle": []object{files()}}},
				"errors": object{"routes": []object{{"handle": []object{handler("rewrite", object{"uri": "/page.html"}), files()}}}},
			}
		}),
	}

	servers := map[string]object{}
	for name, server := range tests {
		servers[name+" stock"] = server("file_server")
		servers[name+" ours"] = server("zerocopy")
	}
	before := ownResponses()
	running := startCaddy(t, servers, nil)
	compared := 0
	for name := range tests {
		t.Run(name, func(t *testing.T) {
			stock, ours := running[name+" stock"], running[name+" ours"]
			compare := func(method, path string, fields http.Header) {
				compared++
				want, got := answerTo(t, stock, method, path, fields), answerTo(t, ours, method, path, fields)
				if got != want {
					t.Errorf("%s %s %v\n got %.600q\nwant %.600q", method, path, fields, got, want)
				}
			}
			for _, path := range append(thorough, plain...) {
				for _, method := range []string{"GET", "HEAD", "POST", "OPTIONS", "DELETE"} {
					compare(method, path, nil)
				}
				compare("GET", path, http.Header{"Accept-Encoding": {"gzip"}})
			}
			for _, path := range thorough {
				head := stock.do(t, http.MethodHead, path, nil)
				for _, fields := range parityFields(head.Header.Get("Etag"), head.Header.Get("Last-Modified")) {
					compare("GET", path, fields)
					compare("HEAD", path, fields)
				}
			}
		})
	}
	t.Logf("%d requests compared", compared)
	// Without this the test would be content if everything were delegated.
	if got := ownResponses() - before; got < compared/4 {
		t.Errorf("zerocopy served %d of %d responses itself, want at least a quarter", got, compared)
	}
}

// ownResponses counts the responses that were not delegated.
func ownResponses() int {
	var sum float64
	for _, label := range []string{"sendfile", "copy", "no_body", "not_found"} {
		sum += testutil.ToFloat64(processMetrics().requests.WithLabelValues(label))
	}
	return int(sum)
}

// answerTo returns all of a response that must be equal, as text.
func answerTo(t *testing.T, server *testServer, method, path string, fields http.Header) string {
	t.Helper()
	// The path goes out as it is written here.
	rawPath, query, _ := strings.Cut(path, "?")
	req := &http.Request{
		Method: method, Host: "parity.example", Header: fields.Clone(),
		URL: &url.URL{Scheme: "http", Host: server.addr.String(), Opaque: "//" + server.addr.String() + rawPath, RawQuery: query},
	}
	if req.Header == nil {
		req.Header = http.Header{}
	}
	resp, err := server.client.Do(req)
	if err != nil {
		return "error: " + strings.ReplaceAll(err.Error(), server.addr.String(), "")
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	header := maps.Clone(resp.Header)
	header.Del("Date")
	text := fmt.Sprintf("%d %v length=%d coding=%v close=%v trailer=%v error=%v\n%s",
		resp.StatusCode, header, resp.ContentLength, resp.TransferEncoding, resp.Close, resp.Trailer, err, body)
	text = strings.ReplaceAll(text, server.addr.String(), "ADDR")
	// The boundary of several ranges is random.
	if _, boundary, ok := strings.Cut(resp.Header.Get("Content-Type"), "boundary="); ok {
		text = strings.ReplaceAll(text, boundary, "BOUNDARY")
	}
	// So is the nonce of a listing.
	if _, nonce, ok := strings.Cut(resp.Header.Get("Content-Security-Policy"), "'nonce-"); ok {
		nonce, _, _ = strings.Cut(nonce, "'")
		text = strings.ReplaceAll(text, nonce, "NONCE")
	}
	return text
}
