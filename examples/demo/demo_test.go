package demo

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

// acts are the steps of the story, act by act.
var acts = [][]string{
	{stepTraffic, stepBroken, stepBurning, stepDegraded, stepPaged, stepContained, stepMended, stepRecovered, stepResolved},
	{stepGateway, stepAsked, stepApproved, stepFailover, stepPaid, stepRevived, stepUndone, stepHome},
	{stepRefused, stepDiverged, stepWithheld, stepGaveIn, stepRelapsed, stepRepaired, stepWaves, stepQuiet},
}

// tell runs the demo once and returns what it wrote.
func tell(t *testing.T, o Options) (string, error) {
	t.Helper()
	var out bytes.Buffer
	o.Once, o.Out, o.Timeout = true, &out, cmp.Or(o.Timeout, 4*time.Minute)
	err := Run(t.Context(), o)
	t.Logf("the story:\n%s", out.String())
	return out.String(), err
}

// expectStory checks the lines of the whole main story.
func expectStory(t *testing.T, out string) {
	t.Helper()
	steps := stepsOf(t, out)
	if want := append(slices.Concat(acts...), "end"); !slices.Equal(steps, want) {
		t.Errorf("steps %v\nwant %v", steps, want)
	}
}

// stepsOf checks the lines of a story that happened, and returns the names of its steps.
func stepsOf(t *testing.T, out string) (steps []string) {
	t.Helper()
	var last Line
	for text := range strings.Lines(out) {
		var l Line
		dec := json.NewDecoder(strings.NewReader(text))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&l); err != nil {
			t.Fatalf("not a line of JSON: %v: %s", err, text)
		}
		if !l.OK || l.Time.Before(last.Time) || l.Elapsed < last.Elapsed || l.Text == "" || l.Step != "end" && len(l.Facts) == 0 {
			t.Errorf("step %s: ok %v, at %v after %v: %s", l.Step, l.OK, l.Elapsed, last.Elapsed, text)
		}
		steps, last = append(steps, l.Step), l
	}
	if last.Elapsed > 240 {
		t.Errorf("the story took %v s", last.Elapsed)
	}
	return steps
}

func TestAStoryThatHappensIsToldStepByStepAsJSON(t *testing.T) {
	t.Parallel()
	out, err := tell(t, Options{Start: startFake(""), JSON: true})
	if err != nil {
		t.Fatal(err)
	}
	expectStory(t, out)
}

func TestAModeshiftThatFailsSomewhereDoesNotGetThrough(t *testing.T) {
	t.Parallel()
	// Stories are mostly waiting: more of them go on at a time than there are processors.
	var all errgroup.Group
	all.SetLimit(6)
	for fault, missing := range map[string]string{
		faultBlind:      stepDegraded,
		faultMute:       stepPaged,
		faultFlags:      stepContained,
		faultStuck:      stepRecovered,
		faultChatty:     stepPaged,
		faultForgetful:  stepResolved,
		faultHelped:     stepDegraded,
		faultBeforehand: stepTraffic,
		faultUnasked:    stepAsked,
		faultVague:      stepAsked,
		faultEager:      stepApproved,
		faultTwice:      stepFailover,
		faultAgain:      stepFailover,
		faultClaims:     stepFailover,
		faultUnverified: stepFailover,
		faultReturns:    stepPaid,
		faultIdle:       stepUndone,
		faultUndoTwice:  stepUndone,
		faultOpen:       stepHome,
		faultNowhere:    stepAsked,
		faultTimeless:   stepAsked,
		faultForged:     stepRefused,
		faultSilent:     stepDiverged,
		faultHeedless:   stepWithheld,
		faultGrudge:     stepGaveIn,
		faultAtOnce:     stepRelapsed,
		faultOnward:     stepRelapsed,
		faultKept:       stepRelapsed,
		faultHush:       stepRelapsed,
		faultHurry:      stepWaves,
		faultUneasy:     stepQuiet,
	} {
		all.Go(func() error {
			t.Run(fault, func(t *testing.T) { expectMissing(t, fault, missing) })
			return nil
		})
	}
	_ = all.Wait() // none of them returns an error
}

// slow are the steps that take longer than others where all is well.
var slow = []string{stepWithheld, stepRelapsed, stepWaves}

// expectMissing tells the story of a modeshift with a fault and expects it to lack a step, and all after it.
func expectMissing(t *testing.T, fault, missing string) {
	t.Helper()
	act := slices.IndexFunc(acts, func(steps []string) bool { return slices.Contains(steps, missing) })
	steps := acts[act]
	if act > 0 {
		steps = append(acts[0][:1:1], steps...)
	}
	at := slices.Index(steps, missing)
	o := Options{Start: startFake(fault), JSON: true, act: act + 1, patience: map[string]time.Duration{missing: 5 * time.Second}}
	if slices.Contains(slow, missing) {
		o.patience[missing] = 20 * time.Second
	}
	if missing == stepApproved {
		o.patience[missing] += thinking
	}
	out, err := tell(t, o)
	var i *Incomplete
	if !errors.As(err, &i) {
		t.Fatalf("want an *Incomplete, got %v", err)
	}
	if i.Missing[0] != missing || i.Missing[len(i.Missing)-1] != steps[len(steps)-1] {
		t.Errorf("missing is %v, want all from %s on", i.Missing, missing)
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	var end Line
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &end); err != nil {
		t.Fatal(err)
	}
	if end.Step != "end" || end.OK || !slices.Equal(end.Missing, i.Missing) || !strings.Contains(end.Text, missing) {
		t.Errorf("the last line does not say what is missing: %s", lines[len(lines)-1])
	}
	if len(lines)-1 != at {
		t.Errorf("%d steps were told before %s", len(lines)-1, missing)
	}
}

func TestANoEndsTheStoryAndNothingIsDone(t *testing.T) {
	t.Parallel()
	var out screen
	done := make(chan error)
	go func() {
		done <- Run(t.Context(), Options{Start: startFake(""), Out: &out, Timeout: time.Minute, act: 2})
	}()
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	refuse := answer(t, approveLine, "/api/v1/approvals/%s/review", `{"verdict": "no", "digest": "DIGEST", "reason": "it comes back by itself"}`)
	for refused := false; ; {
		if !refused {
			refused = refuse(out.text())
		}
		select {
		case err := <-done:
			var i *Incomplete
			if !refused || !errors.As(err, &i) || i.Missing[0] != stepApproved || !strings.Contains(err.Error(), "it comes back by itself") {
				t.Errorf("refused %v, got %v", refused, err)
			}
			return
		case <-poll.C:
		}
	}
}

func TestARecoveryThatCameTooEarlyDoesNotGetThrough(t *testing.T) {
	t.Parallel()
	_, err := tell(t, Options{Start: startFake(faultHasty), JSON: true, patience: map[string]time.Duration{stepContained: 5 * time.Second}})
	var i *Incomplete
	if !errors.As(err, &i) {
		t.Fatalf("want an *Incomplete, got %v", err)
	}
	// The shop goes back and forth: it depends on the moment which step notices first.
	if m := i.Missing[0]; m != stepDegraded && m != stepPaged && m != stepContained {
		t.Errorf("missing is %v", i.Missing)
	}
}

// screen is an output that can be read while it is written.
type screen struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.Write(p)
}

func (s *screen) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.String()
}

// answer finds a command line that the demo prints, and does what it says, as whoever has the token that it names. path makes
// the API's path of the command's first argument.
func answer(t *testing.T, printed *regexp.Regexp, path, body string) func(text string) bool {
	return func(text string) bool {
		m := printed.FindStringSubmatch(text)
		if m == nil {
			return false
		}
		token, err := os.ReadFile(m[4])
		if err != nil {
			t.Fatal(err)
		}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, m[3]+fmt.Sprintf(path, m[1]), strings.NewReader(strings.ReplaceAll(body, "DIGEST", m[2])))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
		req.Close = true
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if err := res.Body.Close(); err != nil || res.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s, %v", m[0], res.Status, err)
		}
		return true
	}
}

var (
	approveLine = regexp.MustCompile(`modeshift approve (\S+) --digest (\S+) --reason '[^']+' --server (\S+) --token-file (\S+)`)
	undoLine    = regexp.MustCompile(`modeshift undo (\S+) (--reason) '[^']+' --server (\S+) --token-file (\S+)`)
)

func TestWithoutOnceItStaysUpUntilItsContextEndsAndLeavesNothing(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	ctx, cancel := context.WithCancel(t.Context())
	var out screen
	done := make(chan error)
	go func() { done <- Run(ctx, Options{Start: startFake(""), Out: &out, act: 2}) }()
	deadline := time.After(60 * time.Second)
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	people := []func(text string) bool{ // they do what the demo asks of them, one after the other
		answer(t, approveLine, "/api/v1/approvals/%s/review", `{"verdict": "yes", "digest": "DIGEST", "reason": "read and understood"}`),
		answer(t, undoLine, "/api/v1/scopes/shop/changes/%s/undo", `{"reason": "it is back"}`),
	}
	for !strings.Contains(out.text(), "Ctrl-C ends it") {
		if len(people) > 0 && people[0](out.text()) {
			people = people[1:]
		}
		select {
		case err := <-done:
			t.Fatalf("it ended by itself: %v\n%s", err, out.text())
		case <-deadline:
			t.Fatalf("no end of the story:\n%s", out.text())
		case <-poll.C:
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	text := out.text()
	t.Logf("the story:\n%s", text)
	for _, want := range []string{"burn rate", "✉ PAGE", "modeshift set shop degraded", "--token-file", "said yes: read and understood", "resolved: payments", "/kill", "/break?share=0.5", "/refuse", "/give-in", "only=pages", "modeshift status shop --instances"} {
		if !strings.Contains(text, want) {
			t.Errorf("the story does not say %q", want)
		}
	}
	if strings.Contains(text, "\x1b") {
		t.Error("colours went to something that is no terminal")
	}
	left, err := filepath.Glob(filepath.Join(temp, "modeshift-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestCtrlCInTheMiddleOfTheStoryEndsIt(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		once bool
	}{{"an unattended story is incomplete", true}, {"one with somebody at the terminal just ends", false}} {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			o := Options{Once: c.once, Out: io.Discard, Start: func(ctx context.Context, file string) (Modeshift, error) {
				defer cancel()
				return startFake(faultBlind)(ctx, file)
			}}
			err := Run(ctx, o)
			var i *Incomplete
			if got := errors.As(err, &i); got != c.once || !c.once && err != nil {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestAModeshiftThatDoesNotStartIsAnErrorAndLeavesNothing(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	broken := errors.New("no such rule")
	err := Run(t.Context(), Options{Start: func(context.Context, string) (Modeshift, error) { return nil, broken }})
	if !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	left, err := os.ReadDir(temp)
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

func TestAStoryThatCannotBeWrittenIsAnError(t *testing.T) {
	tl := newTeller(full{}, true)
	tl.step(stepTraffic, sight{text: "x"})
	if err := tl.end(nil); err == nil || !strings.Contains(err.Error(), "no space left") {
		t.Errorf("got %v", err)
	}
}

func TestColoursAreForTerminalsWhoseUserHasNotAskedForPlainText(t *testing.T) {
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0) // a character device, as a terminal is
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = null.Close() }() // nothing was written
	t.Setenv("NO_COLOR", "")
	t.Setenv("TERM", "xterm")
	if !coloured(null) || coloured(io.Discard) {
		t.Errorf("terminal %v, no terminal %v", coloured(null), coloured(io.Discard))
	}
	t.Setenv("NO_COLOR", "1")
	if coloured(null) {
		t.Error("NO_COLOR is not heard")
	}
}
