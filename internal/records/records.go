// Package records reads a file of steered names, again and again, and each time
// parses only what has changed.
//
//	file      www  STEER web ┊ img 60 STEER web ┊ …     cut at line ends that the lines choose
//	             chunk 1     ┊      chunk 2     ┊
//	                ▼                 ▼
//	         read before?  yes: its keys are known     no: parse it
//	                └──────────┬──────────────────────────┘
//	                           ▼
//	   lines that came, lines that went ──► names.Edit ──► names.Index
//
// The file is in the syntax of zone files (RFC 1035, section 5.1), with one type of
// record:
//
//	NAME [TTL] [IN] STEER SERVICE
//
// A chunk ends where the hash of a line says so, about every sixteenth line. So where
// the ends are depends on the lines around them and on nothing before: a line that is
// added or removed changes one chunk or two, wherever it stands. A chunk is known by
// its text and by what came before and has a bearing on it: $ORIGIN, $TTL, and the
// last name when its first line has none. Of a chunk only the keys of its names are
// kept; what they are steered to is in the index.
package records

import (
	"errors"
	"fmt"
	"hash/maphash"
	"io"

	"github.com/tandem-cdn/tandem/internal/names"
)

// Error is what is wrong with a file.
type Error struct {
	Line int
	Err  error
}

// Error implements error. The caller puts the name of the file before it.
func (e *Error) Error() string { return fmt.Sprintf("%d: %v", e.Line, e.Err) }

// Unwrap returns what is wrong, without the line.
func (e *Error) Unwrap() error { return e.Err }

// File is what was read of a file. It is for one goroutine.
type File struct {
	index  *names.Index
	chunks map[chunkKey]*chunk
	seeds  [2]maphash.Seed
	reads  uint32 // counts the calls of Read, so that chunks know in which they were seen
}

// New returns an empty file of names in zones, which are canonical.
func New(zones []string) (*File, error) {
	index, err := names.New(zones)
	if err != nil {
		return nil, err
	}
	return &File{index: index, chunks: make(map[chunkKey]*chunk), seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}}, nil
}

// Index returns the names of the version that was kept last.
func (f *File) Index() *names.Index { return f.index }

// Version is a version of the file that has been read and is right.
type Version struct {
	Index   *names.Index
	Lines   int // in the file
	Chunks  int // in the file, of which
	Parsed  int // were new
	Changed int // names that came, went or are steered otherwise

	fresh map[chunkKey]*chunk
	read  uint32
	anew  *File // that the version is of, when it could not be one of the file that read it
}

// Read reads a version of the file, which is nothing to the File until it is kept. An
// error is an *Error, or what r returned.
func (f *File) Read(r io.ReadSeeker) (*Version, error) {
	v, err := f.read(r)
	if errors.Is(err, names.ErrKeys) {
		other, err := New(f.index.Zones())
		if err != nil {
			return nil, err
		}
		if v, err = other.again(r); err != nil {
			return nil, err
		}
		if v.anew == nil {
			v.anew = other
		}
		return v, nil
	}
	if conflict, is := errors.AsType[*names.ConflictError](err); is {
		return nil, f.places(r, conflict)
	}
	return v, err
}

// again reads from the beginning.
func (f *File) again(r io.ReadSeeker) (*Version, error) {
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	return f.Read(r)
}

// Keep makes v, the last that was read, the version that the next is compared with.
func (f *File) Keep(v *Version) {
	if v.anew != nil {
		*f = *v.anew
	}
	f.index = v.Index
	for k, c := range f.chunks {
		if c.read != v.read {
			delete(f.chunks, k)
		} else {
			c.kept = c.uses
		}
	}
	for k, c := range v.fresh {
		c.kept = c.uses
		f.chunks[k] = c
	}
}

// read reads a version and applies what is different.
func (f *File) read(r io.Reader) (*Version, error) {
	f.reads++
	v := &Version{fresh: make(map[chunkKey]*chunk), read: f.reads}
	e := f.index.Edit()
	p := parser{zones: f.index.Zones(), index: f.index}
	if err := f.scan(r, v, e, &p); err != nil {
		return nil, err
	}
	if err := f.apply(e, v, &p); err != nil {
		return nil, err
	}
	v.Changed = e.Changed()
	v.Index = e.Commit()
	return v, nil
}

// scan goes through the chunks, and has p parse those that are new.
func (f *File) scan(r io.Reader, v *Version, e *names.Edit, p *parser) error {
	cut := newCutter(r, f.seeds[0])
	at := new(state)
	for {
		text, err := cut.next()
		if err != nil {
			return &Error{v.Lines + cut.lines(), err}
		}
		if text == nil {
			return nil
		}
		c, known := f.known(v, text, cut.named(), at)
		for !known {
			complete, err := p.parse(c, text, at, v.Lines+1, cut.named())
			if err != nil {
				return err
			}
			if complete == len(text) {
				break
			}
			if text, err = cut.instead(complete); err != nil {
				return &Error{p.line, err}
			}
			c, known = f.known(v, text, cut.named(), at)
		}
		if !known {
			v.fresh[c.key] = c
			v.Parsed++
			if len(f.chunks) == 0 { // nothing can have gone
				if err := p.steerAll(e, nil); err != nil {
					return err
				}
			}
		}
		if c.read != v.read {
			c.read, c.uses = v.read, 0
		}
		c.uses++
		v.Chunks++
		v.Lines += int(c.lines)
		at = c.end
		cut.take()
	}
}

// known returns the chunk of a text, or a new one that is to be parsed.
func (f *File) known(v *Version, text []byte, named bool, at *state) (*chunk, bool) {
	k := chunkKey{
		text:  [2]uint64{maphash.Bytes(f.seeds[0], text), maphash.Bytes(f.seeds[1], text)},
		state: at.hash(f.seeds[0], named),
	}
	if c := f.chunks[k]; c != nil {
		return c, true
	}
	if c := v.fresh[k]; c != nil {
		return c, true
	}
	return &chunk{key: k}, false
}

// apply brings to the index the lines that came, which p has parsed, and takes from
// it those that went. A line that stands in a chunk that went and in one that came, as
// most do, changes nothing.
func (f *File) apply(e *names.Edit, v *Version, p *parser) error {
	gone := make(map[names.Key]int)
	for _, c := range f.chunks {
		n := -int(c.kept)
		if c.read == v.read {
			n += int(c.uses)
		}
		if n == 0 {
			continue
		}
		for _, k := range c.names {
			if n < 0 {
				gone[k] -= n
			} else {
				e.Repeat(k, n)
			}
		}
	}
	if err := p.steerAll(e, gone); err != nil {
		return err
	}
	for _, c := range v.fresh {
		for _, k := range c.names {
			e.Repeat(k, int(c.uses)-1)
		}
	}
	for k, n := range gone {
		e.Repeat(k, -n)
	}
	return nil
}
