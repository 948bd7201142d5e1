package healthfeed

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
)

// A snapshot in a file says in its first field what its sum is, since a disk may turn one
// digit into another:
//
//	{"crc32c":"ad5d81c3","inventory":…}
//
// It is the CRC-32C (RFC 3720, section 12.1) of everything behind its digits. A file
// without it, as somebody else may write it, is read as it is.

const sumField = `{"crc32c":"`

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var errSum = errors.New("snapshot: its crc32c is that of another: it is damaged, or was edited and the field left in")

// sumOf is what stands before rest.
func sumOf(rest []byte) []byte {
	return fmt.Appendf(nil, "%s%08x", sumField, crc32.Checksum(rest, castagnoli))
}

// summed returns a snapshot with its sum.
func summed(data []byte) []byte {
	rest := append([]byte(`",`), data[1:]...) // one that is written has a field
	return append(sumOf(rest), rest...)
}

// checkSum returns what is wrong with a snapshot that has a sum.
func checkSum(data []byte) error {
	if !bytes.HasPrefix(data, []byte(sumField)) {
		return nil
	}
	digits := min(len(data), len(sumField)+8)
	if !bytes.Equal(data[:digits], sumOf(data[digits:])) {
		return errSum
	}
	return nil
}
