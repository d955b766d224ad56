package bench

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/config"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/rules"
	"github.com/modeshift/modeshift/rules/prom"
	"github.com/modeshift/modeshift/test/promtest"
)

// interval is the time between two ticks.
const interval = 15 * time.Second

// evaluation is modeshift's evaluator with Sloth's own files, asked as the loop asks it.
type evaluation struct {
	set       *rules.Set
	evaluator *prom.Evaluator
	prev      time.Time
}

func newEvaluation(t testing.TB, set *rules.Set, url string, opts prom.Options) *evaluation {
	t.Helper()
	source, err := prom.Dial("main", config.DefaultHTTPClientConfig, url)
	if err != nil {
		t.Fatal(err)
	}
	return &evaluation{set: set, evaluator: prom.New(set, []prom.Source{source}, opts)}
}

// patient are options for what is compared and not timed, on a machine that may have other work.
var patient = prom.Options{QueryTimeout: time.Minute, Budget: 5 * time.Minute}

func load(t testing.TB, dir string) *rules.Set {
	t.Helper()
	files, err := rules.ReadFiles(dir)
	if err != nil {
		t.Fatal(err)
	}
	set, err := rules.Load(files, rules.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// tick asks for the conditions that are due: all of them at first, then each as often as it wants.
func (e *evaluation) tick(ctx context.Context, instant time.Time) prom.Answer {
	in := prom.Tick{Instant: instant, Modes: func(engine.Scope) (engine.Mode, bool) { return "", false }}
	for _, s := range e.set.Services {
		q := engine.Question{Scope: s.Policy.Scope}
		for i := range s.Policy.Conditions {
			if every := s.Policy.Conditions[i].Every; every == 0 || !instant.Truncate(every).Equal(e.prev.Truncate(every)) {
				q.Conditions = append(q.Conditions, i)
			}
		}
		in.Questions = append(in.Questions, q)
	}
	e.prev = instant
	return e.evaluator.Evaluate(ctx, in)
}

// serve starts a server over what has been written of a world.
func serve(t testing.TB, data, more string) *promtest.Prometheus {
	t.Helper()
	return promtest.Start(t, promtest.Options{
		Data:   data,
		Config: "storage: {tsdb: {out_of_order_time_window: 0s}}\n" + more, // as a server is usually run
		// Blocks stay as they are: to compact them in the middle of a measurement would be measured too.
		Flags: []string{"--storage.tsdb.min-block-duration=2h", "--storage.tsdb.max-block-duration=2h"},
	})
}

// golden is what Sloth makes of the service with this number, kept in testdata so that a test does not have to build Sloth. The
// benchmark does, and holds the file against it.
const golden = "testdata/sloth-" + slothVersion + ".yaml"

func TestTheDecisionsAreThoseOfSlothsRules(t *testing.T) {
	w := newWorld(40, len(burning), 4*24*time.Hour, time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	dir := t.TempDir()
	if _, err := w.writeBlocks(filepath.Join(dir, "data"), false); err != nil {
		t.Fatal(err)
	}
	if err := w.specs(filepath.Join(dir, "specs")); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	server := serve(t, filepath.Join(dir, "data"), "")
	o := &oracle{server: server.URL, pairs: map[string][]pair{}, single: true}
	for _, s := range w.services {
		o.pairs[s.name], _, err = pairsOf(bytes.ReplaceAll(text, []byte(w.services[0].name), []byte(s.name)))
		if err != nil {
			t.Fatal(err)
		}
	}
	e := newEvaluation(t, load(t, filepath.Join(dir, "specs")), server.URL, patient)
	var ticks []decided
	for at := w.end.Add(-12 * time.Minute); !at.After(w.end); at = at.Add(interval) {
		ticks = append(ticks, decided{at, e.tick(t.Context(), at)})
	}
	c, err := compare(w, o, e.set, ticks)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range c.differences[:min(10, len(c.differences))] {
		t.Error(d)
	}
	if n := len(c.differences); n > 10 {
		t.Errorf("and %d more", n-10)
	}
	asked, fired := o.asked, o.fired
	if slices.Contains(fired, 0) || c.turns < 4 || c.byPair == 0 {
		t.Errorf("the data was one-sided: %+v; pairs fired %v times", c, fired)
	}
	// And the comparison bites: one truth turned round is one difference, which says all there is to know.
	last := ticks[len(ticks)-1:]
	seen := last[0].Observations["service-0000"]
	seen[0].Truth = truth(seen[0].Truth != engine.True)
	c2, err := compare(w, o, e.set, last)
	if err != nil {
		t.Fatal(err)
	}
	const want = `service-0000 (fails hard), the page, at the tick of 2026-03-01T12:00:00Z: modeshift says false, Sloth's rules say true; 5m 0.1`
	if len(c2.differences) != 1 || !strings.HasPrefix(c2.differences[0], want) {
		t.Errorf("one truth was turned round, and the differences are %q", c2.differences)
	}
	t.Logf("%d decisions on pages, %d on tickets, %d on single pairs; %d turns; pairs fired %v times of %d", c.pages, c.tickets, c.byPair, c.turns, fired, asked)
}
