//go:build linux

package exec_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	osexec "os/exec"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/modeshift/modeshift/actions"
	"github.com/modeshift/modeshift/actions/exec"
	"github.com/modeshift/modeshift/engine"
)

const canary = "c4nary-0123456789"

// The test binary is the program that the tests run: its first argument says what it does.
func TestMain(m *testing.M) {
	if len(os.Args) < 2 || !strings.HasPrefix(os.Args[1], "do-") {
		os.Exit(m.Run())
	}
	os.Exit(behave(os.Args[1], os.Args[2:]))
}

// behave is what the program does.
func behave(what string, args []string) int {
	switch what {
	case "do-show": // what it was given, as JSON
		stdin, err := io.ReadAll(os.Stdin)
		if err != nil {
			return 9
		}
		dir, err := os.Getwd()
		if err != nil {
			return 9
		}
		if err := json.NewEncoder(os.Stdout).Encode(given{args, os.Environ(), string(stdin), dir}); err != nil {
			return 9
		}
	case "do-args": // the arguments alone, as JSON
		if err := json.NewEncoder(os.Stdout).Encode(args); err != nil {
			return 9
		}
	case "do-exit":
		code, err := strconv.Atoi(args[0])
		if err != nil {
			return 9
		}
		fmt.Println(strings.Join(args[1:], " "))
		return code
	case "do-shout":
		line := strings.Repeat("x", 1023) + "\n"
		for range 1024 {
			fmt.Print(line)
			fmt.Fprint(os.Stderr, line)
		}
	case "do-env":
		fmt.Fprintln(os.Stderr, os.Getenv(args[0]))
	case "do-hang":
		note(args[0])
		hang()
	case "do-family": // a child and its child, all of which hang; each holds the output open
		note(args[0])
		if len(args) > 1 {
			if !child("do-family", args[1:]...) {
				return 9
			}
		}
		hang()
	case "do-away": // a child that has left the group, and what it has started
		note(args[0])
		if cmd := again("do-family", args[1:]...); !away(cmd) {
			return 9
		}
		hang()
	case "do-leave": // a child that hangs is left behind
		if !child("do-hang", args[0]) || !away(again("do-hang", args[1])) || !exists(args[0]) || !exists(args[1]) {
			return 9
		}
	case "do-signal":
		_ = syscall.Kill(os.Getpid(), syscall.SIGTERM)
		hang()
	case "do-serve": // a server that runs one step, which hangs, until somebody kills it
		k, err := exec.New(exec.Options{Programs: map[string]string{"self": os.Args[0]}})
		if err != nil {
			return 9
		}
		spec, err := json.Marshal(map[string]any{"program": "self", "args": args})
		if err != nil {
			return 9
		}
		_, _ = k.Do(context.Background(), engine.StepJob{Key: "k", Step: engine.Step{Spec: string(spec)}})
	default:
		return 9
	}
	return 0
}

// hang is not select {}: a program that has nothing else to do is ended for that by Go's runtime.
func hang() { time.Sleep(time.Hour) }

type given struct {
	Args  []string
	Env   []string
	Stdin string
	Dir   string
}

// note writes the number of this process into a file, all at once.
func note(path string) {
	if err := os.WriteFile(path+".new", []byte(strconv.Itoa(os.Getpid())), 0o600); err != nil {
		os.Exit(9)
	}
	if err := os.Rename(path+".new", path); err != nil {
		os.Exit(9)
	}
}

func child(what string, args ...string) bool { return again(what, args...).Start() == nil }

func again(what string, args ...string) *osexec.Cmd {
	cmd := osexec.Command(os.Args[0], append([]string{what}, args...)...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	return cmd
}

// away starts a command in a session of its own.
func away(cmd *osexec.Cmd) bool {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return cmd.Start() == nil
}

// exists waits until a file is there.
func exists(path string) bool {
	return until(func() bool { _, err := os.Stat(path); return err == nil })
}

// until asks until something is so, for a time that is long enough for anything.
func until(so func() bool) bool {
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		if so() {
			return true
		}
	}
	return false
}

// process is the number in a file, once it is there.
func process(t *testing.T, path string) int {
	t.Helper()
	if !exists(path) {
		t.Fatalf("%s does not appear", filepath.Base(path))
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(string(b))
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

// dead reports whether a process has ended. One that nobody has waited for is as dead as one that is gone.
func dead(pid int) bool {
	f, err := os.Open(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	defer func() { _ = f.Close() }() // only read from
	line, err := bufio.NewReader(f).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return true // it ended while it was read
	}
	_, rest, _ := strings.Cut(line, ") ")
	return strings.HasPrefix(rest, "Z") || strings.HasPrefix(rest, "X")
}

// parent is the number of a process's parent.
func parent(t *testing.T, pid int) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	n, err := strconv.Atoi(strings.Fields(rest)[1])
	if err != nil || n == os.Getpid() {
		t.Fatalf("the parent of %d is %d, %v", pid, n, err)
	}
	return n
}

func self(t *testing.T) string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func kind(t *testing.T, change func(*exec.Options)) *exec.Kind {
	t.Helper()
	opts := exec.Options{Programs: map[string]string{"self": self(t), "missing": "/nonexistent/program", "folder": "/tmp"}}
	if change != nil {
		change(&opts)
	}
	k, err := exec.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// step is a job of a specification that has no faults.
func step(t *testing.T, k *exec.Kind, spec map[string]any) engine.StepJob {
	t.Helper()
	b, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	canonical, traits, problems := k.Check(b)
	if len(problems) > 0 {
		t.Fatalf("%s has the faults %q", b, problems)
	}
	return engine.StepJob{Key: "checkout-17/repoint", Scope: "checkout", Change: "checkout-17", Attempt: 2,
		Step:  engine.Step{Name: "repoint", Kind: "exec", Spec: string(canonical), Keyed: traits.Keyed},
		Facts: engine.Facts{Scope: "checkout", Change: "checkout-17", Transition: "fail-over", From: "degraded", To: "failover", Reason: "burning"}}
}

// run is a step of this program with these arguments.
func run(args ...string) map[string]any {
	return map[string]any{"program": "self", "args": args}
}

func with(spec map[string]any, key string, value any) map[string]any {
	spec[key] = value
	return spec
}

func outcome(err error) engine.Outcome {
	switch {
	case err == nil:
		return engine.OutcomeDone
	case actions.Unknown(err):
		return engine.OutcomeUnknown
	}
	return engine.OutcomeFailed
}

// shown runs do-show and returns what it was given.
func shown(t *testing.T, k *exec.Kind, job engine.StepJob) given {
	t.Helper()
	answer, err := k.Do(t.Context(), job)
	if err != nil {
		t.Fatal(err)
	}
	var g given
	if err := json.Unmarshal([]byte(strings.TrimPrefix(answer, "exit 0: ")), &g); err != nil {
		t.Fatalf("%s: %v", answer, err)
	}
	return g
}

func TestAProgramGetsItsArgumentsFactsAndFolderAndNothingElse(t *testing.T) {
	t.Setenv("SERVER_TOKEN", canary)
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "zone"), 0o700); err != nil {
		t.Fatal(err)
	}
	k := kind(t, func(o *exec.Options) {
		o.Environment, o.Dir = []string{"REGION", "LANG", "UNSET"}, dir
		o.Lookup = func(name string) (string, bool) {
			v, ok := map[string]string{"LANG": "C", "REGION": "server's"}[name]
			return v, ok
		}
	})
	g := shown(t, k, step(t, k, map[string]any{"program": "self", "args": []any{"do-show", "--to={{.to}}", "a b", "", 7, "{{.scope}}"}, "dir": "zone", "stdin": "why: {{.reason}}", "env": map[string]any{"REGION": "eu-{{.attempt}}"}}))
	want := given{[]string{"--to=failover", "a b", "", "7", "checkout"}, []string{
		"MODESHIFT_ATTEMPT=2", "MODESHIFT_CHANGE=checkout-17", "MODESHIFT_FROM=degraded", "MODESHIFT_KEY=checkout-17/repoint", "MODESHIFT_REASON=burning", "MODESHIFT_SCOPE=checkout",
		"MODESHIFT_STEP=repoint", "MODESHIFT_TO=failover", "MODESHIFT_TRANSITION=fail-over", "MODESHIFT_UNDO=false", "LANG=C", "REGION=eu-2"}, "why: burning", filepath.Join(dir, "zone")}
	if !reflect.DeepEqual(g, want) {
		t.Errorf("it was given\n%q\nwant\n%q", g, want)
	}
}

func TestFactsArriveAsOneArgumentWhateverTheyHold(t *testing.T) {
	k := kind(t, nil)
	mark := filepath.Join(t.TempDir(), "mark")
	job := step(t, k, run("do-args", "reason={{.reason}}", "--", "{{.reason}}"))
	for _, text := range []string{"$(touch " + mark + ")", "`touch " + mark + "`", "; touch " + mark, "a\ntouch " + mark, "--flag", "-", "*", "a b", `"`, `'`, "", "{{.scope}}", "\\"} {
		job.Facts.Reason = text
		answer, err := k.Do(t.Context(), job)
		var args []string
		if err := errors.Join(err, json.Unmarshal([]byte(strings.TrimPrefix(answer, "exit 0: ")), &args)); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(args, []string{"reason=" + text, "--", text}) {
			t.Errorf("%q arrives as %q", text, args)
		}
	}
	if _, err := os.Stat(mark); err == nil {
		t.Error("a shell has run")
	}
}

func TestAFactThatWouldBeAnOptionIsRefused(t *testing.T) {
	k := kind(t, nil)
	job := step(t, k, run("do-show", "{{.reason}}"))
	for _, text := range []string{"--flag", "-f", "-", "--"} {
		job.Facts.Reason = text
		if _, err := k.Do(t.Context(), job); outcome(err) != engine.OutcomeFailed || !actions.Final(err) || !strings.Contains(err.Error(), "put -- before it") {
			t.Errorf("%q gives %v", text, err)
		}
	}
	// A fact cannot be the -- that lets the next one through.
	job = step(t, k, run("do-show", "-{{.reason}}", "{{.reason}}"))
	job.Facts.Reason = "-"
	if _, err := k.Do(t.Context(), job); outcome(err) != engine.OutcomeFailed {
		t.Errorf("it gives %v", err)
	}
}

func TestNULIsRefusedWhereverItWouldGo(t *testing.T) {
	k := kind(t, func(o *exec.Options) { o.Environment = []string{"REASON"} })
	for name, spec := range map[string]map[string]any{
		"argument 2":       run("do-show", "x{{.reason}}"),
		"MODESHIFT_REASON": run("do-show"),
	} {
		job := step(t, k, spec)
		job.Facts.Reason = "a\x00b"
		if _, err := k.Do(t.Context(), job); outcome(err) != engine.OutcomeFailed || !actions.Final(err) || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "NUL") {
			t.Errorf("%s gives %v", name, err)
		}
	}
}

func TestTheEndOfAProgramSaysWhatCameOfAStep(t *testing.T) {
	k := kind(t, nil)
	for _, c := range []struct {
		spec    map[string]any
		want    engine.Outcome
		message string
	}{
		{run("do-exit", "0"), engine.OutcomeDone, ""},
		{run("do-exit", "1", "no", "such", "zone"), engine.OutcomeFailed, "self: exit status 1: no such zone"},
		{run("do-exit", "255"), engine.OutcomeFailed, "exit status 255"},
		{with(run("do-exit", "3"), "expect", map[string]any{"exit": []int{0, 3}}), engine.OutcomeDone, ""},
		{with(run("do-exit", "0"), "expect", map[string]any{"exit": 3}), engine.OutcomeFailed, "exit status 0"},
		{with(run("do-exit", "0", "moved 3"), "expect", map[string]any{"stdout": `^moved \d+\n$`}), engine.OutcomeDone, ""},
		{with(run("do-exit", "0", "nothing moved"), "expect", map[string]any{"stdout": `^moved`}), engine.OutcomeFailed, `does not match "^moved": nothing moved`},
		{run("do-signal"), engine.OutcomeUnknown, "ended by signal 15 (terminated)"},
		{map[string]any{"program": "missing"}, engine.OutcomeFailed, "missing was not started"},
		{map[string]any{"program": "folder"}, engine.OutcomeFailed, "permission denied"},
	} {
		answer, err := k.Do(t.Context(), step(t, k, c.spec))
		if outcome(err) != c.want || c.message != "" && !strings.Contains(err.Error(), c.message) {
			t.Errorf("%.60v gives %q, %v", c.spec, answer, err)
		}
	}
}

func TestOutputHasALimitAndNobodyWaitsForIt(t *testing.T) {
	k := kind(t, nil)
	answer, err := k.Do(t.Context(), step(t, k, run("do-shout")))
	if err != nil || len(answer) > 1<<10 || !strings.Contains(answer, "more than 65536 bytes") {
		t.Errorf("it gives %d bytes: %.40s, %v", len(answer), answer, err)
	}
}

func TestATimeoutEndsAProgramAndAllThatItStarted(t *testing.T) {
	k := kind(t, nil)
	dir := t.TempDir()
	files := []string{filepath.Join(dir, "a"), filepath.Join(dir, "b"), filepath.Join(dir, "c")}
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	type result struct {
		err  error
		took time.Duration
	}
	results := make(chan result, 1)
	var stopped time.Time
	go func() {
		_, err := k.Do(ctx, step(t, k, run(append([]string{"do-family"}, files...)...)))
		results <- result{err: err}
	}()
	var pids []int
	for _, f := range files {
		pids = append(pids, process(t, f))
	}
	stopped = time.Now()
	cancel(errors.New("the deadline of the attempt"))
	r := <-results
	r.took = time.Since(stopped)
	if outcome(r.err) != engine.OutcomeUnknown || !strings.Contains(r.err.Error(), "self was killed: the deadline of the attempt") || r.took > 10*time.Second {
		t.Errorf("it gives %v after %s", r.err, r.took)
	}
	for _, pid := range pids {
		if !until(func() bool { return dead(pid) }) {
			t.Errorf("process %d lives on", pid)
		}
	}
	// The step's own timeout does the same.
	_, err := k.Do(t.Context(), step(t, k, with(run("do-hang", filepath.Join(dir, "d")), "timeout", "100ms")))
	if outcome(err) != engine.OutcomeUnknown || !strings.Contains(err.Error(), "did not end within 100ms") {
		t.Errorf("it gives %v", err)
	}
}

func TestNothingIsLeftBehindByAProgramThatEnds(t *testing.T) {
	k := kind(t, nil)
	dir := t.TempDir()
	files := []string{filepath.Join(dir, "left"), filepath.Join(dir, "away")}
	if _, err := k.Do(t.Context(), step(t, k, run("do-leave", files[0], files[1]))); err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if pid := process(t, f); !dead(pid) {
			t.Errorf("process %d (%s) lives on", pid, filepath.Base(f))
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

func TestAProgramAndAllThatItStartedDieWithTheServer(t *testing.T) {
	for _, what := range []string{"do-hang", "do-family", "do-away"} {
		for range 5 {
			dir := t.TempDir()
			files := []string{filepath.Join(dir, "a"), filepath.Join(dir, "b"), filepath.Join(dir, "c")}
			if what == "do-hang" {
				files = files[:1]
			}
			server := osexec.Command(self(t), append([]string{"do-serve", what}, files...)...)
			if err := server.Start(); err != nil {
				t.Fatal(err)
			}
			var pids []int
			for _, f := range files {
				pids = append(pids, process(t, f))
			}
			for i, pid := range pids {
				if dead(pid) {
					t.Fatalf("%s: process %d is dead before the server is", what, i)
				}
			}
			if err := server.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = server.Wait() // it was killed: that is no news
			for i, pid := range pids {
				if !until(func() bool { return dead(pid) }) {
					t.Errorf("%s: process %d lives on", what, i)
					_ = syscall.Kill(pid, syscall.SIGKILL)
				}
			}
		}
	}
}

// Who kills the reaper, by mistake, leaves no program that nobody watches, and no step of which anybody thinks that it is over.
func TestAProgramWhoseReaperIsKilledMayHaveDoneItsWork(t *testing.T) {
	k := kind(t, nil)
	dir := t.TempDir()
	files := []string{filepath.Join(dir, "a"), filepath.Join(dir, "b")}
	result := make(chan error, 1)
	go func() {
		_, err := k.Do(t.Context(), step(t, k, run(append([]string{"do-family"}, files...)...)))
		result <- err
	}()
	pids := []int{process(t, files[0]), process(t, files[1])}
	if err := syscall.Kill(parent(t, pids[0]), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := <-result; outcome(err) != engine.OutcomeUnknown || !strings.Contains(err.Error(), "whoever ran it is gone") {
		t.Errorf("it gives %v", err)
	}
	for i, pid := range pids {
		if !until(func() bool { return dead(pid) }) {
			t.Errorf("process %d lives on", i)
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

// Without its thread a program would be killed as soon as the goroutine that started it went elsewhere.
func TestManyProgramsLiveAsLongAsTheyLike(t *testing.T) {
	k := kind(t, nil)
	job := step(t, k, run("do-exit", "0"))
	errs := make(chan error)
	const n = 40
	for range n {
		go func() { _, err := k.Do(t.Context(), job); errs <- err }()
	}
	for range n {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}

func TestAStepThatIsStoppedBeforeItBeginsHasNotHappened(t *testing.T) {
	k := kind(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	file := filepath.Join(t.TempDir(), "ran")
	if _, err := k.Do(ctx, step(t, k, run("do-hang", file))); outcome(err) != engine.OutcomeFailed {
		t.Errorf("it gives %v", err)
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("it ran")
	}
}

func TestTheCheckSaysWhetherAStepHasHappened(t *testing.T) {
	k := kind(t, nil)
	for _, c := range []struct {
		done map[string]any
		want bool
		open bool
	}{
		{map[string]any{"args": []string{"do-exit", "0"}}, true, false},
		{map[string]any{"args": []string{"do-exit", "1"}}, false, false},
		{map[string]any{"args": []string{"do-exit", "2"}}, false, true},
		{map[string]any{"args": []string{"do-exit", "127"}}, false, true},
		{map[string]any{"args": []string{"do-signal"}}, false, true},
		{map[string]any{"program": "missing"}, false, true},
		{map[string]any{"program": "self", "args": []string{"do-exit", "0", "eu-1"}, "expect": map[string]any{"stdout": "eu-2"}}, false, false},
		{map[string]any{"args": []string{"do-exit", "1"}, "expect": map[string]any{"exit": 1}}, true, false},
		{map[string]any{"args": []string{"do-exit", "0"}, "expect": map[string]any{"exit": 1}}, false, false},
	} {
		got, err := k.Done(t.Context(), step(t, k, with(run("do-signal"), "done", c.done)))
		if got != c.want || (err != nil) != c.open {
			t.Errorf("%v gives %v, %v", c.done, got, err)
		}
	}
	if _, err := k.Done(t.Context(), step(t, k, run("do-exit", "0"))); !errors.Is(err, exec.ErrNoCheck) {
		t.Errorf("a step without a check says %v", err)
	}
}

func TestTraitsSayThatAProgramDestroysAndWhetherItMayBeRunAgain(t *testing.T) {
	for spec, want := range map[string]engine.Traits{
		`{"program": "self"}`:                              {Destructive: true},
		`{"program": "self", "keyed": true}`:               {Destructive: true, Keyed: true},
		`{"program": "self", "done": {"args": ["check"]}}`: {Destructive: true, Keyed: true},
	} {
		if _, got, problems := kind(t, nil).Check([]byte(spec)); got != want || len(problems) > 0 {
			t.Errorf("%s: %+v, %q", spec, got, problems)
		}
	}
}

func TestWhatTheServerPassesOnIsNotShown(t *testing.T) {
	k := kind(t, func(o *exec.Options) {
		o.Environment = []string{"TOKEN", "PATH"}
		o.Lookup = func(name string) (string, bool) {
			return map[string]string{"TOKEN": canary, "PATH": "/bin"}[name], true
		}
	})
	for _, args := range [][]string{{"do-env", "TOKEN"}, {"do-show"}} {
		job := step(t, k, with(run(args...), "expect", map[string]any{"exit": []int{0}, "stdout": "."}))
		answer, err := k.Do(t.Context(), job)
		described, describeErr := k.Describe(job)
		if describeErr != nil {
			t.Fatal(describeErr)
		}
		if all := fmt.Sprintf("%s %v %+v %s %s", answer, err, err, described, job.Step.Spec); strings.Contains(all, canary) {
			t.Errorf("a secret is shown: %s", all)
		}
		if all := fmt.Sprint(answer, err); !strings.Contains(all, "<secret>") {
			t.Errorf("the program did not get it: %s", all)
		}
	}
}

func TestWhatIsDescribedIsWhatIsRun(t *testing.T) {
	k := kind(t, func(o *exec.Options) {
		o.Programs = map[string]string{"fail-over": "/usr/local/bin/fail-over"}
		o.Environment, o.Dir = []string{"REGION", "TOKEN"}, "/var/lib/modeshift"
		o.Lookup = func(name string) (string, bool) { return canary, name == "TOKEN" }
	})
	job := step(t, k, map[string]any{"program": "fail-over", "args": []string{"--to", "{{.to}}", "--", "{{.reason}}"}, "env": map[string]string{"REGION": "eu"}, "stdin": "x",
		"timeout": "5s", "expect": map[string]any{"exit": []int{0, 3}, "stdout": "moved"}, "done": map[string]any{"args": []string{"--check", "{{.to}}"}}})
	job.Facts.Reason = "two words\n\x1b[2J"
	want := `run /usr/local/bin/fail-over "--to" "failover" "--" "two words\n\x1b[2J"
in /var/lib/modeshift
with MODESHIFT_ATTEMPT="2"
with MODESHIFT_CHANGE="checkout-17"
with MODESHIFT_FROM="degraded"
with MODESHIFT_KEY="checkout-17/repoint"
with MODESHIFT_REASON="two words\n\x1b[2J"
with MODESHIFT_SCOPE="checkout"
with MODESHIFT_STEP="repoint"
with MODESHIFT_TO="failover"
with MODESHIFT_TRANSITION="fail-over"
with MODESHIFT_UNDO="false"
with REGION="eu"
with TOKEN=<secret>
reading "x"
it has happened when it ends with exit status 0 or 3 and an output that matches "moved" within 5s
whether it happened already is asked by running /usr/local/bin/fail-over "--check" "failover"
it happened already when that ends with exit status 0`
	if got, err := k.Describe(job); err != nil || got != want {
		t.Errorf("described as\n%s\n%v, want\n%s", got, err, want)
	}
}

func TestEveryFaultOfAStepComesAtOnce(t *testing.T) {
	k := kind(t, func(o *exec.Options) { o.Environment, o.Dir = []string{"REGION"}, "/srv" })
	_, _, problems := k.Check([]byte(`{"program": "slef", "arg": [], "args": ["{{.scpoe}}", ["x"], "a\u0000"], "env": {"REGOIN": "x", "MODESHIFT_KEY": "x", "a=b": "x"}, "dir": "../x",
		"timeout": "2h", "keyed": 1, "expect": {"exit": [256, "x"], "stdout": "("}, "done": {"program": "{{.to}}", "args": "x"}}`))
	got := map[string]string{}
	for _, p := range problems {
		got[strings.Join(p.Path, ".")] += p.Message + " | " + p.Hint + "\n"
	}
	for path, want := range map[string]string{
		"program": "did you mean self?", "arg": "did you mean args?", "args.0": "did you mean scope?", "args.1": "an argument is a text", "args.2": "NUL", "env.REGOIN": "did you mean REGION?",
		"env.MODESHIFT_KEY": "set by modeshift", "env.a=b": "not the name of a variable", "dir": "outside", "timeout": "at most 1h0m0s", "keyed": "true or false", "expect.exit": `"x" is not an exit status`,
		"expect.stdout": "missing closing )", "done.program": "fixed", "done.args": "has to be a list",
	} {
		if !strings.Contains(got[path], want) {
			t.Errorf("%s: %q, want %q", path, got[path], want)
		}
		delete(got, path)
	}
	if len(got) > 0 {
		t.Errorf("there are faults too many: %q", got)
	}
}

func TestOnlyProgramsOnTheListRun(t *testing.T) {
	k := kind(t, nil)
	for _, name := range []string{"/bin/sh", "sh", "../self", self(t) + "/../sh", "self -c", ""} {
		b, err := json.Marshal(map[string]any{"program": name})
		if err != nil {
			t.Fatal(err)
		}
		canonical, _, problems := k.Check(b)
		if len(problems) == 0 || canonical != nil {
			t.Errorf("%q may run", name)
		}
		// A stored step of an older configuration is refused too.
		if _, err := k.Do(t.Context(), engine.StepJob{Step: engine.Step{Spec: string(b)}}); outcome(err) != engine.OutcomeFailed || !actions.Final(err) {
			t.Errorf("%q gives %v", name, err)
		}
	}
	if _, _, problems := k.Check([]byte(`{"program": "` + self(t) + `"}`)); len(problems) > 0 {
		t.Errorf("the path of a program on the list has the faults %q", problems)
	}
}

func TestOptionsThatSayNothingAreRefused(t *testing.T) {
	for name, opts := range map[string]exec.Options{
		"a relative program": {Programs: map[string]string{"x": "bin/x"}},
		"a path with ..":     {Programs: map[string]string{"x": "/bin/../x"}},
		"no variable":        {Environment: []string{"A=B"}},
		"our own variable":   {Environment: []string{"MODESHIFT_KEY"}},
		"a relative folder":  {Dir: "x"},
		"a limit below 0":    {MaxOutput: -1},
	} {
		if _, err := exec.New(opts); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

func TestAKindForFormsOnlyRunsNothing(t *testing.T) {
	k, err := exec.New(exec.Options{FormOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	job := step(t, k, map[string]any{"program": "anything", "env": map[string]string{"ANY": "x"}, "dir": "x", "done": map[string]any{}})
	if _, err := k.Do(t.Context(), job); outcome(err) != engine.OutcomeFailed {
		t.Errorf("Do gives %v", err)
	}
	if _, err := k.Done(t.Context(), job); err == nil {
		t.Error("Done gives an answer")
	}
}
