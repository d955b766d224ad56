package ruletest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/modeshift/modeshift/engine/crash"
	"github.com/modeshift/modeshift/rules"
	"github.com/modeshift/modeshift/rules/mutant"
)

// MutateOptions say which mutants are tried.
type MutateOptions struct {
	Most       int                 // of them, spread over all there are; 0: all
	Boundaries bool                // those too that differ only where a value is exactly its limit
	Told       func(tried, of int) // hears of each that was tried, from one goroutine at a time; nil: nobody listens
}

// Mutation is what tests made of mutants: rule files that differ in one place from those that are tested.
type Mutation struct {
	Of       int        `json:"of"`       // mutants there are
	Tried    int        `json:"tried"`    // of these
	Noticed  int        `json:"noticed"`  // of those that were tried: some test failed
	Survived []Survivor `json:"survived"` // no test noticed them
	// Failed are those of which nobody knows, because modeshift itself failed on them; Crash are the panics, with their stacks.
	Failed []string `json:"failed,omitempty"`
	Crash  error    `json:"-"`
}

// Survivor is a mutant that no test noticed.
type Survivor struct {
	Position string `json:"position"` // file:line:column
	Kind     string `json:"kind"`
	Where    string `json:"where"`
	Was      string `json:"was"`
	Is       string `json:"is,omitempty"` // empty: it was left out
}

// String is one line for people.
func (s Survivor) String() string {
	if s.Is == "" {
		return fmt.Sprintf("%s: %s: %s left out", s.Position, s.Where, s.Was)
	}
	return fmt.Sprintf("%s: %s: %s → %s", s.Position, s.Where, s.Was, s.Is)
}

// suspect is a mutant, with the files whose tests are about it.
type suspect struct {
	mutant.Mutant
	files []*File
}

// Mutate runs the tests of files against mutants of their rule files. Each is tried by the tests that are about its file, those that
// take the least time first, until one fails. All tests have to pass without a mutant; results are those of that run.
//
// Prometheus shows a mutant what it shows the rules themselves: what is drawn for a scenario is drawn once, for the rules as they are.
func Mutate(ctx context.Context, files []*File, results []Result, opts MutateOptions) (*Mutation, error) {
	took := map[string]int64{}
	for _, r := range results {
		if !r.Passed {
			return nil, errors.New("mutants are tried when every test passes")
		}
		took[r.Position] = int64(r.Took)
	}
	suspects, err := suspectsOf(files, opts.Boundaries)
	if err != nil {
		return nil, err
	}
	m := &Mutation{Of: len(suspects), Survived: []Survivor{}}
	if opts.Most > 0 && len(suspects) > opts.Most {
		some := make([]suspect, opts.Most)
		for i := range some {
			some[i] = suspects[i*len(suspects)/opts.Most]
		}
		suspects = some
	}
	noticed, crashed := make([]bool, len(suspects)), make([]error, len(suspects))
	next := make(chan int)
	var (
		wg sync.WaitGroup
		mu sync.Mutex // guards m.Tried, and is held while Told is called
	)
	for range min(len(suspects), runtime.GOMAXPROCS(0)) {
		wg.Go(func() {
			for i := range next {
				crashed[i] = crash.Try(func() (err error) {
					noticed[i], err = suspects[i].noticed(ctx, took)
					return err
				})
				mu.Lock()
				if ctx.Err() == nil { // else it was cut short, or may have been
					m.Tried++
					if opts.Told != nil {
						opts.Told(m.Tried, len(suspects))
					}
				}
				mu.Unlock()
			}
		})
	}
	for i := range suspects {
		next <- i
	}
	close(next)
	wg.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	for i := range suspects {
		s := &suspects[i]
		one := Survivor{s.Position(), string(s.Kind), s.Where, s.Was, s.Is}
		switch {
		case crashed[i] != nil:
			err := fmt.Errorf("%s: %w", one, crashed[i])
			m.Failed, m.Crash = append(m.Failed, err.Error()), errors.Join(m.Crash, err)
		case noticed[i]:
			m.Noticed++
		default:
			m.Survived = append(m.Survived, one)
		}
	}
	return m, nil
}

// suspectsOf are the mutants of the rule files that files name, each once, by their places.
func suspectsOf(files []*File, boundaries bool) ([]suspect, error) {
	var list []suspect
	at := map[string]int{}
	for _, f := range files {
		mutants, err := mutant.Of(f.rules, f.loading())
		if err != nil {
			return nil, err
		}
		for _, m := range mutants {
			if m.Kind == mutant.Boundary && !boundaries {
				continue
			}
			key := m.String()
			i, known := at[key]
			if !known {
				i = len(list)
				at[key] = i
				list = append(list, suspect{Mutant: m})
			}
			list[i].files = append(list[i].files, f)
		}
	}
	slices.SortStableFunc(list, func(a, b suspect) int { return comparePositions(a.Position(), b.Position()) })
	return list, nil
}

// noticed reports whether a test fails with the mutant in place of its file. The error is a panic: that modeshift failed says nothing of
// the test.
func (s *suspect) noticed(ctx context.Context, took map[string]int64) (bool, error) {
	var tests []*Test
	for _, f := range s.files {
		others := slices.Clone(f.rules)
		i := slices.IndexFunc(others, func(r rules.File) bool { return r.Name == s.File.Name })
		others[i] = s.File
		changed, err := parse(f.text, Options{Kinds: f.kinds}, others)
		if err != nil {
			return true, nil // the test file does not fit it: somebody would have to look
		}
		for _, t := range changed.Tests {
			k := slices.IndexFunc(f.Tests, func(o *Test) bool { return o.Name == t.Name })
			if k >= 0 { // else it is not among those that are run
				t.origin = f.Tests[k]
				tests = append(tests, t)
			}
		}
	}
	slices.SortStableFunc(tests, func(a, b *Test) int {
		if a, b := took[a.Position], took[b.Position]; a != b {
			return int(min(max(a-b, -1), 1))
		}
		return strings.Compare(a.Position, b.Position)
	})
	for _, t := range tests {
		if ctx.Err() != nil {
			break
		}
		if r := t.Run(ctx, nil); r.Crash != nil {
			return false, fmt.Errorf("%s: %w", r.Position, r.Crash)
		} else if !r.Passed {
			return true, nil
		}
	}
	return false, nil
}
