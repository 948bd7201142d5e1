package healthfeed

import (
	"cmp"
	"context"
	"log/slog"
)

// A complaint logs an error when it begins or changes and when it is over, not
// every time it is met.
type complaint struct {
	log  *slog.Logger
	what string
	bad  string // what follows from the error; by default that the data is refused
	once bool   // do not log that the error changed
	own  bool   // it is a file of the operator's: an error, as others of his files, and no warning
	last string
}

func (c *complaint) note(err error) {
	switch {
	case err == nil && c.last != "":
		c.last = ""
		c.log.Info("good again", "what", c.what)
	case err != nil && err.Error() != c.last:
		began := c.last == ""
		c.last = err.Error()
		if !began && c.once {
			return
		}
		level := slog.LevelWarn
		if c.own {
			level = slog.LevelError
		}
		c.log.Log(context.Background(), level, cmp.Or(c.bad, "refused; the last good data stays"), "what", c.what, "err", err)
	}
}
