package healthfeed

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

// Whichever bit of a state file is another, or however much of its end is missing, it is
// refused, or says the same.
func TestChecksum(t *testing.T) {
	path := filepath.Join(t.TempDir(), "feed.json")
	s := snapshotOf(t, watched(t, "n"), says("p", 7, map[string]State{"n": Down}))
	s.Overrides = []Override{{Node: "n", State: AdminDrain, Rev: 3, By: "jo"}}
	do(t, WriteFile(path, s))
	whole, err := os.ReadFile(path)
	do(t, err)
	want, err := ParseSnapshot(whole)
	do(t, err)
	for i := range whole {
		for bit := range 8 {
			data := bytes.Clone(whole)
			data[i] ^= 1 << bit
			if got, err := ParseSnapshot(data); err == nil && !reflect.DeepEqual(got, want) {
				t.Fatalf("byte %d, bit %d: it is believed:\n%s", i, bit, data)
			}
		}
		if _, err := ParseSnapshot(whole[:i]); err == nil {
			t.Errorf("%d bytes of %d are believed", i, len(whole))
		}
	}
	other := bytes.Replace(whole, []byte(`"seq":7`), []byte(`"seq":8`), 1)
	if _, err := ParseSnapshot(other); !errors.Is(err, errSum) {
		t.Errorf("another digit: %v", err)
	}
	// Who edits it takes the sum out.
	edited := append([]byte("{"), other[len(`{"crc32c":"00000000",`):]...)
	if got, err := ParseSnapshot(edited); err != nil || got.Records[0].Seq != 8 {
		t.Errorf("edited: %+v, %v", got, err)
	}
}
