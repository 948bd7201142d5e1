package jsontree

import (
	"encoding/json"
	"fmt"
	"testing"
)

// read expects {"name": string, "sizes": [numbers], "on": bool, "tags": {strings}}.
func read(data string, strict bool) (string, error) {
	var got struct {
		name  string
		sizes []float64
		whole int
		on    bool
		tags  map[string]string
	}
	top, err := Parse([]byte(data))
	if err == nil {
		err = Fields(top, strict, map[string]ReadFunc{
			"name": Text(&got.name),
			"sizes": List(func(w Word) error {
				got.sizes = append(got.sizes, 0)
				return Number("sizes", &got.sizes[len(got.sizes)-1])(w)
			}),
			"whole": Integer("whole", &got.whole),
			"on":    Bool("on", &got.on),
			"tags":  Texts(&got.tags),
		})
	}
	if err != nil {
		return "", fmt.Errorf("%d: %w", Line([]byte(data), err), err)
	}
	return fmt.Sprint(got.name, got.sizes, got.whole, got.on, got.tags), nil
}

func TestRead(t *testing.T) {
	tests := []struct{ name, data, want string }{
		{"all", `{"name": "a", "sizes": [1, 2.5], "whole": 7, "on": true, "tags": {"k": "v"}}`, "a[1 2.5] 7 true map[k:v]"},
		{"unknown-field", "{\"name\": \"a\",\n\"nmae\": \"b\"}", `2: unknown field "nmae"`},
		{"null", "{\n\n\"name\": null}", `3: null is not a string`},
		{"twice", "{\"name\": \"a\",\n\"name\": \"b\"}", `2: field "name" is written twice`},
		{"not-a-string", `{"name": 3}`, "1: 3 is not a string"},
		{"not-a-number", "{\"sizes\": [1,\n\"x\"]}", `2: sizes: "x" is not a number`},
		{"not-whole", `{"whole": 1.5}`, "1: whole: 1.5 is not a whole number"},
		{"not-a-bool", `{"on": "yes"}`, `1: on: "yes" is not true or false`},
		{"not-a-list", `{"sizes": {}}`, "1: an object is not a list […]"},
		{"not-an-object", `[]`, "1: a list is not an object {…}"},
		{"tags-not-strings", `{"tags": {"a": 1}}`, "1: 1 is not a string"},
		{"comma", "{\"name\": \"a\",\n}", `1: a comma is followed by '}'`},
		{"cut", "{\"name\":\n", "1: unexpected end of the file"},
		{"empty", " \n", "1: the file is empty"},
		{"byte-order-mark", "\uFEFF{\"id\": \"a\"}", "1: the file begins with a byte-order mark; write it without one (RFC 8259, section 8.1)"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := read(tt.data, true)
			if err != nil {
				got = err.Error()
			}
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
	if got, err := read(`{"new": {}, "name": null, "whole": 1}`, false); err != nil || got != "[] 1 false map[]" {
		t.Errorf("not strict: got %q, %v", got, err)
	}
}

// Whatever encoding/json takes is a tree, unless a field is there twice; and every
// mistake has a line.
func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"a": [1, {"b": null}, "c"], "d": true}`))
	f.Add([]byte(`{"a": 1, "a": 2}`))
	f.Add([]byte("{\"a\":\n[}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		_, err := Parse(data)
		if err == nil && !json.Valid(data) {
			t.Errorf("%q is no JSON", data)
		}
		if line := Line(data, err); line < 1 || line > 1+len(data) {
			t.Errorf("line %d of %d bytes", line, len(data))
		}
	})
}
