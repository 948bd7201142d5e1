package healthfeed

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
)

const (
	// statInterval is how often a watched file is looked at. This is what
	// finds changes; events of the file system only find them sooner.
	statInterval = time.Second

	// settleTime is how long a changed file must keep still before it is
	// read, so that a writer without rename is not met halfway.
	settleTime = 20 * time.Millisecond

	// racyTime is the age below which a file may be written again without a
	// visible change of its time, so that it must be read once more.
	racyTime = time.Second
)

// watchFile calls changed with the content of the file at path, at once and then
// whenever the content differs, until ctx ends; age is for how long it may have been
// there. It watches the directory rather
// than the file, because files are replaced rather than written; and it looks at
// the file once a second, because a file may be behind a symbolic link, on a file
// system without events, or in a directory that was removed and made again. When
// the file cannot be read, changed is called with the error.
func watchFile(ctx context.Context, path string, changed func(data []byte, age time.Duration, err error)) {
	dir := watchedDir{path: filepath.Dir(path)}
	defer dir.close()
	tick := time.NewTicker(statInterval)
	defer tick.Stop()
	var last fileLook
	var looked time.Time // when there was a file last, on the monotonic clock
	var lastErr error
	var lastSum [sha256.Size]byte
	for first := true; ; first = false {
		dir.ensure()
		if look := lookAt(path); first || !look.same(last) {
			if look = settle(ctx, path, look); ctx.Err() != nil {
				return
			}
			age := look.age(looked)
			last = look
			data, err := readFile(path)
			sum := sha256.Sum256(data)
			if first || sum != lastSum || fmt.Sprint(err) != fmt.Sprint(lastErr) {
				changed(data, age, err)
			}
			lastErr, lastSum = err, sum
		}
		if looked = (time.Time{}); last.info != nil {
			looked = time.Now()
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-dir.events():
		case <-dir.errors():
		}
	}
}

// readFile reads a regular file of at most MaxSnapshot bytes.
func readFile(path string) ([]byte, error) {
	if info, err := os.Stat(path); err != nil {
		return nil, err
	} else if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: not a regular file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, MaxSnapshot+1))
	if err != nil {
		return nil, err
	}
	if len(data) > MaxSnapshot {
		return nil, fmt.Errorf("%s: larger than %d bytes", path, MaxSnapshot)
	}
	return data, nil
}

// A fileLook is what one stat of a file told.
type fileLook struct {
	info fs.FileInfo // nil if there is none
	racy bool        // the file is so young that equal looks prove nothing
}

func lookAt(path string) fileLook {
	info, err := os.Stat(path)
	if err != nil {
		return fileLook{}
	}
	return fileLook{info, time.Since(info.ModTime()).Abs() < racyTime}
}

// same reports whether the file is certainly still the one that last saw.
func (l fileLook) same(last fileLook) bool { return !last.racy && l.alike(last) }

// alike reports whether two looks found the same file, time and size.
func (l fileLook) alike(other fileLook) bool {
	if l.info == nil || other.info == nil {
		return l.info == nil && other.info == nil
	}
	return os.SameFile(l.info, other.info) && l.info.Size() == other.info.Size() &&
		l.info.ModTime().Equal(other.info.ModTime())
}

// age is for how long the content may have been there: not longer than since it was
// looked at before, if it was, whatever the clock of its writer says.
func (l fileLook) age(before time.Time) time.Duration {
	if l.info == nil {
		return 0
	}
	age := max(0, time.Since(l.info.ModTime()))
	if !before.IsZero() {
		age = min(age, time.Since(before))
	}
	return age
}

// settle waits until the file keeps still, but not for ever.
func settle(ctx context.Context, path string, look fileLook) fileLook {
	for range statInterval / settleTime {
		select {
		case <-ctx.Done():
			return look
		case <-time.After(settleTime):
		}
		again := lookAt(path)
		if again.alike(look) {
			return again
		}
		look = again
	}
	return look
}

// A watchedDir brings the events of a directory, as long as there is one. It is
// a convenience: where it does not work, the stat does.
type watchedDir struct {
	path    string
	info    fs.FileInfo // of the directory that watcher watches
	watcher *fsnotify.Watcher
}

// ensure watches the directory that is at path now.
func (d *watchedDir) ensure() {
	info, err := os.Stat(d.path)
	if err != nil {
		d.close()
		return
	}
	if d.watcher != nil && os.SameFile(info, d.info) && len(d.watcher.WatchList()) > 0 {
		return
	}
	d.close()
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return
	}
	if w.Add(d.path) != nil {
		w.Close()
		return
	}
	d.watcher, d.info = w, info
}

func (d *watchedDir) close() {
	if d.watcher != nil {
		d.watcher.Close()
		d.watcher = nil
	}
}

func (d *watchedDir) events() <-chan fsnotify.Event {
	if d.watcher == nil {
		return nil
	}
	return d.watcher.Events
}

func (d *watchedDir) errors() <-chan error {
	if d.watcher == nil {
		return nil
	}
	return d.watcher.Errors
}
