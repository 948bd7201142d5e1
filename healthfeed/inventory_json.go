package healthfeed

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"
)

// The inventory as written. Durations are strings ("2s"), and a field that has a
// default other than zero is a pointer, so that "not written" shows.
type (
	nodeJSON struct {
		ID       string            `json:"id"`
		Addrs    []netip.Addr      `json:"addrs"`
		Location *Location         `json:"location,omitempty"`
		Labels   map[string]string `json:"labels,omitempty"`
		Weight   *int              `json:"weight,omitempty"`
		Tier     int               `json:"tier,omitempty"`
		Capacity *Capacity         `json:"capacity,omitempty"`
		State    AdminState        `json:"state,omitempty"`
		SPIFFE   string            `json:"spiffe,omitempty"`
		Checks   []checkJSON       `json:"checks,omitempty"`
	}
	checkJSON struct {
		Type     string    `json:"type"`
		URL      string    `json:"url,omitempty"`
		Addr     string    `json:"addr,omitempty"`
		Interval *duration `json:"interval,omitempty"`
		Timeout  *duration `json:"timeout,omitempty"`
		Retries  *int      `json:"retries,omitempty"`
		Fall     *int      `json:"fall,omitempty"`
		Rise     *int      `json:"rise,omitempty"`
		Body     string    `json:"body,omitempty"`
		Critical *bool     `json:"critical,omitempty"`
	}
)

// A duration is written as Go writes it: "2s", "500ms".
type duration time.Duration

func (d duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

func (d *duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%q is not a duration like 2s or 500ms", text)
	}
	*d = duration(v)
	return nil
}

// DefaultWeight is the weight of a node whose operator gave none.
const DefaultWeight = 100

// DefaultRetries is how many more attempts a round of a check has by default.
const DefaultRetries = 2

// ParseInventory reads a nodes.json. It is strict: an unknown field, a
// duplicate id or a value out of range is an error of the form
//
//	nodes.json:7: node "lon1": latitude 91 is outside -90 to 90
//
// with name and the line of the offending word in front.
func ParseInventory(name string, data []byte) (*Inventory, error) {
	inv, err := decodeInventory(data, true)
	if err != nil {
		return nil, fmt.Errorf("%s:%d: %w", name, lineOf(data, err), err)
	}
	return inv, nil
}

// UnmarshalJSON reads an inventory that another process sent. Unlike
// [ParseInventory] it passes over fields it does not know, which a newer
// process may have added.
func (inv *Inventory) UnmarshalJSON(data []byte) error {
	got, err := decodeInventory(data, false)
	if err != nil {
		return err
	}
	*inv = *got
	return nil
}

// MarshalJSON writes what ParseInventory reads.
func (inv *Inventory) MarshalJSON() ([]byte, error) {
	nodes := make([]nodeJSON, len(inv.Nodes))
	for i := range inv.Nodes {
		nodes[i] = inv.Nodes[i].written()
	}
	return json.Marshal(map[string]any{"nodes": nodes, "services": inv.Services})
}

// decodeInventory walks the top level itself, so that each mistake can be
// placed at the node it is in.
func decodeInventory(data []byte, strict bool) (*Inventory, error) {
	inv := &Inventory{Services: map[string]Service{}}
	err := eachMember(data, func(key string, value json.RawMessage, at int) error {
		switch key {
		case "nodes":
			return eachElement(value, func(raw json.RawMessage, off int) error {
				var w nodeJSON
				err := decode(raw, &w, strict)
				if err == nil {
					var n Node
					if n, err = w.node(); err == nil {
						inv.Nodes = append(inv.Nodes, n)
						return nil
					}
				}
				return within(err, raw, at+off)
			})
		case "services":
			return within(decode(value, &inv.Services, strict), value, at)
		}
		if strict {
			return within(wrong(key, "unknown field %q", key), data, 0)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if err := inv.complete(); err != nil {
		return nil, err
	}
	return inv, nil
}

// node turns what was written into what is used.
func (w *nodeJSON) node() (Node, error) {
	n := Node{
		ID: w.ID, Addrs: w.Addrs, Location: w.Location, Labels: w.Labels,
		Weight: deref(w.Weight, DefaultWeight), Tier: w.Tier, State: w.State, SPIFFE: w.SPIFFE,
	}
	if w.Capacity != nil {
		n.Capacity = *w.Capacity
	}
	for _, c := range w.Checks {
		n.Checks = append(n.Checks, Check{
			Type: c.Type, URL: c.URL, Addr: c.Addr, Body: c.Body,
			Interval: time.Duration(deref(c.Interval, 0)), Timeout: time.Duration(deref(c.Timeout, 0)),
			Retries: deref(c.Retries, DefaultRetries), Fall: deref(c.Fall, 0), Rise: deref(c.Rise, 0),
			Critical: deref(c.Critical, true),
		})
	}
	return n, n.complete()
}

// written is the inverse of node.
func (n *Node) written() nodeJSON {
	w := nodeJSON{
		ID: n.ID, Addrs: n.Addrs, Location: n.Location, Labels: n.Labels,
		Weight: &n.Weight, Tier: n.Tier, State: n.State, SPIFFE: n.SPIFFE,
	}
	if n.Capacity != (Capacity{}) {
		w.Capacity = &n.Capacity
	}
	for i := range n.Checks {
		c := &n.Checks[i]
		w.Checks = append(w.Checks, checkJSON{
			Type: c.Type, URL: c.URL, Addr: c.Addr, Body: c.Body,
			Interval: (*duration)(&c.Interval), Timeout: (*duration)(&c.Timeout),
			Retries: &c.Retries, Fall: &c.Fall, Rise: &c.Rise, Critical: &c.Critical,
		})
	}
	return w
}

func deref[T any](p *T, otherwise T) T {
	if p == nil {
		return otherwise
	}
	return *p
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
	offset := len(data)
	var placed *placedError
	if errors.As(err, &placed) {
		offset = min(placed.offset, len(data))
	} else if at := wordAt(data, err); at >= 0 {
		offset = at
	}
	return 1 + bytes.Count(data[:offset], []byte("\n"))
}

var unknownField = regexp.MustCompile(`unknown field "([^"]*)"`)

// within places err, which arose from raw at offset at of the whole input.
func within(err error, raw []byte, at int) error {
	if err == nil {
		return nil
	}
	var placed *placedError
	if errors.As(err, &placed) {
		return err
	}
	if off := wordAt(raw, err); off >= 0 {
		at += off
	}
	return &placedError{offset: at, err: err}
}

// wordAt returns where in raw the word stands that err complains about, or -1.
// A word that occurs several times is at fault where it stands last, as with a
// duplicate.
func wordAt(raw []byte, err error) int {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	var word *wordError
	switch {
	case errors.As(err, &syntax):
		return int(syntax.Offset) - 1
	case errors.As(err, &kind):
		return int(kind.Offset) - 1
	case errors.As(err, &word):
		return bytes.LastIndex(raw, []byte(`"`+word.word+`"`))
	}
	if m := unknownField.FindStringSubmatch(err.Error()); m != nil {
		return bytes.LastIndex(raw, []byte(`"`+m[1]+`"`))
	}
	return -1
}

// decode reads one JSON value that is all of raw.
func decode(raw []byte, into any, strict bool) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	if strict {
		d.DisallowUnknownFields()
	}
	err := d.Decode(into)
	if err != nil {
		// "json: unknown field" and the like: the prefix says nothing to an operator.
		if msg, found := strings.CutPrefix(err.Error(), "json: "); found && unknownField.MatchString(msg) {
			return errors.New(msg)
		}
	}
	return err
}

// eachMember calls f for every member of the JSON object data, with the offset
// of its value. A key written twice is an error.
func eachMember(data []byte, f func(key string, value json.RawMessage, at int) error) error {
	d := json.NewDecoder(bytes.NewReader(data))
	if err := open(d, '{'); err != nil {
		return err
	}
	var seen []string
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return err
		}
		key := t.(string)
		if slices.Contains(seen, key) {
			return &placedError{int(d.InputOffset()), fmt.Errorf("field %q is written twice", key)}
		}
		seen = append(seen, key)
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return err
		}
		if err := f(key, value, int(d.InputOffset())-len(value)); err != nil {
			return err
		}
	}
	if _, err := d.Token(); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return &placedError{int(d.InputOffset()), errors.New("something follows the closing brace")}
	}
	return nil
}

// eachElement calls f for every element of the JSON array data, with its offset.
func eachElement(data []byte, f func(value json.RawMessage, at int) error) error {
	d := json.NewDecoder(bytes.NewReader(data))
	if err := open(d, '['); err != nil {
		return err
	}
	for d.More() {
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return err
		}
		if err := f(value, int(d.InputOffset())-len(value)); err != nil {
			return err
		}
	}
	_, err := d.Token()
	return err
}

// open consumes the opening bracket want.
func open(d *json.Decoder, want json.Delim) error {
	t, err := d.Token()
	if err != nil {
		if err == io.EOF {
			err = errors.New("the file is empty")
		}
		return err
	}
	if t != want {
		return &placedError{int(d.InputOffset()), fmt.Errorf("%v is found where %q must open", cmp.Or(fmt.Sprint(t), "null"), want)}
	}
	return nil
}
