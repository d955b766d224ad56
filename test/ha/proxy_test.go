package ha

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
)

// proxy stands between a server and its Prometheus, and lies when told to.
type proxy struct {
	t        *testing.T
	upstream *url.URL
	address  string
	url      string

	mu     sync.Mutex // guards what follows
	fault  fault
	server *httptest.Server // nil: connections are refused
}

// fault answers instead of Prometheus; genuine asks it. Nil: the genuine answer.
type fault func(w http.ResponseWriter, r *http.Request, genuine func() []byte)

func newProxy(t *testing.T, upstream string) *proxy {
	t.Helper()
	u, err := url.Parse(upstream)
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{t: t, upstream: u, address: freeAddress(t)}
	p.url = "http://" + p.address
	p.listen()
	t.Cleanup(p.refuse)
	return p
}

// listen takes connections again.
func (p *proxy) listen() {
	p.t.Helper()
	l, err := net.Listen("tcp", p.address)
	if err != nil {
		p.t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(p.serve))
	if err := server.Listener.Close(); err != nil { // the one that came with it
		p.t.Fatal(err)
	}
	server.Listener = l
	server.Start()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.server = server
}

// refuse closes the port: connections are refused from here on.
func (p *proxy) refuse() {
	p.mu.Lock()
	server := p.server
	p.server = nil
	p.mu.Unlock()
	if server != nil {
		server.CloseClientConnections()
		server.Close()
	}
}

// spoil makes the answers from here on those of a fault; nil: genuine again.
func (p *proxy) spoil(f fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault = f
}

func (p *proxy) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client gave up
	}
	p.mu.Lock()
	f := p.fault
	p.mu.Unlock()
	genuine := func() []byte {
		req, err := http.NewRequestWithContext(r.Context(), r.Method, p.upstream.JoinPath(r.URL.Path).String()+"?"+r.URL.RawQuery, bytes.NewReader(body))
		if err != nil {
			p.t.Error(err)
			return nil
		}
		req.Header = r.Header.Clone()
		req.Header.Del("Accept-Encoding") // an answer that is to be changed has to be read
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return nil // the client gave up, and is not there to read this
		}
		text, err := io.ReadAll(resp.Body)
		if closed := resp.Body.Close(); err != nil || closed != nil {
			return nil
		}
		return text
	}
	w.Header().Set("Content-Type", "application/json")
	if f == nil {
		f = func(w http.ResponseWriter, _ *http.Request, genuine func() []byte) { _, _ = w.Write(genuine()) }
	}
	f(w, r, genuine)
}

// say answers with a status and a text, whatever was asked. Whoever does not read it has given up.
func say(status int, text string) fault {
	return func(w http.ResponseWriter, _ *http.Request, _ func() []byte) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text)
	}
}

// hang takes the question and never answers.
func hang(_ http.ResponseWriter, r *http.Request, _ func() []byte) { <-r.Context().Done() }

// partly is the genuine answer with a warning that something is missing.
func partly(w http.ResponseWriter, _ *http.Request, genuine func() []byte) {
	text, ok := bytes.CutPrefix(genuine(), []byte(`{"status":"success",`))
	if ok {
		text = append([]byte(`{"status":"success","warnings":["a store did not answer"],`), text...)
	}
	_, _ = w.Write(text)
}
