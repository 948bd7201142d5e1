package lint

import (
	"github.com/tandem-cdn/tandem/internal/jsontree"
)

// tree is a JSON file that knows the lines of its words.
type tree struct {
	file  *File
	top   jsontree.Word
	index map[string]int // of nodes by ID, in the order in which they are written
}

// newTree reads a file that has been read before, without a mistake.
func newTree(f *File) *tree {
	top, _ := jsontree.Parse(f.Data)
	t := &tree{file: f, top: top, index: make(map[string]int)}
	nodes, _ := member(top, "nodes").Value.([]jsontree.Word)
	for i, w := range nodes {
		if id, ok := member(w, "id").Value.(string); ok {
			t.index[id] = i
		}
	}
	return t
}

// member returns a field of an object, or nothing.
func member(w jsontree.Word, name string) jsontree.Word {
	members, _ := w.Value.([]jsontree.Member)
	for _, m := range members {
		if m.Name == name {
			return m.Value
		}
	}
	return jsontree.Word{}
}

// line returns the line of what a path leads to, or of the last word on the way.
func (t *tree) line(path ...string) int {
	return jsontree.Line(t.file.Data, &jsontree.Error{Offset: t.top.Find(path)})
}
