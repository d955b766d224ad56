package main

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// progress tells whoever waits how far something long has come, on one line and once a second at most. Where nobody sits at the
// stream nothing is told: in a log it would be noise.
type progress struct {
	w io.Writer // nil: nobody is there

	mu    sync.Mutex // guards what follows
	began time.Time
	last  time.Time
	told  bool
	done  float64 // of 1, as share was told last
}

func newProgress(w io.Writer) *progress {
	if !terminal(w) {
		w = nil
	}
	now := time.Now()
	return &progress{w: w, began: now, last: now}
}

// say shows a line. It may be called by many at once, and often: text is called only when something is shown.
func (p *progress) say(text func(took time.Duration) string) {
	if p.w == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if now.Sub(p.last) < time.Second {
		return
	}
	p.last, p.told = now, true
	_, _ = fmt.Fprintf(p.w, "\r\x1b[K%s", text(now.Sub(p.began))) // that nobody can be told is nothing to be told
}

// share is say for something of which is known how much there is of it; done is a share of 1.
func (p *progress) share(done float64) {
	p.mu.Lock()
	p.done = max(p.done, done)
	p.mu.Unlock()
	p.say(func(took time.Duration) string { return fmt.Sprintf("%3.0f %%%s", 100*done, left(done, took)) })
}

// far is how far share was told that it has come.
func (p *progress) far() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return fmt.Sprintf("%.0f %%", 100*p.done)
}

// count is say for things that are done one by one.
func (p *progress) count(what string) func(done, of int) {
	return func(done, of int) {
		p.say(func(took time.Duration) string {
			return fmt.Sprintf("%d of %d %s%s", done, of, what, left(float64(done)/float64(of), took))
		})
	}
}

// left is how long the rest takes if it goes on as it began. While nothing is done nobody knows.
func left(done float64, took time.Duration) string {
	if !(done > 0) {
		return ""
	}
	rest := time.Duration(float64(took) / done * max(0, 1-done))
	return fmt.Sprintf(", about %s left", round(rest.Round(time.Second)))
}

// clear takes the line away.
func (p *progress) clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.told {
		_, _ = fmt.Fprint(p.w, "\r\x1b[K")
	}
}
