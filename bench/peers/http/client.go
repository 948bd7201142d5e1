package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	quic "github.com/quic-go/quic-go/http3"
)

// client returns a client that speaks nothing but p.
func (p protocol) client() *http.Client {
	trusting := &tls.Config{InsecureSkipVerify: true} // of a certificate that was made for this
	if p == http3 {
		return &http.Client{Transport: &quic.Transport{TLSClientConfig: trusting, DisableCompression: true}}
	}
	t := &http.Transport{TLSClientConfig: trusting, DisableCompression: true, Protocols: new(http.Protocols)}
	t.Protocols.SetHTTP1(p != http2)
	t.Protocols.SetHTTP2(p == http2)
	return &http.Client{Transport: t}
}

// get asks once and returns the content.
func get(client *http.Client, url string, p protocol) ([]byte, error) {
	resp, err := client.Get(url)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	major := map[protocol]int{http1: 1, tls1: 1, http2: 2, http3: 3}[p]
	if resp.StatusCode != http.StatusOK || resp.ProtoMajor != major {
		return nil, fmt.Errorf("%s %s", resp.Proto, resp.Status)
	}
	return io.ReadAll(resp.Body)
}

// loadH3 asks for url over HTTP/3 for some seconds and says how many answers came.
func loadH3(out io.Writer, url string, seconds int) error {
	var (
		answered atomic.Int64
		done     sync.WaitGroup
		failed   = make(chan error, connections*streams)
	)
	begun := time.Now()
	end := begun.Add(time.Duration(seconds) * time.Second)
	for range connections {
		client := http3.client()
		defer client.CloseIdleConnections()
		for range streams {
			done.Go(func() {
				size := int64(-1)
				for time.Now().Before(end) {
					n, err := discard(client, url)
					if err == nil && size >= 0 && n != size {
						err = errors.New("answers of different lengths")
					}
					if err != nil {
						failed <- err
						return
					}
					size = n
					answered.Add(1)
				}
			})
		}
	}
	done.Wait()
	select {
	case err := <-failed:
		return err
	default:
	}
	_, err := fmt.Fprintf(out, "%d answers in %.3fs\n", answered.Load(), time.Since(begun).Seconds())
	return err
}

// discard asks once and returns the length of the content.
func discard(client *http.Client, url string) (int64, error) {
	resp, err := client.Get(url)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return 0, errors.New(resp.Status)
	}
	return io.Copy(io.Discard, resp.Body)
}
