package healthfeed

import (
	"path/filepath"
	"strings"
	"testing"
)

// What is wrong with a snapshot file is said with its line, and not in the words of Go.
func TestSnapshotFileRefused(t *testing.T) {
	const record = `{"age_ms": 0, "prober": "p", "epoch": 1, "seq": 1, "interval_ms": 2000, "ttl_ms": 15000,` + "\n" + `"nodes": {"n": {"state": "up"}}}`
	in := func(records string) string { return "{\"records\": [\n" + records + "\n]}" }
	for _, test := range []struct{ name, data, want string }{
		{"typo", `{"record": []}`, `1: snapshot: there is no list "records"`},
		{"type", "{\n\"records\": {}}", `2: snapshot: records: an object is not a list`},
		{"type-of-a-field", in(strings.Replace(record, `"p"`, `7`, 1)), `2: snapshot: records.prober: a number is not a text`},
		{"fraction", in(strings.Replace(record, `"seq": 1`, `"seq": 1.5`, 1)), `2: snapshot: records.seq: 1.5 is not a number from 0 without a fraction`},
		{"text", "\n\"up\"", `2: snapshot: a text is not an object`},
		{"comma", in(record + ","), `3: a comma is followed by ']'`},
		{"cut", in(record)[:40], `2: unexpected end of the file`},
		{"rule", in(record + ",\n" + strings.Replace(record, `"p"`, `"no name"`, 1)), `4: snapshot: `},
		{"twice", in(record + ",\n" + record), `4: snapshot: prober "p" has two records`},
		{"override", "{\"records\": [], \"overrides\": [\n{\"node\": \"n\", \"state\": \"drain\", \"rev\": 0}]}", `2: snapshot: override of "n": rev 0 is outside 1 to`},
		{"time", "{\"records\": [], \"overrides\": [\n{\"node\": \"n\", \"state\": \"drain\", \"rev\": 1, \"at\": \"noon\"}]}", `2: snapshot: `},
		{"inventory", "{\"records\": [], \"inventory\":\n{\"nodes\": [\n{\"id\": \"n\", \"weight\": -1}]}}", `3: snapshot: inventory: node "n": no address`},
		{"letters", "{\n\"records\": [\"\xff\"]}", `2: snapshot: it is not UTF-8`},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := ParseSnapshot([]byte(test.data))
			if err == nil {
				t.Fatal("it is taken")
			}
			got := placeSnapshot("feed.json", []byte(test.data), err).Error()
			if !strings.HasPrefix(got, "feed.json:"+test.want) || strings.Contains(got, "Go ") {
				t.Errorf("got %s\nwant feed.json:%s", got, test.want)
			}
		})
	}
}

func TestFromFileSaysTheLine(t *testing.T) {
	var log logbook
	path := filepath.Join(t.TempDir(), "feed.json")
	write(t, path, []byte("{\n\"records\": {}}"))
	open(t, Config{Sources: []Source{FromFile(path)}, Log: log.logger()})
	eventually(t, "it is logged", func() bool { return log.count(path+":2: snapshot: records: an object is not a list") == 1 })
}
