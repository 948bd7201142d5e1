package etcdfeed

import (
	"net"
	"strings"
	"sync"
	"testing"
)

// A link is a way to a member that can be cut: what is open is closed, and nobody
// gets through. Or it is frozen, and all that comes is swallowed without a word.
type link struct {
	url string

	mu     sync.Mutex
	to     string
	up     bool
	thawed chan struct{} // closed unless frozen
	open   map[net.Conn]bool
}

func newLink(t *testing.T, to string) *link {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	k := &link{url: "http://" + l.Addr().String(), up: true, thawed: make(chan struct{}), open: make(map[net.Conn]bool)}
	close(k.thawed)
	k.lead(to)
	t.Cleanup(func() { l.Close(); k.cut(); k.thaw() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go k.carry(conn)
		}
	}()
	return k
}

func (k *link) carry(in net.Conn) {
	defer in.Close()
	k.mu.Lock()
	to := k.to
	k.mu.Unlock()
	out, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer out.Close()
	k.mu.Lock()
	if !k.up {
		k.mu.Unlock()
		return
	}
	k.open[in], k.open[out] = true, true
	k.mu.Unlock()
	go func() { k.copy(out, in); out.Close() }()
	k.copy(in, out)
	k.mu.Lock()
	delete(k.open, in)
	delete(k.open, out)
	k.mu.Unlock()
}

// copy is io.Copy, as long as the link is not frozen.
func (k *link) copy(to, from net.Conn) {
	for buf := make([]byte, 32<<10); ; {
		n, err := from.Read(buf)
		k.mu.Lock()
		thawed := k.thawed
		k.mu.Unlock()
		<-thawed
		if _, werr := to.Write(buf[:n]); err != nil || werr != nil {
			return
		}
	}
}

// lead makes new connections go to a member.
func (k *link) lead(to string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.to = strings.TrimPrefix(to, "http://")
}

func (k *link) cut() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.up = false
	for conn := range k.open {
		conn.Close()
	}
}

func (k *link) heal() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.up = true
}

func (k *link) freeze() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.thawed = make(chan struct{})
}

func (k *link) thaw() {
	k.mu.Lock()
	defer k.mu.Unlock()
	select {
	case <-k.thawed:
	default:
		close(k.thawed)
	}
}
