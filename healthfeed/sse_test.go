package healthfeed

import (
	"bufio"
	"errors"
	"io"
	"strings"
	"testing"
)

func events(stream string, most int) (list []event, err error) {
	r := eventReader{bufio.NewReaderSize(strings.NewReader(stream), 16), most}
	for {
		e, err := r.next()
		if err != nil {
			return list, err
		}
		list = append(list, e)
	}
}

func TestEventReader(t *testing.T) {
	long := strings.Repeat("x", 100)
	for _, test := range []struct {
		name, stream string
		want         []string // id, data
		err          error
	}{
		{"one", "id: a-1\ndata: {}\n\n", []string{"a-1", "{}"}, io.ErrUnexpectedEOF},
		{"heartbeats", ":\n\n:\n\nid: a\ndata: 1\n\n:\n\ndata: 2\n\n", []string{"a", "1", "", "2"}, io.ErrUnexpectedEOF},
		{"no-space", "id:a\ndata:1\n\n", []string{"a", "1"}, io.ErrUnexpectedEOF},
		{"crlf", "id: a\r\ndata: 1\r\n\r\n", []string{"a", "1"}, io.ErrUnexpectedEOF},
		{"two-lines", "data: 1\ndata: 2\n\n", []string{"", "1\n2"}, io.ErrUnexpectedEOF},
		{"other-fields", "event: x\nretry: 5\nwords\ndata: 1\n\n", []string{"", "1"}, io.ErrUnexpectedEOF},
		{"id-alone-is-no-event", "id: a\n\ndata: 1\n\n", []string{"", "1"}, io.ErrUnexpectedEOF},
		{"longer-than-the-buffer", "data: " + long + "\n\n", []string{"", long}, io.ErrUnexpectedEOF},
		{"truncated-event", "id: a\ndata: 1\n", nil, io.ErrUnexpectedEOF},
		{"truncated-line", "id: a\ndata: 1", nil, io.ErrUnexpectedEOF},
		{"too-long", "data: " + long + long + "\n\n", nil, errEventTooLong},
		{"too-long-in-lines", "data: " + long + "\ndata: " + long + "\n\n", nil, errEventTooLong},
		{"endless-line", strings.Repeat("y", 1000), nil, errEventTooLong},
	} {
		got, err := events(test.stream, 128)
		if !errors.Is(err, test.err) {
			t.Errorf("%s: error %v, want %v", test.name, err, test.err)
		}
		var words []string
		for _, e := range got {
			if e.started.IsZero() {
				t.Errorf("%s: when it began is not known", test.name)
			}
			words = append(words, e.id, string(e.data))
		}
		if strings.Join(words, "|") != strings.Join(test.want, "|") {
			t.Errorf("%s: got %q, want %q", test.name, words, test.want)
		}
	}
	if _, err := events("id: "+long+long+long+"\ndata: 1\n\n", 1000); err == nil || !strings.Contains(err.Error(), "bad event id") {
		t.Errorf("long id: %v", err)
	}
}

// Whatever comes, the reader ends, holds no more than it may, and what was written
// is read again.
func FuzzEventReader(f *testing.F) {
	f.Add("id: a-1\ndata: {}\n\n", "a-1", "{}")
	f.Add(":\n\ndata: 1\r\ndata: 2\n\n", "", "x")
	f.Add("data", "\x00", "\n")
	f.Add("", strings.Repeat("0", 68), "0") // a line may be longer than the data
	f.Fuzz(func(t *testing.T, stream, id, data string) {
		list, err := events(stream, 64)
		if err == nil {
			t.Fatal("it does not end")
		}
		for _, e := range list {
			if len(e.data) > 64+len(stream) || len(e.id) > 200 {
				t.Fatalf("%d bytes of data, id %q", len(e.data), e.id)
			}
		}
		if len(id) > 200 || len(data) > 64 || strings.ContainsAny(id+data, "\r\n\x00") {
			return
		}
		got, _ := events(string((&event{id: id, data: []byte(data)}).append(nil)), 64)
		if len(got) != 1 || got[0].id != id || string(got[0].data) != data {
			t.Fatalf("wrote %q, %q, read %+v", id, data, got)
		}
	})
}
