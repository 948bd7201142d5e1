//go:build unix

package zerocopy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"syscall"
	"testing"
	"time"
)

// BenchmarkDownload compares zerocopy with file_server in one process and one
// run: one keep-alive connection over loopback, one file after the other, with
// Caddy's default timeouts. cpu-us/op is the processor time of the whole
// process, server and client; the client is the same for both and only throws
// bytes away.
func BenchmarkDownload(b *testing.B) {
	root := b.TempDir()
	sizes := []int{1 << 10, 16 << 10, 64 << 10, 128 << 10, 1 << 20, 16 << 20}
	for _, size := range sizes {
		writeFile(b, root, fmt.Sprintf("%d.bin", size), pattern(size))
	}
	servers := startCaddy(b, map[string]object{
		"file_server": handle(handler("file_server", object{"root": root})),
		"zerocopy":    handle(handler("zerocopy", object{"root": root})),
	}, nil)
	for _, size := range sizes {
		for _, name := range []string{"file_server", "zerocopy"} {
			b.Run(fmt.Sprintf("size=%dK/%s", size>>10, name), func(b *testing.B) {
				conn, err := net.Dial("tcp", servers[name].addr.String())
				if err != nil {
					b.Fatal(err)
				}
				defer conn.Close()
				request := fmt.Appendf(nil, "GET /%d.bin HTTP/1.1\r\nHost: bench\r\n\r\n", size)
				reader := bufio.NewReaderSize(conn, 256<<10)
				b.SetBytes(int64(size))
				b.ReportAllocs()
				before := cpuTime(b)
				for b.Loop() {
					if _, err := conn.Write(request); err != nil {
						b.Fatal(err)
					}
					resp, err := http.ReadResponse(reader, nil)
					if err != nil {
						b.Fatal(err)
					}
					if n, err := io.Copy(io.Discard, resp.Body); err != nil || n != int64(size) {
						b.Fatalf("%d bytes, error %v", n, err)
					}
				}
				b.ReportMetric(float64((cpuTime(b)-before).Microseconds())/float64(b.N), "cpu-us/op")
			})
		}
	}
}

// cpuTime returns the user and system time this process has used.
func cpuTime(b *testing.B) time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
