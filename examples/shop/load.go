package shop

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Load is the shop's visitors: requests at a bounded rate, to all instances in turn, three of four for a product page. It
// counts what they got.
type Load struct {
	urls    []string
	client  *http.Client
	answers atomic.Uint64
	errors  atomic.Uint64
}

// loadWorkers bounds the requests under way. When all wait, visitors stay away: a slow shop is not piled upon.
const loadWorkers = 16

// NewLoad prepares visitors for the instances at urls, of which there is at least one. Run sends them.
func NewLoad(urls ...string) *Load {
	return &Load{urls: urls, client: &http.Client{
		Timeout:   3 * time.Second,
		Transport: &http.Transport{MaxIdleConnsPerHost: loadWorkers},
	}}
}

// Run sends perSecond requests a second until ctx ends, and returns when the last of them has been answered.
func (l *Load) Run(ctx context.Context, perSecond int) {
	defer l.client.CloseIdleConnections()
	visits := make(chan int)
	var workers sync.WaitGroup
	for range loadWorkers {
		workers.Go(func() {
			for n := range visits {
				l.visit(ctx, n)
			}
		})
	}
	defer workers.Wait()
	defer close(visits)
	t := time.NewTicker(time.Second / time.Duration(perSecond))
	defer t.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		select {
		case visits <- n:
		default: // all workers wait
		}
	}
}

// Visits counts what the visitors got.
type Visits struct {
	Answers uint64 // all of them
	Errors  uint64 // of these: a status of 500 or more, or no answer at all
}

// Visits returns the counts since the start.
func (l *Load) Visits() Visits {
	// Errors first: read the other way round they could exceed the answers.
	errors := l.errors.Load()
	return Visits{l.answers.Load(), errors}
}

func (l *Load) visit(ctx context.Context, n int) {
	path := "/"
	if n%4 != 0 {
		path = fmt.Sprintf("/product/%d", n%len(products))
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, l.urls[n%len(l.urls)]+path, nil)
	if err != nil {
		panic(fmt.Sprintf("shop: NewLoad was given no URL: %v", err))
	}
	res, err := l.client.Do(req)
	if err == nil {
		_, err = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close() // what matters has been read
	}
	if ctx.Err() != nil {
		return // cut short by the end of the load: no answer, no error
	}
	l.answers.Add(1) // before the errors: see Visits
	if err != nil || res.StatusCode >= http.StatusInternalServerError {
		l.errors.Add(1)
	}
}
