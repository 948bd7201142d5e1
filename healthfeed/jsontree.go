package healthfeed

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// A word is a JSON value that knows where it stands, so that a mistake in it can
// be shown to the one who wrote it.
type word struct {
	at    int // offset of its first byte
	value any // string, json.Number, bool, nil, []word or []member
}

// A member is one field of a JSON object, in the order written.
type member struct {
	name  string
	at    int // offset of the name
	value word
}

// A placedError is a mistake at a byte offset of the input.
type placedError struct {
	offset int
	err    error
}

func (e *placedError) Error() string { return e.err.Error() }
func (e *placedError) Unwrap() error { return e.err }

// lineOf returns the line, counted from 1, that err is about.
func lineOf(data []byte, err error) int {
	offset := 0
	var placed *placedError
	if errors.As(err, &placed) {
		offset = min(placed.offset, len(data))
	}
	return 1 + bytes.Count(data[:offset], []byte("\n"))
}

// parseTree reads a JSON text. A field that is written twice is an error.
func parseTree(data []byte) (word, error) {
	if err := checkSyntax(data); err != nil {
		return word{}, err
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
	written := bytes.TrimRight(data, " \t\r\n")
	if len(written) == 0 {
		return errors.New("the file is empty")
	}
	at := max(0, int(syntax.Offset)-1)
	if at >= len(written)-1 && !json.Valid(written) && syntax.Error() == "unexpected end of JSON input" {
		return &placedError{len(written), errors.New("unexpected end of the file")}
	}
	before := bytes.TrimRight(data[:at], " \t\r\n")
	if c := data[at]; (c == '}' || c == ']') && bytes.HasSuffix(before, []byte(",")) {
		return &placedError{len(before), fmt.Errorf("a comma is followed by %q", c)}
	}
	return &placedError{at, err}
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
func (p *treeParser) word() (word, error) {
	t, at, err := p.token()
	if err != nil {
		return word{}, err
	}
	switch t {
	case json.Delim('{'):
		members, err := p.members()
		return word{at, members}, err
	case json.Delim('['):
		words := []word{}
		for {
			w, err := p.word()
			if err != nil || w.value == json.Delim(']') {
				return word{at, words}, err
			}
			words = append(words, w)
		}
	}
	return word{at, t}, nil
}

func (p *treeParser) members() ([]member, error) {
	members := []member{}
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
			return nil, &placedError{at, fmt.Errorf("field %q is written twice", name)}
		}
		seen[name] = true
		value, err := p.word()
		if err != nil {
			return nil, err
		}
		members = append(members, member{name, at, value})
	}
}

// find returns the offset of what path leads to from w, or of the last word on the
// way if there is nothing.
func (w word) find(path []string) int {
	at := w.at
	for _, step := range path {
		next, found := w.step(step)
		if !found {
			break
		}
		w, at = next, next.at
	}
	return at
}

// step returns the field or, if name is a number, the element of that name.
func (w word) step(name string) (word, bool) {
	switch v := w.value.(type) {
	case []member:
		for _, m := range v {
			if m.name == name {
				return m.value, true
			}
		}
	case []word:
		if i, err := strconv.Atoi(name); err == nil && i >= 0 && i < len(v) {
			return v[i], true
		}
	}
	return word{}, false
}

// wrong returns an error at w.
func (w word) wrong(format string, args ...any) error {
	return &placedError{w.at, fmt.Errorf(format, args...)}
}

// isNot returns the error that w is not what it should be.
func (w word) isNot(what string) error {
	switch v := w.value.(type) {
	case []member:
		return w.wrong("an object is not %s", what)
	case []word:
		return w.wrong("a list is not %s", what)
	case nil:
		return w.wrong("null is not %s", what)
	case string:
		return w.wrong("%.60q is not %s", v, what)
	default:
		return w.wrong("%.60v is not %s", v, what)
	}
}
