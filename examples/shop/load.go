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

// Load is the shop's visitors: requests at a bounded rate, to all instances in turn. It counts what they got.
type Load struct {
	urls   []string
	client *http.Client
	pages  tally
	paid   tally
}

// tally counts answers, and those of them that are errors.
type tally struct{ answers, errors atomic.Uint64 }

// loadWorkers bounds the requests under way. When all wait, visitors stay away: a slow shop is not piled upon.
const loadWorkers = 16

// NewLoad prepares visitors for the instances at urls, of which there is at least one. Run sends them.
func NewLoad(urls ...string) *Load {
	return &Load{urls: urls, client: &http.Client{
		Timeout:   3 * time.Second,
		Transport: &http.Transport{MaxIdleConnsPerHost: loadWorkers},
	}}
}

// Run sends perSecond visitors a second until ctx ends, three of four to a product page, and returns when the last of them has
// been answered.
func (l *Load) Run(ctx context.Context, perSecond int) {
	l.send(ctx, perSecond, func(n int) {
		// Each instance gets its share of product pages, however many instances there are: the visits of one go round by fours.
		path, at := "/", n%len(l.urls)
		if (n/len(l.urls)+at)%4 != 0 {
			path = fmt.Sprintf("/product/%d", n%len(products))
		}
		l.request(ctx, http.MethodGet, l.urls[at]+path, &l.pages)
	})
}

// Pay sends perSecond customers a second who pay, until ctx ends, and returns when the last of them has been answered.
func (l *Load) Pay(ctx context.Context, perSecond int) {
	l.send(ctx, perSecond, func(n int) { l.request(ctx, http.MethodPost, l.urls[n%len(l.urls)]+"/pay", &l.paid) })
}

func (l *Load) send(ctx context.Context, perSecond int, one func(n int)) {
	defer l.client.CloseIdleConnections()
	visits := make(chan int)
	var workers sync.WaitGroup
	for range loadWorkers {
		workers.Go(func() {
			for n := range visits {
				one(n)
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

// Visits returns the counts of pages since the start.
func (l *Load) Visits() Visits { return l.pages.now() }

// Payments returns the counts of payments since the start.
func (l *Load) Payments() Visits { return l.paid.now() }

func (t *tally) now() Visits {
	// Errors first: read the other way round they could exceed the answers.
	errors := t.errors.Load()
	return Visits{t.answers.Load(), errors}
}

func (l *Load) request(ctx context.Context, method, url string, got *tally) {
	req, err := http.NewRequestWithContext(ctx, method, url, nil)
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
	got.answers.Add(1) // before the errors: see Visits
	if err != nil || res.StatusCode >= http.StatusInternalServerError {
		got.errors.Add(1)
	}
}
