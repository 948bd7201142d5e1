package zerocopy

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// transports are the ways a body can leave.
func transports(root string) map[string]object {
	zerocopy := handler("zerocopy", object{"root": root})
	gzip := handler("encode", object{"encodings": object{"gzip": object{"level": 1}}})
	secure := func(protocols ...string) object {
		return with(handle(zerocopy), object{
			"tls_connection_policies": []object{{"alpn": protocols}},
			"protocols":               []string{"h1", "h2"},
		})
	}
	return map[string]object{
		"plain":            handle(zerocopy),
		"no-idle-timeout":  with(handle(zerocopy), object{"write_idle_timeout": -1}),
		"h1-only-listener": with(handle(zerocopy), object{"protocols": []string{"h1"}}),
		"encode":           handle(gzip, zerocopy),
		"tls-h1":           secure("http/1.1"),
		"tls-h2":           secure("h2", "http/1.1"),
		"h3":               with(secure("h2", "http/1.1"), object{"protocols": []string{"h1", "h2", "h3"}}),
	}
}

// useHTTP3 makes the server's client speak HTTP/3, on the port that the server
// announces in Alt-Svc.
func useHTTP3(t *testing.T, server *testServer) {
	t.Helper()
	service := server.get(t, "/").Header.Get("Alt-Svc")
	_, port, ok := strings.Cut(service, `h3=":`)
	port, _, _ = strings.Cut(port, `"`)
	if !ok {
		t.Fatalf("server offers no HTTP/3: Alt-Svc %q", service)
	}
	host := server.addr.(*net.TCPAddr).IP.String()
	transport := &http3.Transport{
		DisableCompression: true,
		TLSClientConfig:    &tls.Config{InsecureSkipVerify: true, ServerName: "localhost"},
		Dial: func(ctx context.Context, _ string, tlsConfig *tls.Config, config *quic.Config) (*quic.Conn, error) {
			return quic.DialAddr(ctx, net.JoinHostPort(host, port), tlsConfig, config)
		},
	}
	t.Cleanup(func() { transport.Close() })
	server.client = &http.Client{Transport: transport}
}

func TestTransports(t *testing.T) {
	root := t.TempDir()
	content := pattern(3<<20 + 17)
	writeFile(t, root, "big.bin", content)
	writeFile(t, root, "small.bin", content[:1000])
	for name, server := range startCaddy(t, transports(root), nil) {
		t.Run(name, func(t *testing.T) {
			if name == "h3" {
				useHTTP3(t, server)
			}
			checkBody(t, server.get(t, "/big.bin"), content)
			checkBody(t, server.get(t, "/small.bin"), content[:1000])
			resp := server.get(t, "/big.bin")
			want := map[string]int{"tls-h2": 2, "h3": 3}
			if major := max(want[name], 1); resp.ProtoMajor != major {
				t.Errorf("got HTTP/%d, want HTTP/%d", resp.ProtoMajor, major)
			}
			head := server.do(t, http.MethodHead, "/big.bin", nil)
			if head.ContentLength != int64(len(content)) || len(head.body) != 0 {
				t.Errorf("HEAD: got Content-Length %d and %d bytes of body, want %d and none",
					head.ContentLength, len(head.body), len(content))
			}
		})
	}
}

// TestTruncatedFile asserts that a client can tell: a file that shrinks during
// the transfer breaks the transfer on every transport.
func TestTruncatedFile(t *testing.T) {
	root := t.TempDir()
	content := pattern(hugeSize)
	servers := startCaddy(t, transports(root), nil)
	// Compressible by type, so that encode announces no length: without an
	// abort its shorter stream would look complete.
	servers["encode-compressing"] = servers["encode"]
	for name, server := range servers {
		t.Run(name, func(t *testing.T) {
			if name == "h3" {
				useHTTP3(t, server)
			}
			file, fields := "big.bin", http.Header{}
			if name == "encode-compressing" {
				file, fields = "big.txt", http.Header{"Accept-Encoding": {"gzip"}}
			}
			path := writeFile(t, root, file, content)
			before := testutil.ToFloat64(processMetrics().truncated)

			req, err := http.NewRequest(http.MethodGet, server.url("/"+file), nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header = fields
			resp, err := server.client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if coding := resp.Header.Get("Content-Encoding"); (coding == "gzip") != (name == "encode-compressing") {
				t.Fatalf("got Content-Encoding %q", coding)
			}
			if _, err := io.CopyN(io.Discard, resp.Body, 4096); err != nil {
				t.Fatal(err)
			}
			if err := os.Truncate(path, 1<<20); err != nil {
				t.Fatal(err)
			}
			n, err := io.Copy(io.Discard, resp.Body)
			if err == nil {
				t.Errorf("got a complete response of %d bytes, want an error", n+4096)
			}
			if got := testutil.ToFloat64(processMetrics().truncated) - before; got != 1 {
				t.Errorf("truncated_total grew by %v, want 1", got)
			}
		})
	}
}

// TestClientLeaves asserts that a client that goes away is not taken for a
// truncated file, and that the file is closed.
func TestClientLeaves(t *testing.T) {
	root := t.TempDir()
	writeFile(t, root, "big.bin", pattern(hugeSize))
	for name, server := range startCaddy(t, transports(root), nil) {
		t.Run(name, func(t *testing.T) {
			if name == "h3" {
				useHTTP3(t, server)
			}
			finished, truncated := ownResponses(), testutil.ToFloat64(processMetrics().truncated)
			resp, err := server.client.Get(server.url("/big.bin"))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.CopyN(io.Discard, resp.Body, 4096); err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			for deadline := time.Now().Add(30 * time.Second); ownResponses() == finished; time.Sleep(time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatal("the handler does not return")
				}
			}
			if got := testutil.ToFloat64(processMetrics().truncated) - truncated; got != 0 {
				t.Errorf("truncated_total grew by %v, want 0", got)
			}
			descriptors, _ := filepath.Glob("/proc/self/fd/*") // none where there is no /proc
			for _, descriptor := range descriptors {
				if target, err := os.Readlink(descriptor); err == nil && strings.HasPrefix(target, root) {
					t.Errorf("%s is still open", target)
				}
			}
		})
	}
}

// TestGrowingFile appends to a file while it is sent. The response must end
// where it was announced to end, and the next response of the connection must
// begin there.
func TestGrowingFile(t *testing.T) {
	zerocopy := func(root string) object { return handler("zerocopy", object{"root": root}) }
	root := t.TempDir()
	servers := startCaddy(t, map[string]object{
		"plain":           handle(zerocopy(root)),
		"no-idle-timeout": with(handle(zerocopy(root)), object{"write_idle_timeout": -1}),
		"odd-chunks":      with(handle(zerocopy(root)), object{"max_write_chunk": 100_003}),
		// encode takes the first 512 bytes, so that chunks begin elsewhere.
		"encode": handle(handler("encode", object{"encodings": object{"gzip": object{}}}), zerocopy(root)),
	}, nil)
	for name, server := range servers {
		for _, size := range []int{hugeSize, hugeSize + 1, hugeSize + 511, hugeSize - 1, hugeSize + caddyhttp.DefaultMaxWriteChunk/2} {
			t.Run(fmt.Sprintf("%s/%d", name, size), func(t *testing.T) {
				content := pattern(size)
				path := writeFile(t, root, "big.bin", content)
				writeFile(t, root, "next.txt", []byte("next"))

				conn, err := net.Dial("tcp", server.addr.String())
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				fmt.Fprint(conn, "GET /big.bin HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n"+
					"GET /next.txt HTTP/1.1\r\nHost: x\r\n\r\n")
				reader := bufio.NewReaderSize(conn, 4096)
				first, err := http.ReadResponse(reader, nil)
				if err != nil {
					t.Fatal(err)
				}
				if first.ContentLength != int64(size) {
					t.Fatalf("got Content-Length %d, want %d", first.ContentLength, size)
				}

				file, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
				if err != nil {
					t.Fatal(err)
				}
				defer file.Close()
				if _, err := file.Write(bytes.Repeat([]byte("GROWN\n"), 1<<20)); err != nil {
					t.Fatal(err)
				}

				body, err := io.ReadAll(first.Body)
				checkBody(t, response{first, body, err}, content)
				second, err := http.ReadResponse(reader, nil)
				if err != nil {
					t.Fatalf("next response on the connection: %v", err)
				}
				body, err = io.ReadAll(second.Body)
				checkBody(t, response{second, body, err}, []byte("next"))
			})
		}
	}
}

// TestReplacedFile renames another file over one that is being sent.
func TestReplacedFile(t *testing.T) {
	root := t.TempDir()
	before, after := pattern(hugeSize), []byte("the new version")
	for name, server := range startCaddy(t, transports(root), nil) {
		t.Run(name, func(t *testing.T) {
			if name == "h3" {
				useHTTP3(t, server)
			}
			writeFile(t, root, "big.bin", before)
			resp, err := server.client.Get(server.url("/big.bin"))
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			replace(t, root, "big.bin", after)
			body, err := io.ReadAll(resp.Body)
			checkBody(t, response{resp, body, err}, before)

			next := server.get(t, "/big.bin")
			checkBody(t, next, after)
			if resp.Header.Get("Etag") == next.Header.Get("Etag") {
				t.Errorf("both versions have the entity tag %s", next.Header.Get("Etag"))
			}
		})
	}
}

// replace puts content in the place of a file in one step.
func replace(t testing.TB, root, name string, content []byte) {
	t.Helper()
	temp, err := os.CreateTemp(root, ".new-*")
	if err == nil {
		_, err = temp.Write(content)
	}
	if err == nil {
		err = temp.Close()
	}
	if err == nil {
		err = os.Rename(temp.Name(), filepath.Join(root, name))
	}
	if err != nil {
		t.Error(err)
	}
}

// TestConcurrentReplacement lets 1000 clients download files that change under
// their hands. Every body must be one version, from the first byte to the last
// and to the entity tag.
func TestConcurrentReplacement(t *testing.T) {
	const clients, files = 1000, 4
	root := t.TempDir()
	// A version is one byte repeated; its length follows from the byte, so
	// that a body cut or put together from two versions is recognised.
	version := func(v int) []byte {
		return bytes.Repeat([]byte{byte(v)}, 150_000+1_013*(v%64))
	}
	name := func(i int) string { return fmt.Sprintf("f%d.bin", i%files) }
	for i := range files {
		replace(t, root, name(i), version(i))
	}
	server := startCaddy(t, map[string]object{"srv": handle(handler("zerocopy", object{"root": root}))}, nil)["srv"]

	stop, replaced := make(chan struct{}), make(chan int)
	go func() {
		v := files
		for {
			select {
			case <-stop:
				replaced <- v - files
				return
			default:
				replace(t, root, name(v), version(v%251))
				v++
			}
		}
	}()

	var mu sync.Mutex
	seen := map[string]byte{} // entity tag and file → version
	var wait sync.WaitGroup
	for i := range clients {
		wait.Go(func() {
			resp, err := server.client.Get(server.url("/" + name(i)))
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			if err != nil || len(body) == 0 {
				t.Errorf("%d bytes, error %v", len(body), err)
				return
			}
			v := body[0]
			if !bytes.Equal(body, version(int(v))) || resp.ContentLength != int64(len(body)) {
				t.Errorf("body of %d bytes, announced %d, is not version %d", len(body), resp.ContentLength, v)
			}
			mu.Lock()
			defer mu.Unlock()
			tag := name(i) + resp.Header.Get("Etag")
			if other, ok := seen[tag]; ok && other != v {
				t.Errorf("versions %d and %d share the entity tag %s", v, other, tag)
			}
			seen[tag] = v
		})
	}
	wait.Wait()
	close(stop)
	if n := <-replaced; n < 10 {
		t.Errorf("files were replaced %d times only; the test has not tested much", n)
	}
}

// TestAccessLogSize compares what the access log says with what was sent.
func TestAccessLogSize(t *testing.T) {
	root := t.TempDir()
	writeFile(t, root, "big.bin", pattern(300_000))
	writeFile(t, root, "small.bin", pattern(3_000))
	logfile := filepath.Join(t.TempDir(), "access.log")
	server := startCaddy(t,
		map[string]object{"srv": with(handle(handler("zerocopy", object{"root": root})), object{"logs": object{}})},
		object{"logs": object{
			"default": object{"level": "PANIC"},
			"access": object{
				"include": []string{"http.log.access"},
				"writer":  object{"output": "file", "filename": logfile},
				"encoder": object{"format": "json"},
			},
		}},
	)["srv"]
	server.get(t, "/big.bin")
	server.get(t, "/small.bin")
	server.do(t, http.MethodHead, "/big.bin", nil)
	server.do(t, http.MethodGet, "/big.bin", http.Header{"Range": {"bytes=1-200000"}})

	// A line is written after the response; this waits for the handlers.
	server.client.CloseIdleConnections()
	want := []int{0, 3_000, 200_000, 300_000}
	var got []int
	for range 2000 {
		time.Sleep(time.Millisecond)
		lines, err := os.ReadFile(logfile)
		if err != nil {
			t.Fatal(err)
		}
		got = nil
		for line := range strings.Lines(string(lines)) {
			var entry struct{ Size int }
			if err := json.Unmarshal([]byte(line), &entry); err == nil {
				got = append(got, entry.Size)
			}
		}
		if len(got) == len(want) {
			break
		}
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("access log sizes: got %v, want %v", got, want)
	}
}
