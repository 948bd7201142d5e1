package healthfeed

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"time"
)

// DefaultWeight is the weight of a node whose operator gave none.
const DefaultWeight = 100

// DefaultRetries is how many more attempts a round of a check has by default.
const DefaultRetries = 2

// ParseInventory reads a nodes.json. It is strict: an unknown field, a field
// written twice, a duplicate id, a value out of range or an inventory without
// nodes is an error of the form
//
//	nodes.json:7: node "lon1": latitude 91 is outside -90 to 90
//
// with name and the line of the offending word in front.
func ParseInventory(name string, data []byte) (*Inventory, error) {
	inv, err := readInventory(data, true)
	if err == nil && len(inv.Nodes) == 0 {
		err = errors.New("there are no nodes")
	}
	if err != nil {
		return nil, fmt.Errorf("%s:%d: %w", name, lineOf(data, err), err)
	}
	return inv, nil
}

// UnmarshalJSON reads an inventory that another process sent. Unlike
// [ParseInventory] it passes over fields it does not know, which a newer
// process may have added.
func (inv *Inventory) UnmarshalJSON(data []byte) error {
	got, err := readInventory(data, false)
	if err != nil {
		return fmt.Errorf("inventory: %w", err)
	}
	*inv = *got
	return nil
}

// readInventory reads and checks an inventory; its errors are placed.
func readInventory(data []byte, strict bool) (*Inventory, error) {
	top, err := parseTree(data)
	if err != nil {
		return nil, err
	}
	inv := &Inventory{Services: map[string]Service{}}
	r := inventoryReader{strict}
	err = r.fields(top, map[string]readFunc{
		"nodes": list(func(w word) error {
			n, err := r.node(w)
			inv.Nodes = append(inv.Nodes, n)
			return err
		}),
		"services": func(w word) error {
			return eachMember(w, func(name string, w word) (err error) {
				inv.Services[name], err = r.service(w)
				return err
			})
		},
	})
	if err != nil {
		return nil, err
	}
	return inv, place(inv.complete(), top)
}

// place puts an error of a complete method where it belongs below w.
func place(err error, w word) error {
	var field *fieldError
	if errors.As(err, &field) {
		return &placedError{w.find(field.path), err}
	}
	return err
}

// An inventoryReader turns words into what they mean.
type inventoryReader struct {
	strict bool // unknown fields and nulls are errors
}

// A readFunc reads one value into where it belongs.
type readFunc func(w word) error

// fields reads the object w, each field by its function.
func (r inventoryReader) fields(w word, known map[string]readFunc) error {
	members, ok := w.value.([]member)
	if !ok {
		return w.isNot("an object {…}")
	}
	for _, m := range members {
		read, ok := known[m.name]
		switch {
		case !r.strict && (!ok || m.value.value == nil):
			continue
		case !ok:
			return &placedError{m.at, fmt.Errorf("unknown field %.60q", m.name)}
		}
		if err := read(m.value); err != nil {
			return err
		}
	}
	return nil
}

func (r inventoryReader) node(w word) (Node, error) {
	n := Node{Weight: DefaultWeight}
	err := r.fields(w, map[string]readFunc{
		"id": text(&n.ID),
		"addrs": list(func(w word) error {
			s, _ := w.value.(string)
			a, err := netip.ParseAddr(s)
			if err != nil {
				return fieldIsNot("addrs", w, "an IP address")
			}
			n.Addrs = append(n.Addrs, a)
			return nil
		}),
		"location": func(w word) error {
			l := &Location{math.NaN(), math.NaN()} // JSON has no NaN: still there means not written
			n.Location = l
			err := r.fields(w, map[string]readFunc{"lat": number("lat", &l.Lat), "lon": number("lon", &l.Lon)})
			if err == nil && (math.IsNaN(l.Lat) || math.IsNaN(l.Lon)) {
				err = w.wrong("a location needs both lat and lon")
			}
			return err
		},
		"labels": texts(&n.Labels),
		"weight": integer("weight", &n.Weight),
		"tier":   integer("tier", &n.Tier),
		"capacity": func(w word) error {
			c := &n.Capacity
			return r.fields(w, map[string]readFunc{
				"rps": number("rps", &c.RPS), "mbps": number("mbps", &c.Mbps), "conns": number("conns", &c.Conns),
			})
		},
		"state":  text((*string)(&n.State)),
		"spiffe": text(&n.SPIFFE),
		"checks": list(func(w word) error {
			c, err := r.check(w)
			n.Checks = append(n.Checks, c)
			return err
		}),
	})
	if err != nil {
		return n, err
	}
	return n, place(n.complete(), w)
}

func (r inventoryReader) check(w word) (Check, error) {
	c := Check{Retries: DefaultRetries, Critical: true}
	return c, r.fields(w, map[string]readFunc{
		"type":     text(&c.Type),
		"url":      text(&c.URL),
		"addr":     text(&c.Addr),
		"interval": duration("interval", &c.Interval),
		"timeout":  duration("timeout", &c.Timeout),
		"retries":  integer("retries", &c.Retries),
		"fall":     positive("fall", &c.Fall),
		"rise":     positive("rise", &c.Rise),
		"body":     text(&c.Body),
		"critical": func(w word) error {
			var ok bool
			if c.Critical, ok = w.value.(bool); !ok {
				return fieldIsNot("critical", w, "true or false")
			}
			return nil
		},
	})
}

func (r inventoryReader) service(w word) (Service, error) {
	var s Service
	return s, r.fields(w, map[string]readFunc{"select": texts(&s.Select), "policy": text(&s.Policy)})
}

// fieldIsNot says which field is not what it should be.
func fieldIsNot(name string, w word, what string) error {
	return &placedError{w.at, fmt.Errorf("%s: %w", name, w.isNot(what))}
}

func text(into *string) readFunc {
	return func(w word) error {
		s, ok := w.value.(string)
		if !ok {
			return w.isNot("a string")
		}
		*into = s
		return nil
	}
}

func number(name string, into *float64) readFunc {
	return func(w word) error {
		n, _ := w.value.(json.Number)
		v, err := strconv.ParseFloat(string(n), 64)
		if err != nil {
			return fieldIsNot(name, w, "a number")
		}
		*into = v
		return nil
	}
}

func integer(name string, into *int) readFunc {
	return func(w word) error {
		n, _ := w.value.(json.Number)
		v, err := strconv.Atoi(string(n))
		if err != nil {
			return fieldIsNot(name, w, "a whole number")
		}
		*into = v
		return nil
	}
}

// positive reads an integer whose zero would mean the default.
func positive(name string, into *int) readFunc {
	return func(w word) error {
		if err := integer(name, into)(w); err != nil || *into > 0 {
			return err
		}
		return fieldIsNot(name, w, "more than zero")
	}
}

// duration reads what Go writes: "2s", "500ms". Zero would mean the default.
func duration(name string, into *time.Duration) readFunc {
	return func(w word) error {
		s, _ := w.value.(string)
		d, err := time.ParseDuration(s)
		if err != nil {
			return fieldIsNot(name, w, "a duration like 2s or 500ms")
		}
		if d <= 0 {
			return fieldIsNot(name, w, "more than zero")
		}
		*into = d
		return nil
	}
}

func list(read readFunc) readFunc {
	return func(w word) error {
		words, ok := w.value.([]word)
		if !ok {
			return w.isNot("a list […]")
		}
		for _, w := range words {
			if err := read(w); err != nil {
				return err
			}
		}
		return nil
	}
}

// eachMember reads the object w, whatever the names of its fields.
func eachMember(w word, read func(name string, w word) error) error {
	members, ok := w.value.([]member)
	if !ok {
		return w.isNot("an object {…}")
	}
	for _, m := range members {
		if err := read(m.name, m.value); err != nil {
			return err
		}
	}
	return nil
}

// texts reads an object of strings. An empty one is as none.
func texts(into *map[string]string) readFunc {
	return func(w word) error {
		got := map[string]string{}
		err := eachMember(w, func(name string, w word) error {
			var s string
			err := text(&s)(w)
			got[name] = s
			return err
		})
		if len(got) > 0 {
			*into = got
		}
		return err
	}
}
