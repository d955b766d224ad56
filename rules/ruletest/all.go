package ruletest

import (
	"context"
	"runtime"
	"slices"
	"strings"
	"sync"
)

// RunAll runs the tests of files at the same time, as many as there are processors. The results are in the order of the files and of
// the tests in them. told, where it is not nil, hears of each that has ended, from one goroutine at a time. What they reach is added to
// cov, where that is not nil.
func RunAll(ctx context.Context, files []*File, cov *Coverage, told func(Result)) []Result {
	var tests []*Test
	for _, f := range files {
		tests = append(tests, f.Tests...)
	}
	return each(tests, func(t *Test) Result {
		defer t.forget()
		return t.Run(ctx, cov)
	}, told)
}

// each runs each of some tests once.
func each(tests []*Test, run func(*Test) Result, told func(Result)) []Result {
	results := make([]Result, len(tests))
	next := make(chan int)
	var (
		wg sync.WaitGroup
		mu sync.Mutex // held while told is called
	)
	for range min(len(tests), runtime.GOMAXPROCS(0)) {
		wg.Go(func() {
			for i := range next {
				results[i] = run(tests[i])
				if told != nil {
					mu.Lock()
					told(results[i])
					mu.Unlock()
				}
			}
		})
	}
	for i := range tests {
		next <- i
	}
	close(next)
	wg.Wait()
	return results
}

// Only leaves the tests whose name contains a text.
func (f *File) Only(text string) {
	f.Tests = slices.DeleteFunc(f.Tests, func(t *Test) bool { return !strings.Contains(t.Name, text) })
}
