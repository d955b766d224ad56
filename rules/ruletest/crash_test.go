package ruletest

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/modeshift/modeshift/engine/crash"
	"github.com/modeshift/modeshift/rules"
)

const queueRules = `version: modeshift/v1
service: queue
slis:
  - {name: length, query: queue_length}
modes:
  - {name: normal}
  - {name: degraded}
transitions:
  - {name: shed, from: [normal], to: degraded, when: 'sli("length") > 100.0'}
  - {name: recover, from: [degraded], to: normal, when: 'sli("length") < 50.0'}
`

const queueTests = `rule_files: [queue.yaml]
tests:
  - name: a long queue sheds load
    input_series: [{series: queue_length, values: 0x4 200x40}]
    expect: [{between: [1m, 2m], mode: degraded}]
  - name: a short queue does not
    input_series: [{series: queue_length, values: 20x40}]
    expect: [{at: 5m, mode: normal}]
`

func queueFile(t *testing.T) *File {
	t.Helper()
	f, err := parse(rules.File{Name: "queue_test.yaml", Data: []byte(queueTests)}, Options{}, []rules.File{{Name: "queue.yaml", Data: []byte(queueRules)}})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// The goroutines that run tests are many, and a panic on one of them would end the process with what all others have found.
func TestAPanicInOneTestFailsThatTestAlone(t *testing.T) {
	f := queueFile(t)
	broken := f.Tests[0]
	broken.file = nil // whatever reads it panics
	var told []string
	results := RunAll(t.Context(), []*File{f}, NewCoverage([]*File{queueFile(t)}), func(r Result) { told = append(told, r.Name) })
	if len(results) != 2 || len(told) != 2 {
		t.Fatalf("%d results, and told of %v", len(results), told)
	}
	bad, good := results[0], results[1]
	if !good.Passed || good.Error != "" || good.Crash != nil {
		t.Errorf("the other one: %+v", good)
	}
	if bad.Passed || bad.Position != "queue_test.yaml:3:5" || !strings.HasPrefix(bad.Error, "modeshift failed, which is a fault of its own: runtime error: invalid memory address") ||
		!strings.Contains(bad.Error, "report it") || strings.Contains(bad.Error, "goroutine") {
		t.Errorf("the one that panics: %+v", bad)
	}
	var e *crash.Error
	if !errors.As(bad.Crash, &e) || !strings.Contains(string(e.Stack), "ruletest.(*Test)") {
		t.Errorf("its stack is lost: %v", bad.Crash)
	}
}

func TestAPanicOnAMutantIsNoNotice(t *testing.T) {
	whole, broken := queueFile(t), queueFile(t)
	results := RunAll(t.Context(), []*File{whole}, nil, nil)
	want, err := Mutate(t.Context(), []*File{whole}, results, MutateOptions{})
	if err != nil || want.Failed != nil || want.Noticed == 0 {
		t.Fatalf("%+v, %v", want, err)
	}
	for _, one := range broken.Tests {
		one.file = nil // of which what is shown to the mutants is drawn
	}
	tried := 0
	m, err := Mutate(t.Context(), []*File{broken}, results, MutateOptions{Told: func(int, int) { tried++ }})
	if err != nil {
		t.Fatal(err)
	}
	if tried != want.Tried || len(m.Failed) == 0 || m.Noticed >= want.Noticed || m.Noticed+len(m.Survived)+len(m.Failed) != want.Tried {
		t.Errorf("%d tried, %+v", tried, m)
	}
	if !strings.HasPrefix(m.Failed[0], "queue.yaml:") || !strings.Contains(m.Failed[0], ": queue_test.yaml:") || !strings.Contains(m.Failed[0], ":5: modeshift failed, which is a fault of its own") {
		t.Errorf("it says %s", m.Failed[0])
	}
	if crash.Of(m.Crash) == nil {
		t.Error("the stack is lost")
	}
}

func TestMutantsThatAreNotTriedAreNotCounted(t *testing.T) {
	f := queueFile(t)
	results := RunAll(t.Context(), []*File{f}, nil, nil)
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	var told []int
	m, err := Mutate(ctx, []*File{f}, results, MutateOptions{Told: func(tried, of int) {
		if told = append(told, tried, of); tried == 2 {
			cancel(enough)
		}
	}})
	if m != nil || !errors.Is(err, enough) {
		t.Errorf("%+v, %v", m, err)
	}
	if len(told) != 4 || told[2] != 2 || told[3] <= 2 {
		t.Errorf("told of %v, want of two", told)
	}
}
