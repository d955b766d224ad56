package ha

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/api"
	"github.com/modeshift/modeshift/engine/secret"
	"github.com/modeshift/modeshift/engine/server"
	"github.com/modeshift/modeshift/engine/store"
)

// never is a condition that no automation waits for: these services move when somebody asks.
const never = `dwell() > duration("9000h")`

// there is a service with three steps there, each with its undo, and a way back that takes them back.
func there(url string) string {
	return `version: modeshift/v1
service: there
modes: [{name: normal}, {name: degraded}]
transitions:
  - name: shed
    from: [normal]
    to: degraded
    when: '` + never + `'
    actions:
` + call("one", url, "") + run("two", url, "destructive: false, why: it only counts") + call("three", url, "") + `
  - {name: recover, from: [degraded], to: normal, when: '` + never + `', undo: entry}
`
}

// failing is a service whose last step is refused, so that the two before it are taken back.
func failing(url string) string {
	return `version: modeshift/v1
service: failing
modes: [{name: normal}, {name: degraded}]
transitions:
  - name: shed
    from: [normal]
    to: degraded
    when: '` + never + `'
    on_failure: undo
    actions:
` + run("one", url, "destructive: false, why: it only counts") + call("two", url, "") + call("three", url+"/refused", "")
}

// gated is a service whose steps destroy and wait for people, the last of them by a program.
func gated(url string) string {
	return `version: modeshift/v1
service: gated
modes: [{name: normal}, {name: failover, beside: true}]
transitions:
  - name: fail-over
    from: [normal]
    to: failover
    when: '` + never + `'
    approval: {groups: [{role: oncall, count: 1}, {role: lead, count: 1}], within: 1h}
    actions:
` + call("repoint", url, "destructive: true") + run("fence", url, "destructive: true")
}

// call is a webhook step whose path says what it is about.
func call(name, url, more string) string {
	if more != "" {
		more += ", "
	}
	return fmt.Sprintf("      - {name: %[1]s, %[3]swebhook: {url: '%[2]s/{{.change}}/%[1]s'}, undo: {webhook: {url: '%[2]s/{{.change}}/%[1]s/undo'}}}\n", name, url, more)
}

// run is an exec step whose program calls the target.
func run(name, url, more string) string {
	return fmt.Sprintf("      - {name: %[1]s, %[3]s, exec: {program: program, keyed: true, timeout: 1h, args: [%[4]s, DIR, '%[2]s/{{.change}}/%[1]s']},\n"+
		"         undo: {exec: {program: program, keyed: true, timeout: 1h, args: [%[4]s, DIR, '%[2]s/{{.change}}/%[1]s/undo']}}}\n", name, url, more, programWord)
}

// newPlayhouse is a site without a Prometheus, whose steps may call this machine and run this test binary, and where dave
// asks and bob and carol approve.
func newPlayhouse(t *testing.T, rules map[string]string) *site {
	t.Helper()
	s := newSite(t, "http://127.0.0.1:1", newReceiver(t), "{interval: 1s, blind_after: 1m}", nil)
	for name, text := range rules {
		write(t, s.rules(name), strings.ReplaceAll(text, "DIR", s.dir))
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	config, err := os.ReadFile(s.config)
	if err != nil {
		t.Fatal(err)
	}
	write(t, s.config, string(config)+fmt.Sprintf("tokens_file: tokens.yaml\nactions: {webhook: {allow: [127.0.0.1]}, exec: {programs: {program: %q}}}\n", self))
	tokens := ""
	for _, one := range [][2]string{{"root", "admin"}, {"dave", "operator"}, {"bob", "oncall"}, {"carol", "lead"}} {
		tokens += fmt.Sprintf("- {principal: %s, roles: [%s], scopes: ['*'], sha256: %s}\n", one[0], one[1], api.HashToken(tokenOf(one[0])))
	}
	write(t, filepath.Join(s.dir, "tokens.yaml"), tokens)
	if err := os.MkdirAll(s.data, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(s.data, server.AdminTokenFile), tokenOf("root").Reveal()) // where the command line looks for one
	return s
}

func tokenOf(name string) secret.Secret { return secret.New("token-of-" + name) }

// as speaks to the site's server as somebody.
func (s *site) as(t *testing.T, name string) *api.Client {
	t.Helper()
	c, err := api.NewClient(s.url, tokenOf(name), nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// add remembers what was acknowledged.
func (a *acknowledged) add(out api.Outcome) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, e := range out.Events {
		a.events = append(a.events, e.Event)
	}
	select {
	case a.last <- struct{}{}:
	default:
	}
}

// kinds counts what was acknowledged by its kind.
func (a *acknowledged) kinds() map[string]int {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := map[string]int{}
	for _, e := range a.events {
		n[e.Kind()]++
	}
	return n
}

// people move services for as long as ctx lasts, whether there is a server or not.
type people struct {
	t         *testing.T
	acks      *acknowledged
	asks      *api.Client            // dave's
	approvers map[string]*api.Client // by role
}

// drive moves one service there and back.
func (p *people) drive(ctx context.Context, scope engine.Scope, random *rand.Rand) {
	for n := 0; ctx.Err() == nil; n++ {
		time.Sleep(time.Duration(5+random.IntN(20)) * time.Millisecond) // the load, not a wait for anything
		what, out, err := p.move(ctx, scope, n, random)
		var refused *api.Error
		switch {
		case what == "", ctx.Err() != nil:
		case err == nil && len(out.Events) == 0:
			p.t.Errorf("%s of %s was acknowledged without an event", what, scope)
		case err == nil:
			p.acks.add(out)
		case errors.As(err, &refused) && refused.Status() != http.StatusConflict && refused.Status() != http.StatusServiceUnavailable:
			p.t.Errorf("%s of %s: %v", what, scope, err)
		}
	}
}

// move does the one thing that can be done now; what is empty when nothing can.
func (p *people) move(ctx context.Context, scope engine.Scope, n int, random *rand.Rand) (what string, out api.Outcome, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	sc, err := p.asks.Scope(ctx, scope)
	if err != nil || sc.Change != nil {
		return "", out, nil
	}
	reason := fmt.Sprint("drill ", n)
	if len(sc.Proposals) > 0 {
		a, err := p.asks.Approval(ctx, sc.Proposals[0])
		if err != nil || len(a.Missing) == 0 {
			return "", out, nil
		}
		out, err = p.approvers[a.Missing[random.IntN(len(a.Missing))].Role].Review(ctx, a.ID, api.ReviewRequest{Verdict: api.VerdictYes, Digest: a.Digest, Reason: reason})
		return "review", out, err
	}
	if sc.Mode == "normal" {
		out, err = p.asks.Set(ctx, scope, api.SetRequest{Mode: sc.Modes[1].Name, Reason: reason})
		return "set", out, err
	}
	if scope == "there" && random.IntN(2) == 0 {
		out, err = p.asks.Set(ctx, scope, api.SetRequest{Mode: "normal", Reason: reason})
		return "set back", out, err
	}
	h, err := p.asks.History(ctx, scope, 0, 50)
	if err != nil {
		return "", out, nil
	}
	for _, e := range h.Events {
		if done, ok := e.Fact.(engine.ChangeDone); ok {
			out, err = p.asks.Undo(ctx, scope, done.Change, api.ChangeRequest{Reason: reason})
			return "undo", out, err
		}
	}
	return "", out, nil
}

// soonDead is how long the kernel may take to end the programs of a server that was killed.
const soonDead = 2 * time.Second

func TestKilledAtAnyInstantOfAChangeEachStepHappensOnce(t *testing.T) {
	random := seeded(t)
	target := newTarget(t, rand.New(rand.NewPCG(random.Uint64(), 1)))
	s := newPlayhouse(t, map[string]string{"there.yaml": there(target.URL), "failing.yaml": failing(target.URL), "gated.yaml": gated(target.URL)})
	acks := &acknowledged{last: make(chan struct{})}
	p := &people{t: t, acks: acks, asks: s.as(t, "dave"), approvers: map[string]*api.Client{"oncall": s.as(t, "bob"), "lead": s.as(t, "carol")}}
	ctx, cancel := context.WithCancel(t.Context())
	var driving sync.WaitGroup
	scopes := []engine.Scope{"there", "failing", "gated"}
	for i, scope := range scopes {
		own := rand.New(rand.NewPCG(random.Uint64(), uint64(i)))
		driving.Go(func() { p.drive(ctx, scope, own) })
	}
	defer driving.Wait()
	defer cancel()

	reached, worst, children := map[string]int{}, time.Duration(0), 0
	hang := filepath.Join(s.dir, "hang")
	var again <-chan struct{} // closed when the step the last kill interrupted is taken up again
	var program string        // the key of the program the last kill interrupted
	var noted int
	for i := range kills(t, 100) {
		began := time.Now()
		proc := s.start(t)
		pause := func(most time.Duration) { time.Sleep(time.Duration(random.Int64N(int64(most)))) } // the random instant
		await := func(what string, came func() bool) {
			t.Helper()
			for deadline := time.Now().Add(patience); !came(); time.Sleep(time.Millisecond) {
				if proc.ended() || time.Now().After(deadline) {
					t.Fatalf("kill %d: waited for %s:\n%s", i, what, tail(proc.said()))
				}
			}
		}
		// What the kill before this one interrupted is taken up again soon.
		if again != nil || program != "" {
			await("the step that the kill before interrupted", func() bool {
				if program != "" {
					return slices.ContainsFunc(notes(t, s.dir)[noted:], func(n note) bool { return n.key == program })
				}
				return closed(again)
			})
			late := time.Since(began)
			if worst = max(worst, late); late > soon {
				t.Errorf("kill %d: the interrupted step was taken up again %v after the restart, want %v at most", i-1, late, soon)
			}
			again, program = nil, ""
		}
		when := [...]string{"starting", "stepping", "calling", "called", "running", "answered"}[random.IntN(6)]
		switch when {
		case "starting":
			pause(150 * time.Millisecond)
		case "stepping": // at some instant soon after a call came to the target
			next := target.next()
			await("a call", func() bool { return closed(next) })
			pause(60 * time.Millisecond)
		case "calling", "called": // while a call is open that had no effect so far, and one that had
			hung := target.hangNext(when == "called")
			await("a call that hangs", func() bool {
				select {
				case key := <-hung:
					again = target.onAgain(key)
					return true
				default:
					return false
				}
			})
		case "running": // while a program runs
			noted = len(notes(t, s.dir))
			write(t, hang, "")
			await("a program that hangs", func() bool {
				for _, n := range notes(t, s.dir)[noted:] {
					if n.hangs {
						program = n.key
					}
				}
				return program != ""
			})
		case "answered": // soon after somebody was told that what they asked for is stored
			select {
			case <-acks.last:
			case <-time.After(patience):
				t.Fatalf("kill %d: nothing was acknowledged within %s:\n%s", i, patience, tail(proc.said()))
			}
			pause(20 * time.Millisecond)
		}
		if proc.ended() {
			t.Fatalf("kill %d: the server ended by itself: %v\n%s", i, proc.err, tail(proc.said()))
		}
		running := programs(t, s.dir)
		proc.kill()
		killed := time.Now()
		children += len(running)
		if when == "running" {
			if len(running) == 0 {
				t.Errorf("kill %d: no program ran", i)
			}
			noted = len(notes(t, s.dir))
			if err := os.Remove(hang); err != nil {
				t.Fatal(err)
			}
		}
		for alive := programs(t, s.dir); len(alive) > 0; alive = programs(t, s.dir) {
			if time.Since(killed) > soonDead {
				t.Fatalf("kill %d: the programs %v outlived their server", i, alive)
			}
			time.Sleep(time.Millisecond)
		}
		if said := proc.said(); strings.Contains(said, "panic") || strings.Contains(said, "goroutine ") {
			t.Fatalf("kill %d: the server panicked:\n%s", i, said)
		}
		reached[when]++
	}
	t.Logf("killed %v; %d programs died with their server; an interrupted step was taken up again within %v", reached, children, worst)
	if children == 0 && reached["running"] > 0 {
		t.Error("no kill met a program")
	}
	last := s.start(t)
	eventually(t, "an answer to everything that people ask for", func() bool {
		kinds := acks.kinds()
		return kinds["ChangeProposed"] > 0 && kinds["ApprovalGranted"] > 0 && kinds["ChangeStarted"] > 0 && kinds["UndoStarted"] > 0
	})
	cancel()
	driving.Wait()
	s.settle(t, last, scopes)
	s.checkSteps(t, scopes, acks, target)
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// settle waits until no change is under way and nothing is owed to a step any more, and stops the server.
func (s *site) settle(t *testing.T, last *process, scopes []engine.Scope) {
	t.Helper()
	s.ready(t)
	c := s.client(t)
	eventually(t, "the end of all changes", func() bool {
		for _, name := range scopes {
			if sc := scope(t, c, name); sc.Change != nil {
				if sc.Change.Stuck {
					t.Fatalf("%s is stuck: %+v\n%s", name, sc.Change, tail(last.said()))
				}
				return false
			}
		}
		owed := false
		s.look(t, func(log *store.SQLite) {
			jobs, err := log.Jobs(t.Context(), store.JobFilter{State: store.JobOwed})
			if err != nil {
				t.Fatal(err)
			}
			owed = slices.ContainsFunc(jobs, func(j store.JobStatus) bool { return j.Step != nil })
		})
		return !owed
	})
	if err := last.stop(t); err != nil {
		t.Errorf("the last process ended with %v:\n%s", err, tail(last.said()))
	}
}

// checkSteps holds the log against what happened at the target and against what people were told.
func (s *site) checkSteps(t *testing.T, scopes []engine.Scope, acks *acknowledged, target *target) {
	t.Helper()
	if out, code := s.modeshift(t, "audit", "verify", s.data); code != 0 || !strings.Contains(out, "the log is whole") {
		t.Errorf("audit verify exits %d: %s", code, out)
	}
	all := s.events(t, "")
	byID := map[string]string{}
	for _, e := range all {
		byID[id(e)] = encoded(t, e)
	}
	for _, e := range acks.events {
		if byID[id(e)] != encoded(t, e) {
			t.Errorf("acknowledged and not in the log: %s %s %s", id(e), e.Kind(), e.Reason.Text)
		}
	}
	t.Logf("%d events acknowledged: %v; %d events in the log", len(acks.events), acks.kinds(), len(all))

	happened := map[string][]string{} // by change
	seen, total := map[string]string{}, 0
	for _, e := range target.happened() {
		if other, twice := seen[e.about]; twice {
			t.Errorf("%s happened twice, under the keys %s and %s", e.about, other, e.key)
		}
		seen[e.about] = e.key
		if e.about != e.key {
			t.Errorf("%s happened under the key %s", e.about, e.key)
		}
		change, step, _ := strings.Cut(e.about, "/")
		happened[change] = append(happened[change], step)
		total++
	}
	undone := 0
	for _, name := range scopes {
		done, plans := map[string][]string{}, map[string][]string{}
		var started []engine.ChangeID
		for _, e := range s.events(t, name) {
			switch f := e.Fact.(type) {
			case engine.ChangeStarted:
				started = append(started, f.Change)
				for _, step := range f.Plan.Steps {
					plans[string(f.Change)] = append(plans[string(f.Change)], step.Name)
				}
			case engine.StepDone:
				step := f.Step
				if f.Undo {
					step += "/undo"
					undone++
				}
				done[string(f.Change)] = append(done[string(f.Change)], step)
			case engine.ChangeStuck:
				t.Errorf("%s was stuck at %s", f.Change, f.Step)
			}
		}
		for _, change := range started {
			id := string(change)
			if !slices.Equal(done[id], happened[id]) {
				t.Errorf("%s: the log says %q, and %q happened", id, done[id], happened[id])
			}
			if !inOrder(plans[id], done[id]) {
				t.Errorf("%s: of the steps %q were done %q: not forth in order and back in reverse", id, plans[id], done[id])
			}
			delete(happened, id)
		}
	}
	if len(happened) > 0 {
		t.Errorf("happened without a change in the log: %v", happened)
	}
	t.Logf("%d effects, each once; %d of them undo others", total, undone)
	if undone == 0 || undone == total {
		t.Error("nothing was undone, or nothing done")
	}
	s.look(t, func(log *store.SQLite) {
		if jobs, err := log.Jobs(t.Context(), store.JobFilter{State: store.JobFailed}); err != nil || len(jobs) > 0 {
			t.Errorf("failed jobs: %+v, %v", jobs, err)
		}
	})
}

// inOrder reports whether done are the first steps of a plan in order, and then either nothing or the undo of each of them,
// the last first.
func inOrder(plan, done []string) bool {
	forth := 0
	for forth < len(done) && forth < len(plan) && done[forth] == plan[forth] {
		forth++
	}
	back := done[forth:]
	for i, step := range back {
		if forth-1-i < 0 || step != plan[forth-1-i]+"/undo" {
			return false
		}
	}
	return len(back) == 0 || len(back) == forth
}
