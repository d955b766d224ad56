package sim

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The mutants here are faults in the source of what decides and of what acts, each as somebody might write it. The simulation is
// built with the changed file in place of the real one, and has to say what was broken. A mutant whose text is gone fails: then
// the code has changed, and the fault has to be written anew.

// edit replaces a text that stands in a file exactly once.
type edit struct{ file, old, new string }

var sourceMutants = []struct {
	name  string
	edits []edit
	words []string // one of which the simulation says
	from  uint64   // the seed at which to begin, near one that catches what few do; 0: the first
}{
	{"a forgotten digest check", []edit{{
		"engine/gate.go",
		`case len(r.Digest) < minDigest || !strings.HasPrefix(string(p.Digest), string(r.Digest)):`,
		`case strings.HasPrefix(string(p.Digest), "never"):`,
	}}, []string{"never said yes to"}, 0},
	{"a lease taken early, by one who does not see that it was begun", []edit{{
		"actions/runner/step.go",
		`if h.job.Begun || job.Attempt > 1 {`,
		`if job.Attempt > 1 {`,
	}}, []string{"its target knows no key, and it is attempted", "has happened 2 times"}, 570},
	{"a lost undo", []edit{{
		"engine/apply_change.go",
		"		if run.Step.Undo {\n			c.Did =",
		"		if run.Step.Undo && len(c.Did) == 0 {\n			c.Did =",
	}}, []string{"was not taken back"}, 0},
	{"unknown read as false", []edit{{
		"engine/observe.go",
		`		next, news := c.tick(seen.Truth, o.Instant, o.Prev, &d.p)`,
		`		if seen.Truth == Unknown {
			known := *seen
			known.Truth = False
			seen = &known
		}
		next, news := c.tick(seen.Truth, o.Instant, o.Prev, &d.p)`,
	}}, []string{"was taken for false"}, 0},
	{"a for kept over a gap", []edit{{
		"engine/apply.go",
		`		if c.Truth != True {
			continue
		}`,
		`		if !c.Since.IsZero() {
			continue
		}`,
	}, {
		"engine/clock.go",
		`case span <= 2*p.Interval && c.Truth == True:`,
		`case c.Truth == True:`,
	}}, []string{"and has to be for"}, 0},
	{"a denied proposal proposed again at once", []edit{{
		"engine/observe.go",
		`if !ok || r.Over || d.in.At.Sub(r.Since) >= r.Retry.After {`,
		`if !ok || r.Over || r.Digest != "" {`,
	}}, []string{"its condition was not false since"}, 0},
	{"a directive only around a gate", []edit{{
		"engine/person.go",
		`case r.DirectiveOnly && r.Via == "" && (found == nil || r.Force):`,
		`case r.DirectiveOnly && r.Via == "" && r.Reason != "":`,
	}}, []string{"with a directive only"}, 0},
	{"a glass nobody hears break", []edit{{
		"engine/person.go",
		"	if t == nil {\n		ways = d.ways(r.Mode)\n	}",
		"	if t == nil {\n		return nil\n	}",
	}}, []string{"was gone around and nothing marks it"}, 0},
	{"a blind yes while all can be seen", []edit{{
		"engine/gate.go",
		`Blind: r.Blind && d.unseen(p),`,
		`Blind: r.Blind,`,
	}}, []string{"it counts as blind"}, 0},
	{"a blind yes that outlives sight", []edit{{
		"engine/apply.go",
		`if c.Truth != Unknown && p.Retry.Condition`,
		`if c.Condition == "" && p.Retry.Condition`,
	}}, []string{"and nobody said yes to that since"}, 0},
	{"a second key for the second attempt", []edit{{
		"engine/effect.go",
		`job.Key = fmt.Sprintf("%s/%s", job.Change, job.Step.Name)`,
		`job.Key = fmt.Sprintf("%s/%s%.*s", job.Change, job.Step.Name, job.Attempt-1, "+++++++++")`,
	}}, []string{"arrives under the key"}, 0},
	{"an answer of nobody taken for done", []edit{{
		"actions/runner/step.go",
		`		v.outcome = engine.OutcomeUnknown
	case !errors.As`,
		`		v.outcome = engine.OutcomeDone
	case !errors.As`,
	}}, []string{"is said to have happened once, and it has 0 times"}, 0},
	{"a brake with half its window", []edit{{
		"engine/brake.go",
		`if permit.Scope != scope && at.Sub(permit.At) < b.Within {`,
		`if permit.Scope != scope && at.Sub(permit.At) < b.Within/2 {`,
	}}, []string{"scopes moved by themselves within"}, 0},
	{"a move without its permit", []edit{{
		"engine/loop/decide.go",
		`appends = append([]engine.Append{taken}, appends...)`,
		`_ = taken`,
	}}, []string{"moved by itself, and nothing permits it"}, 0},
	{"a pin that outlives its time", []edit{{
		"engine/decide.go",
		`if p := d.s.Pin; p != nil && !d.in.At.Before(p.Until) {`,
		`if p := d.s.Pin; p != nil && !d.in.At.Before(p.Until.Add(d.p.Interval)) {`,
	}}, []string{"the pin had time until"}, 0},
	{"an imposition that goes over a pin", []edit{{
		"engine/above.go",
		`if why.Code == "" || d.s.Pin != nil || d.s.Change`,
		`if why.Code == "" || d.s.Change`,
	}}, []string{"the mode is pinned"}, 0},
	{"an own rule that leads below what is imposed", []edit{{
		"engine/observe.go",
		"	if why := d.beneath(t.To); why.Code != \"\" {\n		return why\n	}\n	if why := d.rests(t);",
		"	if why := d.rests(t);",
	}}, []string{"is asked for from above"}, 0},
	{"an imposition that reaches only children", []edit{{
		"engine/above.go",
		`next = rules.Parent`,
		`next = ""`,
	}}, []string{"is asked for from above"}, 0},
	{"an imposed mode that is never left", []edit{{
		"engine/above.go",
		`d.lay(to, ChangeStarted{Returns: true}, why)`,
		`_, _ = to, why`,
	}}, []string{"and it does not go back to", "its own mode is"}, 0},
	{"what was imposed, kept because a change on top of it was taken back", []edit{{
		"engine/apply_change.go",
		"		s.Own = c.Own\n",
		"		s.Own = \"\"\n",
	}}, []string{"and it does not go back to", "its own mode is"}, 0},
	{"a pinned scope whose SLO wakes nobody", []edit{{
		"engine/incident.go",
		`case d.louder(a):`,
		`case d.louder(a) || d.s.Pin != nil:`,
	}}, []string{"burns at"}, 0},
	{"a mode that keeps quiet for ever", []edit{{
		"engine/suppress.go",
		`if d.s.Dwell(d.in.At) >= m.MaxDuration {`,
		`if d.s.Dwell(d.in.At) < 0 {`,
	}}, []string{"burns at"}, 0},
	{"a pause that nobody ends", []edit{{
		"engine/observe.go",
		`d.outlast(why.Code, why.Text)`,
		`_ = why`,
	}}, []string{"is paused in"}, 0},
	{"a pause by break-glass", []edit{{
		"engine/change.go",
		`if !earns(t, why, p) {`,
		`if t == nil {`,
	}}, []string{"neither people nor a schedule have led there"}, 0},
	{"a pause of what a stuck change is settled back to", []edit{{
		"engine/pause.go",
		`case !c.Undoing && m == c.To:`,
		`case !c.Undoing:`,
	}, { // which would end it at once: what a mode does not pause by the rules in force is not paused in it
		"engine/decide.go",
		"	d.endPauses() // its plan may be older than the rules\n",
		"",
	}}, []string{"neither people nor a schedule have led there", "nothing is paused"}, 1000},
	{"a window nobody looks at while its change goes on", []edit{{
		"engine/policy.go",
		`s.Change != nil && s.window() == name &&`,
		`s.Change == nil && s.window() == name &&`,
	}}, []string{"is paused in", "burns at"}, 0},
	{"a suggestion that is carried out", []edit{{
		"engine/observe.go",
		`case d.p.Automation == AutomationSuggest:`,
		`case d.p.Automation == AutomationSuggest && d.s.Pin != nil:`,
	}}, []string{"and automation is suggest"}, 0},
	{"one move too many in a scope that flaps", []edit{{
		"engine/observe.go",
		`if n < f.Changes {`,
		`if n <= f.Changes {`,
	}}, []string{"it takes protection away after"}, 0},
	{"an until that flaps", []edit{{
		"engine/change.go",
		`if why := d.flapsBack(); why.Code != "" {`,
		`if why := d.flapsBack(); why.Code == CodeUntil {`,
	}}, []string{"it takes protection away after"}, 0},
}

func TestTheSimulationCatchesFaultsInTheSource(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the simulation once for every fault")
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range sourceMutants {
		t.Run(m.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
			defer cancel()
			began := time.Now()
			bin := build(ctx, t, root, m.edits)
			built := time.Since(began)
			out, err := exec.CommandContext(ctx, bin, "-test.run=Seeds", "-sim.first="+strconv.FormatUint(max(1, m.from), 10), "-sim.seeds=199", "-sim.once").CombinedOutput()
			for _, words := range m.words {
				if at := strings.Index(string(out), words); err != nil && at >= 0 {
					line := out[strings.LastIndexByte(string(out[:at]), '\n')+1:]
					line, _, _ = cut(line)
					t.Logf("built in %s, caught in %s: %s", built.Round(100*time.Millisecond), (time.Since(began) - built).Round(100*time.Millisecond), line)
					return
				}
			}
			t.Errorf("the simulation does not say %q: %v\n%s", m.words, err, out[:min(len(out), 4000)])
		})
	}
}

func cut(b []byte) (line, rest []byte, found bool) {
	before, after, found := strings.Cut(string(b), "\n")
	return []byte(before), []byte(after), found
}

// build builds this test with edited sources.
func build(ctx context.Context, t *testing.T, root string, edits []edit) string {
	t.Helper()
	dir := t.TempDir()
	overlay := struct{ Replace map[string]string }{map[string]string{}}
	for i, e := range edits {
		path := filepath.Join(root, filepath.FromSlash(e.file))
		source, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(source), e.old); n != 1 {
			t.Fatalf("%s has %d times, and not once:\n%s", e.file, n, e.old)
		}
		changed := filepath.Join(dir, string(rune('a'+i))+".go")
		if err := os.WriteFile(changed, []byte(strings.Replace(string(source), e.old, e.new, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		overlay.Replace[path] = changed
	}
	b, err := json.Marshal(overlay)
	if err != nil {
		t.Fatal(err)
	}
	file, bin := filepath.Join(dir, "overlay.json"), filepath.Join(dir, "sim.test")
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, "go", "test", "-c", "-overlay", file, "-o", bin, "./test/sim")
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return bin
}
