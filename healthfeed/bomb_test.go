package healthfeed

import (
	"bytes"
	"fmt"
	"runtime"
	"strings"
	"testing"
)

// What is small in gzip, and would be gigabytes in memory, is refused before it is unfolded; what
// the largest site that is planned for has to say is not.
func TestBombs(t *testing.T) {
	list := func(value string) string {
		return "[" + value + strings.Repeat(","+value, (MaxSnapshot-100)/(len(value)+1)) + "]"
	}
	var nodes strings.Builder
	for i := 0; nodes.Len() < MaxSnapshot-200; i++ {
		fmt.Fprintf(&nodes, `,"%x":{}`, i)
	}
	for name, bomb := range map[string]string{
		"overrides": `{"overrides":` + list("0") + `}`,
		"records":   `{"records":` + list("{}") + `}`,
		"nodes":     `{"records":[{"prober":"p","epoch":1,"seq":1,"interval_ms":1,"ttl_ms":1,"nodes":{"x":{}` + nodes.String() + `}}]}`,
		"inventory": `{"inventory":{"nodes":` + list("null") + `}}`,
		"unknown":   `{"inventory":{"other":` + list("0") + `}}`,
	} {
		if len(bomb) > MaxSnapshot {
			t.Fatalf("%s: %d bytes", name, len(bomb))
		}
		data := []byte(bomb)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := ParseSnapshot(data)
		runtime.ReadMemStats(&after)
		if err == nil || !strings.Contains(err.Error(), "more than") {
			t.Errorf("%s: %v", name, err)
		}
		if n := after.TotalAlloc - before.TotalAlloc; n > 10<<20 {
			t.Errorf("%s: %d bytes of memory to say so", name, n)
		}
	}
}

func TestTenThousandNodesAreNoBomb(t *testing.T) {
	data, err := tenThousand(t).encode()
	do(t, err)
	if _, err := ParseSnapshot(data); err != nil {
		t.Error(err)
	}
	for _, sign := range []struct {
		of   string
		most int
	}{{",", maxValues}, {"{", maxObjects}} {
		if n := bytes.Count(data, []byte(sign.of)) * (MaxSnapshot / len(data)); n > sign.most {
			t.Errorf("in %d bytes there would be %d times %s", MaxSnapshot, n, sign.of)
		}

	}
}
