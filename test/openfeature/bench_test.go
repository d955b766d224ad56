package openfeature

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/modeshift/modeshift/actions/flags"
)

// BenchmarkOFREPBulk asks for all flags over kept connections of the loopback, as fast as one core gives: it carries the
// server and the clients, which write the same bytes again and again and read no more of an answer than they must.
func BenchmarkOFREPBulk(b *testing.B) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	server := httptest.NewServer(flags.Handler(newService(), flags.Options{Guard: guard{}}))
	defer server.Close()
	const body = `{"context":{"service":"checkout","targetingKey":"pod-1"}}`
	request := func(header string) []byte {
		return fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\n%sContent-Length: %d\r\n\r\n%s", flags.Path, token, header, len(body), body)
	}
	first, err := http.NewRequest(http.MethodPost, server.URL+flags.Path, strings.NewReader(body))
	if err != nil {
		b.Fatal(err)
	}
	first.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(first)
	if err != nil {
		b.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil {
		b.Fatal(err)
	}
	for name, c := range map[string]struct {
		text   []byte
		status int
	}{
		"whole":     {request(""), http.StatusOK},
		"unchanged": {request("If-None-Match: " + resp.Header.Get("ETag") + "\r\n"), http.StatusNotModified},
	} {
		b.Run(name, func(b *testing.B) {
			const clients = 16
			var left atomic.Int64
			left.Store(int64(b.N))
			var wg sync.WaitGroup
			b.ReportAllocs()
			b.ResetTimer()
			for range clients {
				wg.Go(func() {
					conn, err := net.Dial("tcp", server.Listener.Addr().String())
					if err != nil {
						b.Error(err)
						return
					}
					defer func() { _ = conn.Close() }()
					in := bufio.NewReader(conn)
					for left.Add(-1) >= 0 {
						if _, err := conn.Write(c.text); err != nil {
							b.Error(err)
							return
						}
						resp, err := http.ReadResponse(in, nil)
						if err != nil {
							b.Error(err)
							return
						}
						if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != c.status {
							b.Errorf("%d, %v", resp.StatusCode, err)
							return
						}
						_ = resp.Body.Close()
					}
				})
			}
			wg.Wait()
			rate := float64(b.N) / b.Elapsed().Seconds()
			b.ReportMetric(rate, "req/s")
			if name == "whole" {
				fmt.Printf("\nBENCH ofrep_bulk_rps %.0f requests\n", rate)
			}
		})
	}
}
