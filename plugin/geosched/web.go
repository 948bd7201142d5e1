package geosched

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	stdlog "log"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/tandem-cdn/tandem/healthfeed/identity"
)

// web is an HTTP server on an address of its own. The socket is in the pool and so
// outlives reloads; what the handler shows is the business of those who hold it, and
// the newest of them says whether there is TLS:
//
//	socket ──► TLS of the newest door, or none ──► handler
//
// A connection that came in by another door, before a reload, is of no use afterwards.
type web struct {
	what    string // for the log
	addr    net.Addr
	server  *http.Server
	handler http.Handler

	mu    sync.Mutex
	doors []*door // by holder, the newest last
}

// A door is what connections have to come through by the word of one holder.
type door struct {
	by     *holder
	files  []string    // certificate, key and authorities; none without TLS
	config *tls.Config // nil without TLS
}

func newDoor(h *holder, files []string) (*door, error) {
	d := &door{by: h, files: files}
	if len(files) > 0 {
		id, err := identity.Load(files[0], files[1], files[2], slog.New(logHandler{}))
		if err != nil {
			return nil, err
		}
		d.config = id.Server()
	}
	return d, nil
}

func (d *door) scheme() string {
	if d.config == nil {
		return "http"
	}
	return "https"
}

var errTwoDoors = errors.New("another block listens there with another certificate, or without one")

// holdWeb returns the handler at addr, from the pool. If nobody listens there yet,
// it listens with the handler that handle makes: with mutual TLS if there are files
// for that, which are certificate, key and authorities.
func holdWeb[T http.Handler](p *pool, h *holder, what, addr string, files []string, handle func() T) (handler T, err error) {
	d, err := newDoor(h, files)
	if err != nil {
		return handler, err
	}
	b, err := hold(p, h, what+"\n"+addr, func() (*web, func(), error) {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			return nil, nil, err
		}
		b := &web{what: what, addr: l.Addr(), handler: handle(), doors: []*door{d}}
		b.server = &http.Server{
			Handler:        b,
			ReadTimeout:    5 * time.Second, // of a body that nobody wants, too
			WriteTimeout:   30 * time.Second,
			IdleTimeout:    time.Minute,
			MaxHeaderBytes: 16 << 10,
			ConnContext:    withDoor,
			ErrorLog:       stdlog.New(&webErrors{what: what, addr: b.addr, told: map[string]*telling{}}, "", 0),
		}
		log.Infof("%s on %s://%v", what, d.scheme(), b.addr)
		go b.run(l)
		return b, func() { b.server.Close() }, nil
	})
	if err != nil {
		return handler, err
	}
	return b.handler.(T), b.open(d)
}

func (b *web) run(l net.Listener) {
	if err := b.server.Serve(entrance{l, b}); !errors.Is(err, http.ErrServerClosed) {
		log.Errorf("%s on %v ended: %v", b.what, b.addr, err)
	}
}

// open makes d the door for those who come from now on. One holder has one door.
func (b *web) open(d *door) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, other := range b.doors {
		if other.by == d.by {
			if !slices.Equal(other.files, d.files) {
				return errTwoDoors
			}
			return nil
		}
	}
	if before := b.doors[len(b.doors)-1]; !slices.Equal(before.files, d.files) {
		log.Infof("%s on %s://%v", b.what, d.scheme(), b.addr)
	}
	b.doors = append(b.doors, d)
	return nil
}

// newest returns the door that is open; nil when the last holder has let go.
func (b *web) newest() *door {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.doors) == 0 {
		return nil
	}
	return b.doors[len(b.doors)-1]
}

// leave implements leaver.
func (b *web) leave(h *holder) {
	b.mu.Lock()
	b.doors = slices.DeleteFunc(b.doors, func(d *door) bool { return d.by == h })
	b.mu.Unlock()
	if l, ok := b.handler.(leaver); ok {
		l.leave(h)
	}
}

// An entrance is the listener of a web.
type entrance struct {
	net.Listener
	web *web
}

// A visitor is a connection, and the door by which it came.
type visitor struct {
	net.Conn
	by *door
}

// Accept implements [net.Listener].
func (e entrance) Accept() (net.Conn, error) {
	for {
		c, err := e.Listener.Accept()
		if err != nil {
			return nil, err
		}
		switch d := e.web.newest(); {
		case d == nil:
			c.Close()
		case d.config != nil:
			return tls.Server(visitor{c, d}, d.config), nil // as http.Server wants to see it
		default:
			return visitor{c, d}, nil
		}
	}
}

type doorKey struct{}

// withDoor is an [http.Server]'s ConnContext.
func withDoor(ctx context.Context, c net.Conn) context.Context {
	if secure, ok := c.(*tls.Conn); ok {
		c = secure.NetConn()
	}
	return context.WithValue(ctx, doorKey{}, c.(visitor).by)
}

// ServeHTTP implements [http.Handler].
func (b *web) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	came, now := r.Context().Value(doorKey{}).(*door), b.newest()
	if now == nil || !slices.Equal(came.files, now.files) {
		w.Header().Set("Connection", "close")
		http.Error(w, fmt.Sprintf("%s is not served over this connection any more", b.what), http.StatusMisdirectedRequest)
		return
	}
	b.handler.ServeHTTP(w, r)
}
