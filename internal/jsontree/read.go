package jsontree

import (
	"encoding/json"
	"fmt"
	"strconv"
)

// A ReadFunc reads one value into where it belongs.
type ReadFunc func(w Word) error

// Fields reads the object w, each field by its function. Unknown fields and nulls are
// errors if strict, and passed over if not.
func Fields(w Word, strict bool, known map[string]ReadFunc) error {
	members, ok := w.Value.([]Member)
	if !ok {
		return w.IsNot("an object {…}")
	}
	for _, m := range members {
		read, ok := known[m.Name]
		switch {
		case !strict && (!ok || m.Value.Value == nil):
			continue
		case !ok:
			return &Error{m.At, fmt.Errorf("unknown field %.60q", m.Name)}
		}
		if err := read(m.Value); err != nil {
			return err
		}
	}
	return nil
}

// FieldIsNot says which field is not what it should be.
func FieldIsNot(name string, w Word, what string) error {
	return &Error{w.At, fmt.Errorf("%s: %w", name, w.IsNot(what))}
}

// Text reads a string.
func Text(into *string) ReadFunc {
	return func(w Word) error {
		s, ok := w.Value.(string)
		if !ok {
			return w.IsNot("a string")
		}
		*into = s
		return nil
	}
}

// Number reads a number; name is the field's, for the error.
func Number(name string, into *float64) ReadFunc {
	return func(w Word) error {
		n, _ := w.Value.(json.Number)
		v, err := strconv.ParseFloat(string(n), 64)
		if err != nil {
			return FieldIsNot(name, w, "a number")
		}
		*into = v
		return nil
	}
}

// Bool reads true or false; name is the field's, for the error.
func Bool(name string, into *bool) ReadFunc {
	return func(w Word) error {
		b, ok := w.Value.(bool)
		if !ok {
			return FieldIsNot(name, w, "true or false")
		}
		*into = b
		return nil
	}
}

// Integer reads a whole number; name is the field's, for the error.
func Integer(name string, into *int) ReadFunc {
	return func(w Word) error {
		n, _ := w.Value.(json.Number)
		v, err := strconv.Atoi(string(n))
		if err != nil {
			return FieldIsNot(name, w, "a whole number")
		}
		*into = v
		return nil
	}
}

// List reads a list, each element by read.
func List(read ReadFunc) ReadFunc {
	return func(w Word) error {
		words, ok := w.Value.([]Word)
		if !ok {
			return w.IsNot("a list […]")
		}
		for _, w := range words {
			if err := read(w); err != nil {
				return err
			}
		}
		return nil
	}
}

// EachMember reads the object w, whatever the names of its fields.
func EachMember(w Word, read func(name string, w Word) error) error {
	members, ok := w.Value.([]Member)
	if !ok {
		return w.IsNot("an object {…}")
	}
	for _, m := range members {
		if err := read(m.Name, m.Value); err != nil {
			return err
		}
	}
	return nil
}

// Texts reads an object of strings. An empty one is as none.
func Texts(into *map[string]string) ReadFunc {
	return func(w Word) error {
		got := map[string]string{}
		err := EachMember(w, func(name string, w Word) error {
			var s string
			err := Text(&s)(w)
			got[name] = s
			return err
		})
		if len(got) > 0 {
			*into = got
		}
		return err
	}
}
