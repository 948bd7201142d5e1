package healthfeed

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// ReadInventory reads and parses the nodes.json at path, as [ParseInventory] does.
// Relative paths in it are relative to its directory.
func ReadInventory(path string) (*Inventory, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, err
	}
	return parseInventoryFile(path, data)
}

// parseInventoryFile parses the nodes.json at path. The files that its checks name
// relatively are beside it, wherever this process was started.
func parseInventoryFile(path string, data []byte) (*Inventory, error) {
	inv, err := ParseInventory(path, data)
	if err != nil {
		return nil, err
	}
	for i := range inv.Nodes {
		for j := range inv.Nodes[i].Checks {
			c := &inv.Nodes[i].Checks[j]
			for _, file := range [...]*string{&c.CA, &c.Cert, &c.Key, &c.PasswordFile} {
				if *file != "" && !filepath.IsAbs(*file) {
					*file = filepath.Join(filepath.Dir(path), *file)
				}
			}
		}
	}
	return inv, nil
}

// watchInventory follows the inventory file until ctx ends. A file that is wrong
// or gone changes nothing.
func (f *Feed) watchInventory(ctx context.Context) {
	path := f.config.InventoryFile
	complaint := complaint{log: f.config.Log, what: path, own: true}
	watchFile(ctx, path, func(data []byte, _ time.Duration, err error) {
		var inv *Inventory
		if err == nil {
			inv, err = parseInventoryFile(path, data)
		}
		if err != nil {
			f.refused.add(RefusedInvalid)
		} else {
			f.setInventory(inv)
		}
		complaint.note(err)
	})
}

// FromFile returns a Source that follows a snapshot file which another process
// writes with [WriteFile]. The records are as old as they say plus the age of the
// file, which its own time tells only when it is met for the first time: later ones are
// seen to come, whatever the clocks say. Whoever may write the file is believed, so its
// records need not be signed. A file that is wrong is refused whole and logged once; one that is not
// there yet is waited for.
func FromFile(path string) Source { return fileSource(path) }

type fileSource string

func (s fileSource) String() string { return "file " + string(s) }

func (s fileSource) Run(ctx context.Context, f *Feed) error {
	path := string(s)
	complaint := complaint{log: f.config.Log, what: s.String()}
	watchFile(ctx, path, func(data []byte, age time.Duration, err error) {
		if err == nil {
			var s *Snapshot
			if s, err = f.parse(data, age); err != nil {
				err = placeSnapshot(path, data, err)
			} else {
				err = f.offer(s)
			}
		} else if !errors.Is(err, fs.ErrNotExist) {
			f.refused.add(RefusedUnreadable)
		}
		complaint.note(err)
	})
	return nil
}

// WriteFile writes a snapshot so that a reader, or a machine that loses power,
// finds either the old file or the new one: a temporary file in the same
// directory, which must exist, is renamed over path, with both synced. The file has a
// checksum, which [ParseSnapshot] compares.
func WriteFile(path string, s *Snapshot) error {
	data, err := s.encode()
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := replaceFile(path, summed(data)); err != nil {
		// The name of the temporary file differs every time and says nothing.
		var pe *fs.PathError
		if errors.As(err, &pe) {
			err = fmt.Errorf("%s: %w", pe.Op, pe.Err)
		}
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// sweep removes what processes have left beside path that were killed while they wrote it.
// What is younger than a minute may still be in the making.
func sweep(path string, now time.Time) {
	dir, prefix := filepath.Dir(path), "."+filepath.Base(path)+"."
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		number, found := strings.CutPrefix(e.Name(), prefix)
		if !found || number == "" || strings.Trim(number, "0123456789") != "" {
			continue
		}
		if info, err := e.Info(); err == nil && now.Sub(info.ModTime()) > time.Minute {
			os.Remove(filepath.Join(dir, e.Name()))
		}
	}
}

func replaceFile(path string, data []byte) (err error) {
	dir := filepath.Dir(path)
	tmp, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			tmp.Close()
			os.Remove(tmp.Name())
		}
	}()
	if _, err := tmp.Write(data); err != nil {
		return err
	}
	// Others read the file; there are no secrets in it.
	if err := tmp.Chmod(0o644); err != nil && runtime.GOOS != "windows" {
		return err
	}
	if err := tmp.Sync(); err != nil {
		return err
	}
	if err := tmp.Close(); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return err
	}
	return syncDir(dir)
}

// syncDir makes a rename survive a loss of power. Windows has no such call and
// does not need it.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
