// Package jsontree reads JSON files that people write. It is strict, and it knows
// where every word stands:
//
//	{"nodes": [                                Word  ┬ Member "nodes"
//	   {"id": "lon1",                                │   └ Word ─ Word ┬ Member "id"
//	    "wieght": 3}]}                               │                 └ Member "wieght"
//	                                                 ▼
//	nodes.json:3: unknown field "wieght"       Fields, with a ReadFunc for each
//
// A caller describes what it expects by a [ReadFunc] for each field, and [Line] says
// where the first mistake is. A field that is written twice is one; whether an
// unknown field is, is up to the caller.
package jsontree

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// A Word is a JSON value that knows where it stands, so that a mistake in it can
// be shown to the one who wrote it.
type Word struct {
	At    int // offset of its first byte
	Value any // string, json.Number, bool, nil, []Word or []Member
}

// A Member is one field of a JSON object, in the order written.
type Member struct {
	Name  string
	At    int // offset of the name
	Value Word
}

// An Error is a mistake at a byte offset of the input.
type Error struct {
	Offset int
	Err    error
}

// Error implements error; Line says where.
func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns the mistake.
func (e *Error) Unwrap() error { return e.Err }

// Line returns the line, counted from 1, that err is about.
func Line(data []byte, err error) int {
	offset := 0
	var placed *Error
	if errors.As(err, &placed) {
		offset = min(placed.Offset, len(data))
	}
	return 1 + bytes.Count(data[:offset], []byte("\n"))
}

// Parse reads a JSON text; its errors have a place. A field that is written twice is an error.
func Parse(data []byte) (Word, error) {
	if err := checkSyntax(data); err != nil {
		return Word{}, err
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	p := treeParser{data, d}
	return p.word()
}

// checkSyntax places what [encoding/json] finds, in the words of a file.
func checkSyntax(data []byte) error {
	var raw json.RawMessage
	err := json.Unmarshal(data, &raw)
	if err == nil {
		return nil
	}
	var syntax *json.SyntaxError
	if !errors.As(err, &syntax) {
		return err
	}
	if bytes.HasPrefix(data, []byte("\uFEFF")) {
		return &Error{0, errors.New("the file begins with a byte-order mark; write it without one (RFC 8259, section 8.1)")}
	}
	written := bytes.TrimRight(data, " \t\r\n")
	if len(written) == 0 {
		return errors.New("the file is empty")
	}
	at := max(0, int(syntax.Offset)-1)
	if at >= len(written)-1 && !json.Valid(written) && syntax.Error() == "unexpected end of JSON input" {
		return &Error{len(written), errors.New("unexpected end of the file")}
	}
	before := bytes.TrimRight(data[:at], " \t\r\n")
	if c := data[at]; (c == '}' || c == ']') && bytes.HasSuffix(before, []byte(",")) {
		return &Error{len(before), fmt.Errorf("a comma is followed by %q", c)}
	}
	return &Error{at, err}
}

// A treeParser walks a text whose syntax is good.
type treeParser struct {
	data []byte
	d    *json.Decoder
}

// token returns the next token and where it begins.
func (p *treeParser) token() (json.Token, int, error) {
	at := int(p.d.InputOffset())
	for at < len(p.data) && bytes.IndexByte([]byte(" \t\r\n,:"), p.data[at]) >= 0 {
		at++
	}
	t, err := p.d.Token()
	return t, at, err
}

// word reads one value. At the closing bracket of a list it returns the bracket.
func (p *treeParser) word() (Word, error) {
	t, at, err := p.token()
	if err != nil {
		return Word{}, err
	}
	switch t {
	case json.Delim('{'):
		members, err := p.members()
		return Word{at, members}, err
	case json.Delim('['):
		words := []Word{}
		for {
			w, err := p.word()
			if err != nil || w.Value == json.Delim(']') {
				return Word{at, words}, err
			}
			words = append(words, w)
		}
	}
	return Word{at, t}, nil
}

func (p *treeParser) members() ([]Member, error) {
	members := []Member{}
	seen := map[string]bool{}
	for {
		t, at, err := p.token()
		if err != nil || t == json.Delim('}') {
			return members, err
		}
		name, ok := t.(string)
		if !ok {
			return nil, io.ErrUnexpectedEOF // cannot be: the syntax is good
		}
		if seen[name] {
			return nil, &Error{at, fmt.Errorf("field %q is written twice", name)}
		}
		seen[name] = true
		value, err := p.word()
		if err != nil {
			return nil, err
		}
		members = append(members, Member{name, at, value})
	}
}

// Find returns the offset of what path leads to from w, or of the last word on the
// way if there is nothing.
func (w Word) Find(path []string) int {
	w, _ = w.Lookup(path)
	return w.At
}

// Lookup returns what path leads to from w, or the last word on the way, and whether it
// is there.
func (w Word) Lookup(path []string) (Word, bool) {
	for _, step := range path {
		next, found := w.step(step)
		if !found {
			return w, false
		}
		w = next
	}
	return w, true
}

// step returns the field or, if name is a number, the element of that name.
func (w Word) step(name string) (Word, bool) {
	switch v := w.Value.(type) {
	case []Member:
		for _, m := range v {
			if m.Name == name {
				return m.Value, true
			}
		}
	case []Word:
		if i, err := strconv.Atoi(name); err == nil && i >= 0 && i < len(v) {
			return v[i], true
		}
	}
	return Word{}, false
}

// String returns the value as JSON without spaces, its fields in the order written.
func (w Word) String() string { return string(w.append(nil)) }

func (w Word) append(to []byte) []byte {
	text := func(s string) {
		quoted, _ := json.Marshal(s) // of a string, which cannot fail
		to = append(to, quoted...)
	}
	switch v := w.Value.(type) {
	case nil:
		to = append(to, "null"...)
	case bool:
		to = strconv.AppendBool(to, v)
	case json.Number:
		to = append(to, v...)
	case string:
		text(v)
	case []Word:
		to = append(to, '[')
		for i, w := range v {
			if i > 0 {
				to = append(to, ',')
			}
			to = w.append(to)
		}
		to = append(to, ']')
	case []Member:
		to = append(to, '{')
		for i, m := range v {
			if i > 0 {
				to = append(to, ',')
			}
			text(m.Name)
			to = m.Value.append(append(to, ':'))
		}
		to = append(to, '}')
	}
	return to
}

// Wrong returns an error at w.
func (w Word) Wrong(format string, args ...any) error {
	return &Error{w.At, fmt.Errorf(format, args...)}
}

// IsNot returns the error that w is not what it should be.
func (w Word) IsNot(what string) error {
	switch v := w.Value.(type) {
	case []Member:
		return w.Wrong("an object is not %s", what)
	case []Word:
		return w.Wrong("a list is not %s", what)
	case nil:
		return w.Wrong("null is not %s", what)
	case string:
		return w.Wrong("%.60q is not %s", v, what)
	default:
		return w.Wrong("%.60v is not %s", v, what)
	}
}
