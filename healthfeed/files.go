package healthfeed

import (
	"context"
	"os"
)

// ReadInventory reads and parses the nodes.json at path.
func ReadInventory(path string) (*Inventory, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return ParseInventory(path, data)
}

func (f *Feed) watchInventory(ctx context.Context) { <-ctx.Done() }
func (f *Feed) persist(ctx context.Context)        { <-ctx.Done() }
