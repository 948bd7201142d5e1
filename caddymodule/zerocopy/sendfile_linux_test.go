package zerocopy

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// TestSendfile asserts the point of the module: the body of a large file never
// passes through this process, whatever usual handlers are around.
func TestSendfile(t *testing.T) {
	const size = 1<<20 + 12345
	root := t.TempDir()
	content := pattern(size)
	for _, name := range []string{"big.bin", "dir/index.html", "page.txt", "page.txt.br"} {
		writeFile(t, root, name, content)
	}
	rooted := object{"root": root}
	zerocopy := handler("zerocopy", rooted)
	// What is left after the last full chunk is copied, and so is what
	// net/http sends together with the header.
	rest := int64(size%caddyhttp.DefaultMaxWriteChunk + 512)

	tests := []struct {
		name   string
		server object
		path   string
		fields http.Header
		first  int64 // first byte of the body
		rest   int64 // most bytes that may be copied
	}{
		{name: "default-timeouts", server: handle(zerocopy), path: "/big.bin", rest: rest},
		{
			name:   "no-idle-timeout",
			server: with(handle(zerocopy), object{"write_idle_timeout": -1}),
			path:   "/big.bin", rest: 512,
		},
		{
			name:   "larger-chunks",
			server: with(handle(zerocopy), object{"max_write_chunk": 1 << 19}),
			path:   "/big.bin", rest: size%(1<<19) + 512,
		},
		{
			name:   "access-log",
			server: with(handle(zerocopy), object{"logs": object{}}),
			path:   "/big.bin", rest: rest,
		},
		{
			name:   "metrics",
			server: with(handle(zerocopy), object{"metrics": object{}}),
			path:   "/big.bin", rest: rest,
		},
		{
			name: "deferred-headers",
			server: handle(handler("headers", object{"response": object{
				"deferred": true, "set": object{"X-Deferred": []string{"yes"}},
			}}), zerocopy),
			path: "/big.bin", rest: rest,
		},
		{
			name:   "encode-does-not-apply",
			server: handle(handler("encode", object{"encodings": object{"gzip": object{}}}), zerocopy),
			path:   "/big.bin", fields: http.Header{"Accept-Encoding": {"gzip"}}, rest: rest + caddyhttp.DefaultMaxWriteChunk,
		},
		{name: "range", server: handle(zerocopy), path: "/big.bin", fields: http.Header{"Range": {"bytes=1000-"}}, first: 1000, rest: rest},
		{name: "delegated-index", server: handle(zerocopy), path: "/dir/", rest: rest},
		{
			name: "delegated-sibling",
			server: handle(handler("zerocopy", rooted, object{
				"precompressed": object{"br": object{}}, "precompressed_order": []string{"br"},
			})),
			path: "/page.txt", fields: http.Header{"Accept-Encoding": {"br"}}, rest: rest,
		},
		{
			name: "delegated-range-of-sibling",
			server: handle(handler("zerocopy", rooted, object{
				"precompressed": object{"br": object{}}, "precompressed_order": []string{"br"},
			})),
			path: "/page.txt", fields: http.Header{"Accept-Encoding": {"br"}, "Range": {"bytes=77-"}}, first: 77, rest: rest,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			server := startCaddy(t, map[string]object{"srv": tt.server}, nil)["srv"]
			resp := server.do(t, http.MethodGet, tt.path, tt.fields)
			checkBody(t, resp, content[tt.first:])
			want := size - tt.first - tt.rest
			if got := server.kernelBytes.Load(); got < want {
				t.Errorf("%d of %d bytes were sent by the kernel, want at least %d", got, len(resp.body), want)
			}
		})
	}
}

// TestProbeSeesCopies is the counterpart of TestSendfile: the same probe, on a
// body that is copied for certain, counts nothing.
func TestProbeSeesCopies(t *testing.T) {
	root := t.TempDir()
	content := pattern(1 << 20)
	writeFile(t, root, "big.txt", content)
	server := startCaddy(t, map[string]object{"srv": handle(
		handler("encode", object{"encodings": object{"gzip": object{}}}),
		handler("zerocopy", object{"root": root}),
	)}, nil)["srv"]
	server.do(t, http.MethodGet, "/big.txt", http.Header{"Accept-Encoding": {"gzip"}})
	if got := server.kernelBytes.Load(); got != 0 {
		t.Errorf("probe counted %d bytes by the kernel in a compressed body, want 0", got)
	}
}

const underStrace = "ZEROCOPY_TEST_UNDER_STRACE"

// TestStrace looks at the system calls themselves. It starts this test once
// more under strace, where it serves one file.
func TestStrace(t *testing.T) {
	if os.Getenv(underStrace) != "" {
		root := t.TempDir()
		content := pattern(1 << 20)
		writeFile(t, root, "big.bin", content)
		server := startCaddy(t, map[string]object{"srv": handle(handler("zerocopy", object{"root": root}))}, nil)["srv"]
		checkBody(t, server.get(t, "/big.bin"), content)
		return
	}
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("strace is not installed; TestSendfile has checked the same from inside")
	}
	trace := filepath.Join(t.TempDir(), "trace")
	cmd := exec.Command(strace, "-f", "-qq", "-e", "trace=sendfile", "-o", trace,
		os.Args[0], "-test.run=^TestStrace$", "-test.count=1")
	cmd.Env = append(os.Environ(), underStrace+"=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		if strings.Contains(string(out), "ptrace") {
			t.Skipf("strace may not trace here; TestSendfile has checked the same from inside: %s", out)
		}
		t.Fatalf("%v: %s", err, out)
	}
	calls, err := os.ReadFile(trace)
	if err != nil {
		t.Fatal(err)
	}
	// One call per chunk, if the socket takes a chunk at once.
	if got, want := strings.Count(string(calls), "sendfile("), 1<<20/caddyhttp.DefaultMaxWriteChunk-1; got < want {
		t.Errorf("strace saw %d calls of sendfile, want at least %d:\n%s", got, want, calls)
	}
}
