//go:build unix

package etcdfeed

import (
	"syscall"
	"testing"
	"time"
)

func (m *member) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := m.cmd.Process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// An etcd that hangs for twice the TTL of a record: the votes grow old, nobody is
// taken down for it, and all goes on afterwards.
func TestStopped(t *testing.T) {
	c := startEtcd(t, 1)
	one := join(t, "one", quick, inventory, c.endpoints()...)
	reader := join(t, "", quick, inventory, c.endpoints()...)
	eventually(t, "the reader hears nothing", reader.fresh)
	c.members[0].signal(t, syscall.SIGSTOP)
	eventually(t, "the silence is not noticed", func() bool { return !reader.source.Following() })
	eventually(t, "the record does not grow old", func() bool { return !reader.fresh() })
	time.Sleep(recordTTL)
	c.members[0].signal(t, syscall.SIGCONT)
	eventually(t, "it does not go on", func() bool { return reader.fresh() && reader.source.Following() })
	if reader.down.Load() || one.down.Load() {
		t.Error("a node went down because etcd did not answer")
	}
	before, _ := reader.Record("one")
	eventually(t, "the prober writes no more", func() bool { now, _ := reader.Record("one"); return now.Seq > before.Seq })
}

// A member that has lost the majority holds the watch, and says nothing.
func TestMinority(t *testing.T) {
	c := startEtcd(t, 3)
	join(t, "one", quick, inventory, c.endpoints()...)
	alone := join(t, "", quick, inventory, c.members[0].endpoint)
	eventually(t, "the reader hears nothing", alone.fresh)
	for _, m := range c.members[1:] {
		m.signal(t, syscall.SIGSTOP)
	}
	began := time.Now()
	eventually(t, "nobody notices that there is no leader", func() bool { return !alone.source.Following() })
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("noticed after %v", took)
	}
	for _, m := range c.members[1:] {
		m.signal(t, syscall.SIGCONT)
	}
	eventually(t, "it does not go on", func() bool { return alone.fresh() && alone.source.Following() })
	if alone.down.Load() {
		t.Error("a node went down because there was no leader")
	}
}
