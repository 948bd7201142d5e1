package healthfeed

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"strconv"

	"github.com/tandem-cdn/tandem/internal/jsontree"
)

// DefaultWeight is the weight of a node whose operator gave none.
const DefaultWeight = 100

// ParseInventory reads a nodes.json. It is strict: an unknown field, a field
// written twice, a duplicate id, a value out of range or an inventory without
// nodes is an error of the form
//
//	nodes.json:7: node "lon1": latitude 91 is outside -90 to 90
//
// with name and the line of the offending word in front.
func ParseInventory(name string, data []byte) (*Inventory, error) {
	return inventoryReader{strict: true}.parse(name, data)
}

// ParseSharedInventory reads a nodes.json that did not come from this machine. It is
// as strict as [ParseInventory], but a check that names files or variables is
// foreign: whoever wrote it could have any file here sent to an address of his choice.
func ParseSharedInventory(name string, data []byte) (*Inventory, error) {
	return inventoryReader{strict: true, elsewhere: true}.parse(name, data)
}

func (r inventoryReader) parse(name string, data []byte) (*Inventory, error) {
	inv, err := r.inventory(data)
	if err == nil && len(inv.Nodes) == 0 {
		err = errors.New("there are no nodes")
	}
	if err != nil {
		return nil, fmt.Errorf("%s:%d: %w", name, jsontree.Line(data, err), err)
	}
	return inv, nil
}

// UnmarshalJSON reads an inventory that another process sent. Unlike
// [ParseInventory] it passes over fields it does not know, which a newer
// process may have added.
func (inv *Inventory) UnmarshalJSON(data []byte) error {
	got, err := inventoryReader{elsewhere: true}.inventory(data)
	if err != nil {
		return fmt.Errorf("inventory: %w", err)
	}
	*inv = *got
	return nil
}

// inventory reads and checks an inventory; its errors are placed.
func (r inventoryReader) inventory(data []byte) (*Inventory, error) {
	top, err := jsontree.Parse(data)
	if err != nil {
		return nil, err
	}
	inv := &Inventory{Services: map[string]Service{}}
	err = r.fields(top, map[string]jsontree.ReadFunc{
		"nodes": jsontree.List(func(w jsontree.Word) error {
			n, err := r.node(w)
			inv.Nodes = append(inv.Nodes, n)
			return err
		}),
		"services": func(w jsontree.Word) error {
			return jsontree.EachMember(w, func(name string, w jsontree.Word) (err error) {
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
func place(err error, w jsontree.Word) error {
	var field *fieldError
	if errors.As(err, &field) {
		return &jsontree.Error{Offset: w.Find(field.path), Err: err}
	}
	return err
}

// LineOfCheck returns the line of a nodes.json, counted from 1, in which the check of that
// index of a node begins. It is 1 if the file is another by now.
func LineOfCheck(file, node string, check int) int {
	data, err := readFile(file)
	if err != nil {
		return 1
	}
	top, err := jsontree.Parse(data)
	if err != nil {
		return 1
	}
	for i := 0; ; i++ {
		at := path{"nodes", strconv.Itoa(i)}
		id, ok := top.Lookup(append(at, "id"))
		if !ok {
			return 1
		}
		if id.Value == node {
			return jsontree.Line(data, &jsontree.Error{Offset: top.Find(append(at, "checks", strconv.Itoa(check)))})
		}
	}
}

// An inventoryReader turns words into what they mean.
type inventoryReader struct {
	strict    bool // unknown fields and nulls are errors
	elsewhere bool // another machine wrote it
}

// fields reads the object w, each field by its function.
func (r inventoryReader) fields(w jsontree.Word, known map[string]jsontree.ReadFunc) error {
	return jsontree.Fields(w, r.strict, known)
}

func (r inventoryReader) node(w jsontree.Word) (Node, error) {
	n := Node{Weight: DefaultWeight}
	err := r.fields(w, map[string]jsontree.ReadFunc{
		"id": jsontree.Text(&n.ID),
		"addrs": jsontree.List(func(w jsontree.Word) error {
			s, _ := w.Value.(string)
			a, err := netip.ParseAddr(s)
			if err != nil {
				return jsontree.FieldIsNot("addrs", w, "an IP address")
			}
			n.Addrs = append(n.Addrs, a)
			return nil
		}),
		"cname":     jsontree.Text(&n.CNAME),
		"svcparams": jsontree.Text(&n.SvcParams),
		"location": func(w jsontree.Word) error {
			l := &Location{math.NaN(), math.NaN()} // JSON has no NaN: still there means not written
			n.Location = l
			err := r.fields(w, map[string]jsontree.ReadFunc{"lat": jsontree.Number("lat", &l.Lat), "lon": jsontree.Number("lon", &l.Lon)})
			if err == nil && (math.IsNaN(l.Lat) || math.IsNaN(l.Lon)) {
				err = w.Wrong("a location needs both lat and lon")
			}
			return err
		},
		"labels": jsontree.Texts(&n.Labels),
		"weight": jsontree.Integer("weight", &n.Weight),
		"tier":   jsontree.Integer("tier", &n.Tier),
		"canary": func(w jsontree.Word) error {
			err := jsontree.Number("canary", &n.Canary)(w)
			if err == nil && !(n.Canary > 0 && n.Canary <= 1) {
				err = jsontree.FieldIsNot("canary", w, "more than 0 and at most 1")
			}
			return err
		},
		"release": jsontree.Text(&n.Release),
		"capacity": func(w jsontree.Word) error {
			c := &n.Capacity
			return r.fields(w, map[string]jsontree.ReadFunc{
				"rps": jsontree.Number("rps", &c.RPS), "mbps": jsontree.Number("mbps", &c.Mbps), "conns": jsontree.Number("conns", &c.Conns),
			})
		},
		"state":  jsontree.Text((*string)(&n.State)),
		"spiffe": jsontree.Text(&n.SPIFFE),
		"need": func(w jsontree.Word) error {
			if n.Any = w.Value == "any"; n.Any || w.Value == "all" {
				return nil
			}
			return jsontree.FieldIsNot("need", w, "all or any, of the critical checks")
		},
		"checks": jsontree.List(func(w jsontree.Word) error {
			c, err := r.check(w)
			n.Checks = append(n.Checks, c)
			return err
		}),
	})
	if err != nil {
		return n, err
	}
	if !r.strict && !n.State.known() {
		n.State = AdminAuto // it is measured all the same, and the nodes beside it are good to know
	}
	return n, place(n.complete(), w)
}

func (r inventoryReader) service(w jsontree.Word) (Service, error) {
	var s Service
	return s, r.fields(w, map[string]jsontree.ReadFunc{
		"select": jsontree.Texts(&s.Select), "policy": jsontree.Text(&s.Policy), "svcparams": jsontree.Text(&s.SvcParams),
	})
}
