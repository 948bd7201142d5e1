//go:build unix

package etcdfeed

import (
	"syscall"
	"testing"
	"time"

	"github.com/tandem-cdn/tandem/healthfeed"
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
	eachEtcd(t, func(t *testing.T, etcd string) {
		c := startEtcd(t, etcd, 1)
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
	})
}

// A member that has lost the majority holds the watch, and says nothing.
func TestMinority(t *testing.T) {
	eachEtcd(t, func(t *testing.T, etcd string) {
		c := startEtcd(t, etcd, 3)
		join(t, "one", quick, inventory, c.endpoints()...)
		alone := join(t, "", quick, inventory, c.members[0].endpoint)
		eventually(t, "the reader hears nothing", alone.fresh)
		for _, m := range c.members[1:] {
			m.signal(t, syscall.SIGSTOP)
		}
		began := time.Now()
		eventually(t, "nobody notices that there is no leader", func() bool { return !alone.source.Following() })
		if took := time.Since(began); took > 10*quick.silence {
			t.Errorf("noticed after %v", took)
		}
		for _, m := range c.members[1:] {
			m.signal(t, syscall.SIGCONT)
		}
		eventually(t, "it does not go on", func() bool { return alone.fresh() && alone.source.Following() })
		if alone.down.Load() {
			t.Error("a node went down because there was no leader")
		}
	})
}

// The leader dies, and another is elected: who was connected to it goes on with another
// member, and no vote is lost on the way.
func TestLeaderDies(t *testing.T) {
	eachEtcd(t, func(t *testing.T, etcd string) {
		c := startEtcd(t, etcd, 3)
		one := join(t, "one", quick, inventory, c.endpoints()...)
		reader := join(t, "", quick, inventory, c.endpoints()...)
		eventually(t, "the reader hears nothing", reader.fresh)
		leader := c.leader(t)
		leader.kill()
		seq, _ := reader.Record("one")
		eventually(t, "nothing is heard without the leader that was", func() bool {
			now, _ := reader.Record("one")
			return now.Seq > seq.Seq && reader.fresh() && reader.source.Following()
		})
		votes := map[string]healthfeed.State{"lon": healthfeed.Up, "sea": healthfeed.Draining}
		one.vote(votes)
		eventually(t, "a vote is lost", func() bool { return reader.state("sea") == healthfeed.Draining })
		leader.start(t)
		if reader.down.Load() || one.down.Load() {
			t.Error("a node went down because a leader died")
		}
	})
}

// A disk on which every write takes its time: the only member stands still for a second
// and runs for a fifth of one, again and again, as it does when it waits for fsync.
func TestSlowDisk(t *testing.T) {
	eachEtcd(t, func(t *testing.T, etcd string) {
		c := startEtcd(t, etcd, 1)
		p := quick // but requests have time
		p.request, p.silence = 5*time.Second, 5*time.Second
		one := join(t, "one", p, inventory, c.endpoints()...)
		reader := join(t, "", p, inventory, c.endpoints()...)
		eventually(t, "the reader hears nothing", reader.fresh)
		seq, _ := reader.Record("one")
		through := func() bool { now, _ := reader.Record("one"); return now.Seq > seq.Seq }
		for i := 0; i < 8 || i < 80 && !through(); i++ {
			c.members[0].signal(t, syscall.SIGSTOP)
			time.Sleep(time.Second)
			c.members[0].signal(t, syscall.SIGCONT)
			time.Sleep(200 * time.Millisecond)
		}
		if !through() {
			t.Error("nothing comes through")
		}
		eventually(t, "it does not go on", func() bool { return reader.fresh() && reader.source.Following() })
		if reader.down.Load() || one.down.Load() {
			t.Error("a node went down because etcd is slow")
		}
	})
}
