package records

import (
	"bytes"
	"errors"
	"hash/maphash"
	"io"

	"github.com/tandem-cdn/tandem/internal/names"
)

// chunk is a part of the file, as far as it is remembered.
type chunk struct {
	key   chunkKey
	names []names.Key // of its lines
	end   *state      // after it
	lines int32

	read uint32 // in which it was seen last
	uses int32  // how often it was seen then
	kept int32  // how often it stands in the version that was kept
}

// chunkKey is what tells one chunk from another. An operator's file is not made
// to deceive, and the seeds are secret: 128 bits are plenty.
type chunkKey struct {
	text  [2]uint64
	state uint64
}

// state is what a line of the file can know of those before.
type state struct {
	origin string // "" for each of the zones
	ttl    uint32
	hasTTL bool
	owners string // the last names, each followed by a line end; only where the next line has none
}

// hash also covers whether the next chunk begins with a name, since that decides
// whether the last one is part of the end state.
func (s *state) hash(seed maphash.Seed, named bool) uint64 {
	if *s == (state{}) {
		if named {
			return 0
		}
		return 1
	}
	return maphash.Comparable(seed, struct {
		state
		named bool
	}{*s, named})
}

// Sizes in octets.
const (
	blockSize = 256 << 10 // what is read at once
	chunkSize = 16 << 10  // a chunk of that size ends with the line
)

// cutMask chooses the lines after which a chunk ends.
const cutMask = 1<<4 - 1

var (
	errUnended = errors.New("the file ends within a line; a complete one has a line end after each")
	errTooLong = errors.New("the line, with all that parentheses join to it, is longer than 256 KiB")
	errOpen    = errors.New("the parenthesis is not closed")
)

// cutter cuts a file into chunks.
//
//	buf   done ┊ the chunk ┊ not looked at yet ┊ free
//	         start        end                 full
type cutter struct {
	r    io.Reader
	seed maphash.Seed
	err  error // of r

	buf              []byte
	start, end, full int
}

func newCutter(r io.Reader, seed maphash.Seed) *cutter {
	return &cutter{r: r, seed: seed, buf: make([]byte, blockSize)}
}

// next returns the chunk that begins at the start, or nil at the end of the file. It is
// valid until the next call.
func (c *cutter) next() ([]byte, error) { return c.from(0) }

// instead returns another chunk in the place of the last, which ends within
// parentheses: the records before those, which have so many octets; or if there are
// none, twice as much, so that a parenthesis that is never closed is not read over and
// over.
func (c *cutter) instead(records int) ([]byte, error) {
	if records > 0 {
		c.end = c.start + records
		return c.buf[c.start:c.end], nil
	}
	return c.from(c.end - c.start)
}

// from returns the chunk that ends beyond size, at the first chance from twice the
// size on.
func (c *cutter) from(size int) ([]byte, error) {
	c.end = c.start + size
	for {
		i := bytes.IndexByte(c.buf[c.end:c.full], '\n')
		if i < 0 {
			if c.err == nil {
				if c.fill() {
					continue
				}
				if c.end == c.start+size {
					return nil, errTooLong
				}
				return c.buf[c.start:c.end], nil
			}
			switch {
			case c.err != io.EOF:
				return nil, c.err
			case c.end < c.full:
				return nil, errUnended
			case size > 0 && c.end == c.start+size:
				return nil, errOpen
			case c.end > c.start:
				return c.buf[c.start:c.end], nil
			}
			return nil, nil
		}
		line := c.buf[c.end : c.end+i+1]
		c.end += i + 1
		if n := c.end - c.start; n >= 2*size && (n >= chunkSize || maphash.Bytes(c.seed, line)&cutMask == 0) {
			if c.end == c.full && c.err == nil { // for named
				c.fill()
			}
			return c.buf[c.start:c.end], nil
		}
	}
}

// fill reads more, unless there is no room for it.
func (c *cutter) fill() bool {
	if c.start > 0 {
		copy(c.buf, c.buf[c.start:c.full])
		c.end, c.full, c.start = c.end-c.start, c.full-c.start, 0
	}
	if c.full == len(c.buf) {
		return false
	}
	for n := 0; n == 0 && c.err == nil; c.full += n {
		n, c.err = c.r.Read(c.buf[c.full:])
	}
	return true
}

// take goes on to the next chunk.
func (c *cutter) take() { c.start = c.end }

// named reports whether the chunk after this begins with a line that is known to have
// a name of its own, or is the end.
func (c *cutter) named() bool {
	if c.end == c.full {
		return c.err != nil
	}
	switch c.buf[c.end] {
	case ' ', '\t', '\r', '\n', ';', '$', '(', ')', '"':
		return false
	}
	return true
}

// lines returns how many lines of the file there are from the start to where next
// gave up.
func (c *cutter) lines() int { return bytes.Count(c.buf[c.start:c.end], []byte{'\n'}) + 1 }
