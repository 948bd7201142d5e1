package querylog

import (
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// Stats are about the lines of a log.
type Stats struct {
	Queries uint64    // lines that are queries
	Unread  uint64    // lines that are not
	First   []BadLine // the first of those
}

// A BadLine is a line without a query that can be read.
type BadLine struct {
	File string
	Line int // from 1
	Err  error
}

// String is file, line and what is wrong.
func (b BadLine) String() string { return fmt.Sprintf("%s:%d: %v", b.File, b.Line, b.Err) }

// Limits of a log.
const (
	maxLine = 64 << 10 // bytes; a longer line is not read
	maxBad  = 5        // lines that are remembered because they cannot be read
)

// Read calls f with each query of a log and adds to the statistics. The error is
// that of r. Empty lines, and those that begin with a #, count for nothing.
func (s *Stats) Read(r io.Reader, file string, f func(*Query)) error {
	b := bufio.NewReaderSize(r, maxLine)
	for n := 1; ; n++ {
		text, err := b.ReadSlice('\n')
		long := errors.Is(err, bufio.ErrBufferFull)
		for errors.Is(err, bufio.ErrBufferFull) {
			_, err = b.ReadSlice('\n')
		}
		if err != nil && err != io.EOF {
			return fmt.Errorf("%s:%d: %w", file, n, err)
		}
		if long {
			s.unread(file, n, fmt.Errorf("the line is longer than %d bytes", maxLine))
		} else {
			s.line(string(text), file, n, f)
		}
		if err == io.EOF {
			return nil
		}
	}
}

func (s *Stats) line(text, file string, n int, f func(*Query)) {
	text = strings.TrimSpace(text)
	if text == "" || text[0] == '#' {
		return
	}
	q, err := ParseLine(text)
	if err != nil {
		s.unread(file, n, err)
		return
	}
	s.Queries++
	f(&q)
}

func (s *Stats) unread(file string, n int, err error) {
	s.Unread++
	if len(s.First) < maxBad {
		s.First = append(s.First, BadLine{file, n, err})
	}
}

// ReadFile is Read for a file, which may be compressed (.gz, .zst), or for what
// comes in if its name is "-".
func (s *Stats) ReadFile(file string, stdin io.Reader, f func(*Query)) error {
	r := stdin
	if file == "-" {
		file = "stdin"
	} else {
		opened, err := os.Open(file)
		if err != nil {
			return err // names the file
		}
		defer opened.Close()
		r = opened
	}
	switch {
	case strings.HasSuffix(file, ".gz"):
		z, err := gzip.NewReader(r)
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		r = z
	case strings.HasSuffix(file, ".zst"):
		z, err := zstd.NewReader(r)
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		defer z.Close()
		r = z
	}
	return s.Read(r, file, f)
}
