package zerocopy

import (
	"errors"
	"io"
	"os"
	"syscall"
)

// window is what net/http and the idle-timeout writer get to see of a file:
// the bytes up to end, no matter how long the file is by now.
//
//	offset                                      end      size of a grown file
//	  │ chunk       │ chunk       │ chunk       │ │           │
//	  ├═════════════╪═════════════╪═════════════╪─┤·  ·  ·  · │
//	    sendfile      sendfile      sendfile     Read
//
// The net package sends with sendfile whatever has a SyscallConn, and stops
// only at the limit that the idle-timeout writer put around the window: one
// chunk. So the descriptor is lent out only while a whole chunk is left.
// Otherwise a file that grows during the transfer would run over the
// Content-Length and into the next response of the connection. The rest, less
// than a chunk, is read and copied, with the bound in Read.
//
// sendfile moves the offset of the open file description, and Read continues
// there. A window therefore needs a file of its own.
type window struct {
	file  *os.File
	end   int64 // offset after the last byte
	chunk int64 // most bytes one lending can send; 0 if whoever made the window bounds it
	lent  bool  // the descriptor was lent out at least once
	err   error // first failure to read the file, io.EOF aside
}

var errNoFullChunk = errors.New("less than a chunk left")

// left returns how many bytes lie between the file's offset and the end.
func (w *window) left() (int64, error) {
	offset, err := w.file.Seek(0, io.SeekCurrent)
	if err != nil {
		w.err = err
		return 0, err
	}
	return w.end - offset, nil
}

// Read reads from the file, and not beyond the end of the window.
func (w *window) Read(p []byte) (int, error) {
	left, err := w.left()
	if err != nil {
		return 0, err
	}
	if left <= 0 {
		return 0, io.EOF
	}
	n, err := w.file.Read(p[:min(int64(len(p)), left)])
	if err != nil && err != io.EOF {
		w.err = err
	}
	return n, err
}

// SyscallConn lends the descriptor for one chunk. It fails when less is left,
// and then the net package copies.
func (w *window) SyscallConn() (syscall.RawConn, error) {
	left, err := w.left()
	if err != nil {
		return nil, err
	}
	if left <= 0 || left < w.chunk {
		return nil, errNoFullChunk
	}
	conn, err := w.file.SyscallConn()
	w.lent = w.lent || err == nil
	return conn, err
}
