package healthfeed

import (
	"encoding/json"
	"time"

	"github.com/tandem-cdn/tandem/internal/jsontree"
)

// check reads a check. From another process, one that cannot be made here is kept
// as it is, since the nodes beside it are still good to know.
func (r inventoryReader) check(w jsontree.Word) (Check, error) {
	c := Check{Retries: DefaultRetries, Critical: true}
	fields := map[string]jsontree.ReadFunc{
		"type":          jsontree.Text(&c.Type),
		"url":           jsontree.Text(&c.URL),
		"addr":          jsontree.Text(&c.Addr),
		"interval":      duration("interval", &c.Interval),
		"timeout":       duration("timeout", &c.Timeout),
		"retries":       retries(&c.Retries),
		"fall":          positive("fall", &c.Fall),
		"rise":          positive("rise", &c.Rise),
		"host":          jsontree.Text(&c.Host),
		"status":        jsontree.Text(&c.Status),
		"body":          jsontree.Text(&c.Body),
		"service":       jsontree.Text(&c.Service),
		"tls":           jsontree.Bool("tls", &c.TLS),
		"ca":            jsontree.Text(&c.CA),
		"cert":          jsontree.Text(&c.Cert),
		"key":           jsontree.Text(&c.Key),
		"user":          jsontree.Text(&c.User),
		"password_file": jsontree.Text(&c.PasswordFile),
		"password_env":  jsontree.Text(&c.PasswordEnv),
		"critical":      jsontree.Bool("critical", &c.Critical),
	}
	if !r.strict && newer(w, fields) {
		common := map[string]jsontree.ReadFunc{"type": fields["type"], "critical": fields["critical"]}
		err := r.fields(w, common)
		c.Foreign = w.String()
		return c, err
	}
	if err := r.fields(w, fields); err != nil {
		return c, err
	}
	if r.elsewhere && c.local() {
		c.Foreign = w.String()
	}
	return c, nil
}

// newer reports whether a check has a type or a field that is unknown here. To leave
// out a field that somebody thought necessary would be another check.
func newer(w jsontree.Word, fields map[string]jsontree.ReadFunc) bool {
	members, _ := w.Value.([]jsontree.Member)
	for _, m := range members {
		kind, isText := m.Value.Value.(string)
		if fields[m.Name] == nil || m.Name == "type" && isText && typeOf(kind) == nil {
			return true
		}
	}
	return false
}

// retries reads a number of them; what is less than none would mean the default.
func retries(into *int) jsontree.ReadFunc {
	return func(w jsontree.Word) error {
		if err := jsontree.Integer("retries", into)(w); err != nil || *into >= 0 {
			return err
		}
		return jsontree.FieldIsNot("retries", w, "zero or more")
	}
}

// positive reads an integer whose zero would mean the default.
func positive(name string, into *int) jsontree.ReadFunc {
	return func(w jsontree.Word) error {
		if err := jsontree.Integer(name, into)(w); err != nil || *into > 0 {
			return err
		}
		return jsontree.FieldIsNot(name, w, "more than zero")
	}
}

// duration reads what Go writes: "2s", "500ms". Zero would mean the default.
func duration(name string, into *time.Duration) jsontree.ReadFunc {
	return func(w jsontree.Word) error {
		s, _ := w.Value.(string)
		d, err := time.ParseDuration(s)
		if err != nil {
			return jsontree.FieldIsNot(name, w, "a duration like 2s or 500ms")
		}
		if d <= 0 {
			return jsontree.FieldIsNot(name, w, "more than zero")
		}
		*into = d
		return nil
	}
}

// A checkJSON is a check as written, with every default said.
type checkJSON struct {
	Type         string          `json:"type"`
	URL          string          `json:"url,omitempty"`
	Addr         string          `json:"addr,omitempty"`
	Interval     durationWritten `json:"interval"`
	Timeout      durationWritten `json:"timeout"`
	Retries      int             `json:"retries"`
	Fall         int             `json:"fall"`
	Rise         int             `json:"rise"`
	Host         string          `json:"host,omitempty"`
	Status       string          `json:"status,omitempty"`
	Body         string          `json:"body,omitempty"`
	Service      string          `json:"service,omitempty"`
	TLS          bool            `json:"tls,omitempty"`
	CA           string          `json:"ca,omitempty"`
	Cert         string          `json:"cert,omitempty"`
	Key          string          `json:"key,omitempty"`
	User         string          `json:"user,omitempty"`
	PasswordFile string          `json:"password_file,omitempty"`
	PasswordEnv  string          `json:"password_env,omitempty"`
	Critical     bool            `json:"critical"`
}

type durationWritten time.Duration

func (d durationWritten) MarshalText() ([]byte, error) {
	return []byte(time.Duration(d).String()), nil
}

// MarshalJSON writes the check as it stands in a nodes.json, and one of another
// process as that wrote it.
func (c Check) MarshalJSON() ([]byte, error) {
	if c.Foreign != "" {
		return []byte(c.Foreign), nil
	}
	return json.Marshal(checkJSON{
		Type: c.Type, URL: c.URL, Addr: c.Addr, Interval: durationWritten(c.Interval), Timeout: durationWritten(c.Timeout),
		Retries: c.Retries, Fall: c.Fall, Rise: c.Rise, Host: c.Host, Status: c.Status, Body: c.Body, Service: c.Service,
		TLS: c.TLS, CA: c.CA, Cert: c.Cert, Key: c.Key, User: c.User, PasswordFile: c.PasswordFile, PasswordEnv: c.PasswordEnv,
		Critical: c.Critical,
	})
}
