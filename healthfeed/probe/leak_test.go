package probe

import (
	"testing"

	"github.com/tandem-cdn/tandem/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }
