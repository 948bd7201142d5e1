package cachemodel

import (
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strconv"
	"strings"
)

// checkContent asks whether the content of an answer is that of the
// representation which the exchange speaks of, whole or the parts it claims.
func checkContent(a *Answer, x *Exchange, _ bool) error {
	length := a.Header.Get("Content-Length")
	switch {
	case a.Method == http.MethodHead, a.Status == http.StatusNotModified:
		if a.Body != "" {
			return fmt.Errorf("content %q where there is none", a.Body)
		}
		if a.Method == http.MethodHead && a.Status == x.Status && x.Status == 200 && length != "" && length != strconv.Itoa(len(x.Content)) {
			return fmt.Errorf("Content-Length %s, want %d", length, len(x.Content))
		}
		return nil
	case a.Broken:
		if a.Status != http.StatusPartialContent && !strings.HasPrefix(x.Content, a.Body) {
			return fmt.Errorf("content %q is not the beginning of %q", a.Body, x.Content)
		}
		return nil
	case length != "" && length != strconv.Itoa(len(a.Body)):
		return fmt.Errorf("Content-Length %s, and %d bytes", length, len(a.Body))
	case a.Status == http.StatusPartialContent:
		return checkParts(a, x.Content)
	case a.Status == http.StatusRequestedRangeNotSatisfiable:
		if a.Header.Get("Content-Range") != fmt.Sprintf("bytes */%d", len(x.Content)) {
			return fmt.Errorf("Content-Range %q of %d bytes", a.Header.Get("Content-Range"), len(x.Content))
		}
		return nil
	case x.Broken && x.Status != http.StatusNotModified && x.Method == http.MethodGet:
		return fmt.Errorf("the content broke off, and the answer did not")
	case a.Body != x.Content:
		return fmt.Errorf("content %q, want %q", a.Body, x.Content)
	}
	return nil
}

// checkParts asks whether each part of a 206 is what it says it is.
func checkParts(a *Answer, whole string) error {
	kind, params, _ := mime.ParseMediaType(a.Header.Get("Content-Type"))
	if kind != "multipart/byteranges" {
		return checkPart(a.Header.Get("Content-Range"), a.Body, whole)
	}
	parts := multipart.NewReader(strings.NewReader(a.Body), params["boundary"])
	for n := 0; ; n++ {
		part, err := parts.NextPart()
		switch {
		case err == io.EOF && n > 1:
			return nil
		case err != nil:
			return fmt.Errorf("part %d of %q: %v", n, a.Body, err)
		}
		body, err := io.ReadAll(part)
		if err != nil {
			return err
		}
		if err := checkPart(part.Header.Get("Content-Range"), string(body), whole); err != nil {
			return err
		}
	}
}

func checkPart(contentRange, body, whole string) error {
	var first, last, length int
	if _, err := fmt.Sscanf(contentRange, "bytes %d-%d/%d", &first, &last, &length); err != nil {
		return fmt.Errorf("Content-Range %q: %v", contentRange, err)
	}
	if length != len(whole) || first < 0 || last < first || last >= length || whole[first:last+1] != body {
		return fmt.Errorf("%q is not %s of %q", body, contentRange, whole)
	}
	return nil
}
