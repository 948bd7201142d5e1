package records

import (
	"errors"
	"fmt"
	"io"

	"github.com/tandem-cdn/tandem/internal/names"
)

// errFound ends a walk.
var errFound = errors.New("found")

// walk parses a file from the beginning and calls visit with each line until it
// returns an error.
func (f *File) walk(r io.ReadSeeker, visit func(name string, at int, t names.Target) error) error {
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return err
	}
	cut := newCutter(r, f.seeds[0])
	at, first := new(state), 1
	for {
		text, err := cut.next()
		if text == nil || err != nil {
			return err
		}
		c := new(chunk)
		p := parser{zones: f.index.Zones(), index: f.index}
		for {
			complete, err := p.parse(c, text, at, first, cut.named())
			if err != nil {
				return err
			}
			if complete == len(text) {
				break
			}
			if text, err = cut.instead(complete); err != nil {
				return err
			}
		}
		for _, l := range p.lines {
			if err := visit(string(p.text[l.from:l.to]), l.at, *l.target); err != nil {
				return err
			}
		}
		first += int(c.lines)
		at = c.end
		cut.take()
	}
}

// places says where the two lines are that steer a name differently.
func (f *File) places(r io.ReadSeeker, conflict *names.ConflictError) error {
	var first int
	var to names.Target
	err := f.walk(r, func(name string, at int, t names.Target) error {
		switch {
		case name != conflict.Name:
		case first == 0:
			first, to = at, t
		case t != to:
			return &Error{at, fmt.Errorf("name %q is steered on line %d already, and differently", name, first)}
		}
		return nil
	})
	if err == nil { // it has changed meanwhile
		err = &Error{max(first, 1), conflict}
	}
	return err
}

// LineOf returns the first line of a file of names in zones for which is returns true,
// or 0.
func LineOf(r io.ReadSeeker, zones []string, is func(name string, to names.Target) bool) (line int, err error) {
	f, err := New(zones)
	if err != nil {
		return 0, err
	}
	err = f.walk(r, func(name string, at int, to names.Target) error {
		if is(name, to) {
			line = at
			return errFound
		}
		return nil
	})
	if errors.Is(err, errFound) {
		err = nil
	}
	return line, err
}
