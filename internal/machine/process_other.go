//go:build !unix && !windows

package machine

import "time"

// processTime is unknown here.
func processTime() time.Duration { return 0 }
