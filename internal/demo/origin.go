package demo

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"sync/atomic"
	"time"
)

// origin is the web site that the edges cache. It counts how often it is asked.
type origin struct {
	server  *http.Server
	fetches atomic.Int64
}

// startOrigin serves pages that may be kept for a minute at addr.
func startOrigin(addr netip.AddrPort) (*origin, error) {
	o := &origin{}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /", func(w http.ResponseWriter, r *http.Request) {
		n := o.fetches.Add(1)
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		fmt.Fprintf(w, "%s, fetch %d of the origin, made at %s\n", r.URL.Path, n, time.Now().Format(time.TimeOnly))
	})
	mux.HandleFunc("GET /private", func(w http.ResponseWriter, r *http.Request) {
		n := o.fetches.Add(1)
		w.Header().Set("Cache-Control", "private, no-store")
		fmt.Fprintf(w, "for you alone, fetch %d of the origin\n", n)
	})
	l, err := net.Listen("tcp", addr.String())
	if err != nil {
		return nil, err
	}
	o.server = &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go o.server.Serve(l)
	return o, nil
}

func (o *origin) stop() { o.server.Close() }
