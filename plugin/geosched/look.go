package geosched

import (
	"cmp"
	"context"
	"errors"
	"os"
	"slices"
	"sync/atomic"
	"time"
)

// The operator's files are followed by looking, not by being notified: a ConfigMap
// swaps a symbolic link two directories up, and an update may come over NFS. What
// was read of a file counts only when the file is as it was before, because one
// that is overwritten can be read when half of it has been written.

// lookEvery is how often the files are looked at, in nanoseconds; 0 is every 5 s. Only a
// test changes it, when what tests before it have started may not be gone.
var lookEvery atomic.Int64

func lookInterval() time.Duration { return cmp.Or(time.Duration(lookEvery.Load()), 5*time.Second) }

// keepLooking calls reload, again and again, and at once when announced rings, until
// ctx ends.
func keepLooking(ctx context.Context, announced *bell, reload func()) {
	tick := time.NewTicker(lookInterval())
	defer tick.Stop()
	heard := announced.heard()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-heard:
			heard = announced.heard()
		}
		reload()
	}
}

// look returns what tells one version of files from another, nil for one that
// is not there.
func look(files ...string) []os.FileInfo {
	infos := make([]os.FileInfo, len(files))
	for i, f := range files {
		if info, err := os.Stat(f); err == nil {
			infos[i] = info
		}
	}
	return infos
}

// unchanged reports whether files are as they were.
func unchanged(before, now []os.FileInfo) bool { return slices.EqualFunc(before, now, same) }

func same(a, b os.FileInfo) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	// The mode, because a file that could not be read may be let be read.
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime()) && a.Mode() == b.Mode()
}

// errChanging says that a file was written to while it was read.
var errChanging = errors.New("it changes while it is read")

// patiently reads files for somebody who cannot look again later, a few times if
// they are being written.
func patiently(read func() error) (err error) {
	for range 10 {
		if err = read(); !errors.Is(err, errChanging) {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	return err
}
