package prom

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/common/config"
)

// fault answers a query in Prometheus's stead; genuine gets Prometheus's own answer.
type fault func(w http.ResponseWriter, r *http.Request, genuine func() []byte)

// proxy stands between an evaluator and a real Prometheus, counts the queries and spoils the answers.
type proxy struct {
	*httptest.Server

	mu      sync.Mutex // guards fault, queries
	fault   fault
	queries []url.Values
}

func newProxy(t *testing.T, upstream string) *proxy {
	p := &proxy{}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil {
			t.Error(err)
		}
		p.mu.Lock()
		p.queries = append(p.queries, r.Form)
		fault := p.fault
		p.mu.Unlock()
		genuine := func() []byte {
			resp, err := http.PostForm(upstream+r.URL.Path, r.Form)
			if err != nil {
				t.Error(err)
				return nil
			}
			defer func() { _ = resp.Body.Close() }()
			body, err := io.ReadAll(resp.Body)
			if err != nil || resp.StatusCode != http.StatusOK {
				t.Errorf("%v: %s %s %v", r.Form, resp.Status, body, err)
			}
			return body
		}
		if fault == nil {
			_, _ = w.Write(genuine())
			return
		}
		fault(w, r, genuine)
	}))
	t.Cleanup(p.Close)
	return p
}

func (p *proxy) spoil(f fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault = f
}

// sent returns the queries since the last call.
func (p *proxy) sent() []url.Values {
	p.mu.Lock()
	defer p.mu.Unlock()
	q := p.queries
	p.queries = nil
	return q
}

func dial(t *testing.T, url string) []Source {
	t.Helper()
	s, err := Dial("main", config.DefaultHTTPClientConfig, url)
	if err != nil {
		t.Fatal(err)
	}
	return []Source{s}
}

// say answers with a status and a body.
func say(status int, body string) fault {
	return func(w http.ResponseWriter, _ *http.Request, _ func() []byte) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// hang keeps the caller waiting until it goes away.
func hang(_ http.ResponseWriter, r *http.Request, _ func() []byte) { <-r.Context().Done() }

// truncated gives half an answer that looks whole to HTTP.
func truncated(w http.ResponseWriter, _ *http.Request, genuine func() []byte) {
	body := genuine()
	_, _ = w.Write(body[:len(body)/2])
}

// broken gives half an answer and closes the connection.
func broken(w http.ResponseWriter, _ *http.Request, genuine func() []byte) {
	body := genuine()
	w.Header().Set("Content-Length", "100000")
	_, _ = w.Write(body[:len(body)/2])
	panic(http.ErrAbortHandler)
}

// ahead answers as a server whose clock is ahead.
func ahead(by time.Duration) fault {
	return func(w http.ResponseWriter, _ *http.Request, genuine func() []byte) {
		w.Header().Set("Date", time.Now().Add(by).UTC().Format(http.TimeFormat))
		_, _ = w.Write(genuine())
	}
}

// adding adds a member to genuine answers.
func adding(name string, list ...string) fault {
	return func(w http.ResponseWriter, _ *http.Request, genuine func() []byte) {
		var body map[string]any
		if err := json.Unmarshal(genuine(), &body); err != nil {
			panic(err)
		}
		body[name] = list
		if err := json.NewEncoder(w).Encode(body); err != nil {
			panic(err)
		}
	}
}

// endless answers with more than anybody should read.
func endless(w http.ResponseWriter, r *http.Request, _ func() []byte) {
	_, _ = io.WriteString(w, `{"status":"success","data":{"resultType":"vector","result":[`)
	series := bytes.Repeat([]byte(`{"metric":{"a":"b"},"value":[0,"1"]},`), 1000)
	for r.Context().Err() == nil {
		if _, err := w.Write(series); err != nil {
			return
		}
	}
}
