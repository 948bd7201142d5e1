package etcdfeed

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"

	"github.com/tandem-cdn/tandem/healthfeed"
)

// packAbove is the length in bytes above which a value is worth compressing. It
// keeps small ones readable with etcdctl.
const packAbove = 4 << 10

// pack compresses what is long (RFC 1952).
func pack(data []byte) []byte {
	if len(data) <= packAbove {
		return data
	}
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write(data) // a Buffer takes everything
	w.Close()
	return b.Bytes()
}

// unpack is the inverse of pack. What would be larger than
// [healthfeed.MaxSnapshot] is an error, so no value can fill the memory. No JSON
// begins with the first byte of gzip.
func unpack(data []byte) ([]byte, error) {
	if !bytes.HasPrefix(data, []byte{0x1f, 0x8b}) {
		if len(data) > healthfeed.MaxSnapshot {
			return nil, tooLarge()
		}
		return data, nil
	}
	r, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	out, err := io.ReadAll(io.LimitReader(r, healthfeed.MaxSnapshot+1))
	if err == nil && len(out) > healthfeed.MaxSnapshot {
		err = tooLarge()
	}
	return out, err
}

func tooLarge() error {
	return fmt.Errorf("the value is larger than %d bytes", healthfeed.MaxSnapshot)
}
