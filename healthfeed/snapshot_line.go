package healthfeed

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"unicode/utf8"

	"github.com/tandem-cdn/tandem/internal/jsontree"
)

// A typeError is a value of the wrong type, said in the words of JSON.
type typeError struct{ *json.UnmarshalTypeError }

// Error implements error.
func (e typeError) Error() string {
	value, _, _ := strings.Cut(e.Value, " ") // the number may follow
	is := map[string]string{"object": "an object", "array": "a list", "string": "a text", "number": "a number", "bool": "true or false"}[value]
	if _, number, found := strings.Cut(e.Value, " "); found {
		is = number
	}
	want := "a number"
	switch e.Type.Kind() {
	case reflect.Slice, reflect.Array:
		want = "a list"
	case reflect.Struct, reflect.Map:
		want = "an object"
	case reflect.String:
		want = "a text"
	case reflect.Bool:
		want = "true or false"
	case reflect.Uint, reflect.Uint64:
		want = "a number from 0 without a fraction"
	case reflect.Int, reflect.Int64:
		want = "a number without a fraction"
	}
	if e.Field == "" {
		return fmt.Sprintf("%s is not %s", is, want)
	}
	field := strings.ReplaceAll(e.Field, ".Record.", ".") // whose fields are those of Aged
	return fmt.Sprintf("%s: %s is not %s", field, is, want)
}

// Unwrap returns what package json says.
func (e typeError) Unwrap() error { return e.UnmarshalTypeError }

// inWords is an error of package json in the words of a file.
func inWords(err error) error {
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return typeError{e}
	}
	return err
}

// placeSnapshot puts the path and the line in front of what is wrong with the snapshot in a
// file. It reads all of it a second time for that.
func placeSnapshot(file string, data []byte, err error) error {
	at := 0
	tree, syntax := jsontree.Parse(data)
	switch {
	case !utf8.Valid(data):
		at = bytes.IndexRune(data, utf8.RuneError) // which finds the first that is none
	case syntax != nil:
		return fmt.Errorf("%s:%d: %w", file, jsontree.Line(data, syntax), syntax)
	default:
		at = placeOf(tree, err)
	}
	return fmt.Errorf("%s:%d: %w", file, jsontree.Line(data, &jsontree.Error{Offset: at, Err: err}), err)
}

// placeOf returns the offset of what an error of [ParseSnapshot] is about.
func placeOf(tree jsontree.Word, err error) int {
	if e, ok := errors.AsType[*jsontree.Error](err); ok { // which was found in the inventory alone
		return tree.Find(path{"inventory"}) + e.Offset
	}
	if e, ok := errors.AsType[*fieldError](err); ok {
		return tree.Find(e.path)
	}
	if e, ok := errors.AsType[typeError](err); ok {
		return int(e.Offset) - 1
	}
	return culprit(tree)
}

// culprit finds an override whose time is none, which does not tell its place, by reading
// each alone.
func culprit(tree jsontree.Word) int {
	w, _ := tree.Lookup(path{"overrides"})
	list, _ := w.Value.([]jsontree.Word)
	for _, o := range list {
		if json.Unmarshal([]byte(o.String()), new(Override)) != nil {
			return o.At
		}
	}
	return tree.At
}
