package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// proxy stands between modeshift and a server. What passes through it is never timed against the server's processor: it can ask
// for more than modeshift does.
type proxy struct {
	URL string

	mu       sync.Mutex // guards what follows
	queries  int
	samples  int64
	byWindow map[string]*touched // with count
	answers  []time.Time         // when each had been handed on
}

// touched is what the queries over one window took.
type touched struct {
	queries int
	samples int64
}

// window is the range in a query.
var window = regexp.MustCompile(`\[([0-9a-z]+)[\]:]`)

// newProxy makes a proxy that hands everything on; with count, one that also asks how many samples each query touches.
func newProxy(t testing.TB, server string, count bool) *proxy {
	t.Helper()
	target, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{byWindow: map[string]*touched{}}
	next := httputil.NewSingleHostReverseProxy(target)
	if count {
		next.ModifyResponse = p.count
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if count {
			if err := r.ParseForm(); err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			form := r.Form
			form.Set("stats", "all")
			r = r.WithContext(context.WithValue(r.Context(), queryKey{}, form.Get("query")))
			r.Method, r.URL.RawQuery = http.MethodPost, ""
			body := form.Encode()
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.Header.Del("Content-Length")
			r.Header.Del("Accept-Encoding") // the transport of the proxy unpacks what it asked for itself
		}
		next.ServeHTTP(w, r)
		p.mu.Lock()
		defer p.mu.Unlock()
		p.queries++
		p.answers = append(p.answers, time.Now())
	}))
	t.Cleanup(s.Close)
	p.URL = s.URL
	return p
}

func (p *proxy) count(resp *http.Response) error {
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	resp.Header.Del("Content-Length")
	resp.ContentLength = int64(len(body))
	var r reply
	if json.Unmarshal(body, &r) == nil {
		over := "an instant"
		query, _ := resp.Request.Context().Value(queryKey{}).(string)
		if m := window.FindStringSubmatch(query); m != nil {
			over = m[1]
		}
		n := r.Data.Stats.Samples.TotalQueryableSamples
		p.mu.Lock()
		defer p.mu.Unlock()
		p.samples += n
		if p.byWindow[over] == nil {
			p.byWindow[over] = &touched{}
		}
		p.byWindow[over].queries++
		p.byWindow[over].samples += n
	}
	return nil
}

// queryKey is where the context of a request keeps its query.
type queryKey struct{}

// shares says what each window took of what was counted, per tick of so many, the most first.
func (p *proxy) shares(ticks int) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	windows := slices.SortedFunc(maps.Keys(p.byWindow), func(a, b string) int { return int(p.byWindow[b].samples - p.byWindow[a].samples) })
	for i, w := range windows {
		t := p.byWindow[w]
		windows[i] = fmt.Sprintf("%s %.3f by %.1f queries", w, float64(t.samples)/float64(ticks)/1e6, float64(t.queries)/float64(ticks))
	}
	return strings.Join(windows, ", ")
}

// reset returns how many queries were passed on and how many samples they touched since the last reset.
func (p *proxy) reset() (queries int, samples int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	queries, samples = p.queries, p.samples
	p.queries, p.samples, p.answers, p.byWindow = 0, 0, nil, map[string]*touched{}
	return queries, samples
}

// before is the last answer handed on before an instant; zero when there was none.
func (p *proxy) before(at time.Time) (last time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, a := range p.answers {
		if !a.After(at) && a.After(last) {
			last = a
		}
	}
	return last
}
