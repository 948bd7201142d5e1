package collapse

import (
	"context"
	"errors"
	"io"
	"testing"
)

// TestKeep counts those who still read content that is somebody else's now.
func TestKeep(t *testing.T) {
	g := NewGroup[int](Limits{}, 1<<20)
	b := g.NewBody(1 << 20)
	early, _ := b.NewReader()
	gone, _ := b.NewReader()
	gone.Close()
	_, _ = b.Write([]byte("content"))
	if g.Buffered() != 7 {
		t.Errorf("%d bytes buffered", g.Buffered())
	}
	_ = b.End(nil)
	readers, cut := 0, false
	b.Keep(Keeper{Enter: func(n int) { readers += n }, Leave: func() { readers-- }, Cut: func() bool { return cut }})
	if readers != 1 || g.Buffered() != 0 {
		t.Errorf("%d readers, %d bytes buffered", readers, g.Buffered())
	}
	late, ok := b.NewReader()
	if !ok || readers != 2 {
		t.Fatalf("%v, %d readers", ok, readers)
	}
	if p, err := late.Next(context.Background(), func() {}); string(p) != "content" || err != nil {
		t.Errorf("got %q %v", p, err)
	}
	if _, err := late.Next(context.Background(), func() {}); err != io.EOF {
		t.Errorf("got %v", err)
	}
	cut = true
	if _, err := early.Next(context.Background(), func() {}); !errors.Is(err, ErrTooSlow) {
		t.Errorf("got %v", err)
	}
	for range 2 { // closing twice is closing once
		late.Close()
		early.Close()
	}
	if readers != 0 {
		t.Errorf("%d readers", readers)
	}
}

// TestBrokenIsCounted counts what readers still have of a body that broke off.
func TestBrokenIsCounted(t *testing.T) {
	g := NewGroup[int](Limits{}, 1<<20)
	b := g.NewBody(1 << 20)
	r, _ := b.NewReader()
	_, _ = b.Write([]byte("content"))
	broken := errors.New("broken")
	b.End(broken)
	if g.Buffered() != 7 {
		t.Errorf("%d bytes buffered while they are read", g.Buffered())
	}
	if p, err := r.Next(context.Background(), func() {}); string(p) != "content" || err != nil {
		t.Errorf("got %q %v", p, err)
	}
	if _, err := r.Next(context.Background(), func() {}); err != broken {
		t.Errorf("got %v", err)
	}
	r.Close()
	r.Close()
	if g.Buffered() != 0 {
		t.Errorf("%d bytes buffered in the end", g.Buffered())
	}
}

// TestAbandon ends a body only if nobody reads it, and for good.
func TestAbandon(t *testing.T) {
	g := NewGroup[int](Limits{}, 1<<20)
	b := g.NewBody(1 << 20)
	r, _ := b.NewReader()
	_, _ = b.Write([]byte("content"))
	if b.Abandon() {
		t.Fatal("somebody reads it")
	}
	r.Close()
	if !b.Abandon() || b.Abandon() {
		t.Error("nobody reads it, and it ends once")
	}
	if _, ok := b.NewReader(); ok {
		t.Error("there will be no end to read to")
	}
	if _, err := b.Write([]byte("more")); err == nil {
		t.Error("written to")
	}
	if content := b.End(nil); content != nil || g.Buffered() != 0 {
		t.Errorf("ended with %q, %d bytes buffered", content, g.Buffered())
	}
	whole := g.NewBody(1 << 20)
	whole.End(nil)
	if whole.Abandon() {
		t.Error("it has ended already")
	}
}
