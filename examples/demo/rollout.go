package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/modeshift/modeshift/examples/shop"
	"github.com/modeshift/modeshift/test/receiver"
)

// rollout is the third act, and what it remembers from step to step.
type rollout struct {
	*world
	command string                                                 // how people call the command line
	table   func(context.Context, io.Writer, string, string) error // Options.Instances
	before  int                                                    // pages that came earlier
	since   time.Time                                              // the shop was degraded by then, all but the refuser
}

// refuser is the place of the instance that refuses.
const refuser = 6

// patientFor is how long a recovery is looked out for that is not to come: the `for` of the rules, and an evaluation.
const patientFor = 4 * time.Second

func (r *rollout) refuse(ctx context.Context, t *teller) error {
	r.before = len(r.pages())
	who := r.shops[refuser]
	t.say(bad, "! %-9s %s refuses every mode from now on, and the recommendations break again", "", who.Name())
	if err := post(ctx, who.URL()+"/refuse"); err != nil {
		return err
	}
	return post(ctx, fmt.Sprintf("%s/break?share=%g", r.backend.URL(), brokenShare))
}

// instance is what the story looks at in the table of instances.
type instance struct {
	Name     string `json:"name"`
	Standing string `json:"standing"`
	Mode     string `json:"mode"`
	Error    string `json:"error"`
}

// instances is modeshift's table of the shop's instances.
func (a *apiClient) instances(ctx context.Context) ([]instance, error) {
	var list struct {
		Instances []instance `json:"instances"`
	}
	err := a.get(ctx, "/api/v1/scopes/"+scope+"/instances", &list)
	return list.Instances, err
}

// standing are the instances that modeshift's table has in a mode and with a standing, by name.
func (r *rollout) standing(ctx context.Context, mode, standing string) ([]instance, error) {
	all, err := r.api.instances(ctx)
	return slices.DeleteFunc(all, func(i instance) bool { return i.Mode != mode || i.Standing != standing }), err
}

// refused: the shop is degraded, by modeshift alone, and all instances but one took that; the one answers its visitors in the mode it
// had, and modeshift knows it, and why.
func (r *rollout) refused(ctx context.Context) (sight, error) {
	s, err := r.shifted("degraded", "shed")(ctx)
	if err != nil || !s.ok {
		return s, err
	}
	for i, s := range r.shops {
		want := "degraded"
		if i == refuser {
			want = "normal"
		}
		if mode, err := modeOf(ctx, s); err != nil || mode != want {
			return sight{text: fmt.Sprintf("%s answers in mode %q", s.Name(), mode)}, err
		}
	}
	applied, err := r.standing(ctx, "degraded", "applied")
	if err != nil || len(applied) != instances-1 {
		return sight{text: fmt.Sprintf("modeshift knows of %d instances that they are degraded", len(applied))}, err
	}
	failed, err := r.standing(ctx, "normal", "failed")
	if err != nil || len(failed) != 1 || failed[0].Name != r.shops[refuser].Name() {
		return sight{text: fmt.Sprintf("of those that refused modeshift knows %v", failed)}, err
	}
	r.since = time.Now()
	return sight{
		ok:    true,
		text:  fmt.Sprintf("the shop is degraded, %d of %d instances took it; %s reports: %s", len(applied), instances, failed[0].Name, failed[0].Error),
		facts: map[string]any{"applied": len(applied), "failed": failed[0].Name, "error": failed[0].Error, "instances": instances},
	}, nil
}

// modeOf is the mode that an instance says to its visitors.
func modeOf(ctx context.Context, s *shop.Shop) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL()+"/", nil)
	if err != nil {
		return "", err
	}
	req.Close = true
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	return res.Header.Get("X-Service-Mode"), res.Body.Close()
}

// newPages are the pages of the third act.
func (r *rollout) newPages() []receiver.Alert { return r.pages()[r.before:] }

// page finds the one page of this act that says something. More pages than there are reasons for, or two for one, are a fault.
func (r *rollout) page(says string, most int) (receiver.Alert, sight) {
	pages := r.newPages()
	if len(pages) > most {
		var said []string
		for _, a := range pages {
			said = append(said, fmt.Sprintf("%s (%s)", a.Summary, a.Opened.Format("15:04:05")))
		}
		return receiver.Alert{}, sight{never: true, text: fmt.Sprintf("%d pages came where there is reason for %d: %s", len(pages), most, strings.Join(said, "; "))}
	}
	found := slices.DeleteFunc(slices.Clone(pages), func(a receiver.Alert) bool { return !strings.Contains(a.Summary, says) })
	switch len(found) {
	case 0:
		return receiver.Alert{}, sight{text: fmt.Sprintf("no page has arrived that says %q", says)}
	case 1:
		return found[0], sight{ok: true}
	}
	return receiver.Alert{}, sight{never: true, text: fmt.Sprintf("two pages say %q", says)}
}

// What the pages of this act say.
const (
	saysShed     = "(shed)"
	saysDiverges = "do not follow"
	saysUndone   = "failed and is undone"
)

// diverged: one page about the instance has arrived, beside the one about the mode.
func (r *rollout) diverged(ctx context.Context) (sight, error) {
	shed, s := r.page(saysShed, 2)
	if !s.ok {
		return s, nil
	}
	page, s := r.page(saysDiverges, 2)
	if !s.ok {
		return s, nil
	}
	return sight{
		ok:    true,
		text:  fmt.Sprintf("a page, %.0f s after the one about the mode: %s", page.Opened.Sub(shed.Opened).Seconds(), page.Summary),
		facts: map[string]any{"key": page.Key, "summary": page.Summary, "after_seconds": page.Opened.Sub(shed.Opened).Seconds()},
	}, nil
}

// instancesCommand is how people see the instances.
func (w *world) instancesCommand(command string) string {
	return fmt.Sprintf("%s status %s --instances --server %s --token-file %s", command, scope, w.mode.URL(), w.people.admin.file)
}

// mend shows who follows, and mends the recommendations.
func (r *rollout) mend(ctx context.Context, t *teller) error {
	if r.table != nil {
		var text strings.Builder
		if err := r.table(ctx, &text, r.mode.URL(), r.people.admin.file); err != nil {
			return fmt.Errorf("show the instances: %w", err)
		}
		t.block(append([]string{"$ " + r.instancesCommand(r.command)}, strings.Split(strings.TrimRight(text.String(), "\n"), "\n")...)...)
	}
	return r.mendBackend(ctx, t)
}

// withheld: for longer than a recovery needs nothing has been wrong but that an instance does not follow, and the shop has not
// begun to recover.
func (r *rollout) withheld() func(context.Context) (sight, error) {
	var calm time.Time // since when all else is good
	return func(ctx context.Context) (sight, error) {
		events, err := r.api.history(ctx, scope)
		if err != nil {
			return sight{}, err
		}
		for _, e := range events {
			if e.Kind == "ChangeStarted" && e.At.After(r.since) {
				return sight{never: true, text: "an instance does not follow, and the shop was moved on all the same: " + e.Reason.Text}, nil
			}
		}
		burn, err := r.prom.burnRate(ctx, scope, "4s")
		if err != nil {
			return sight{}, err
		}
		failures, err := r.prom.value(ctx, `sum(rate(shop_dependency_probes_total{job="shop",result="failure"}[5s]))`)
		if err != nil {
			return sight{}, err
		}
		if burn > 0 || failures > 0 {
			calm = time.Time{}
			return notYet("the burn rate is %.1f, and %.1f probes a second fail", burn, failures)
		}
		if calm.IsZero() {
			calm = time.Now()
		}
		if held := time.Since(calm); held < patientFor {
			return notYet("all is well again, and the shop stays degraded for %.0f s so far", held.Seconds())
		}
		var say struct {
			Conditions []struct{ Name, Text, Truth string }
		}
		if err := r.api.get(ctx, "/api/v1/scopes/"+scope, &say); err != nil {
			return sight{}, err
		}
		for _, c := range say.Conditions {
			if c.Name == "recover.when" {
				return sight{
					ok:    true,
					text:  fmt.Sprintf("nothing fails any more, and the shop does not recover while an instance does not follow: %s is %s", c.Text, c.Truth),
					facts: map[string]any{"condition": c.Text, "truth": c.Truth, "seconds": time.Since(calm).Seconds()},
				}, nil
			}
		}
		return notYet("modeshift does not say what it thinks of recovering")
	}
}

func (r *rollout) giveIn(ctx context.Context, t *teller) error {
	who := r.shops[refuser]
	t.say(bad, "! %-9s the recommendations break once more, %.0f %% of the calls for pages; a probe gets its answer", "", 100*brokenShare)
	if err := post(ctx, fmt.Sprintf("%s/break?share=%g&only=pages", r.backend.URL(), brokenShare)); err != nil {
		return err
	}
	t.say(shift, "! %-9s %s gives in", "", who.Name())
	r.since = time.Now()
	return post(ctx, who.URL()+"/give-in")
}

// gaveIn: all instances follow, and the page about the one is resolved; the other is not.
func (r *rollout) gaveIn(ctx context.Context) (sight, error) {
	page, s := r.page(saysDiverges, 3) // the third may come any time now
	if !s.ok {
		return s, nil
	}
	if page.Resolved.IsZero() {
		return notYet("the page about the instance is still open")
	}
	for _, t := range r.shops[refuser].Taken() {
		if t.Mode == "degraded" && t.At.After(r.since) {
			return sight{
				ok:    true,
				text:  fmt.Sprintf("%s takes the mode, %.1f s later; the page about it is resolved", r.shops[refuser].Name(), t.At.Sub(r.since).Seconds()),
				facts: map[string]any{"instance": r.shops[refuser].Name(), "key": page.Key, "open_seconds": page.Resolved.Sub(page.Opened).Seconds()},
			}, nil
		}
	}
	return sight{never: true, text: "the page is resolved, and the instance has not taken the mode"}, nil
}

// waveFact is what WavePublished and ChangeFailed say.
type waveFact struct {
	Change    string `json:"change"`
	Wave      int    `json:"wave"`
	Instances int    `json:"instances"`
}

// passage is how the last recovery went, by the log.
type passage struct {
	started changeFact
	waves   []waveFact
	at      []time.Time // of the waves
	failed  string      // why; empty: it did not
	undone  bool
	done    bool
}

// passage reads it. ok is false where none was begun after an instant.
func (r *rollout) passage(ctx context.Context, after time.Time) (p passage, ok bool, err error) {
	events, err := r.api.history(ctx, scope)
	if err != nil {
		return p, false, err
	}
	for _, e := range slices.Backward(events) { // the oldest first
		var about struct {
			Change string `json:"change"`
		}
		if e.At.Before(after) || json.Unmarshal(e.Fact, &about) != nil {
			continue
		}
		if e.Kind == "ChangeStarted" {
			f, err := fact[changeFact](e)
			if err != nil {
				return p, false, err
			}
			if f.Transition == "recover" {
				p, ok = passage{started: f}, true
			}
			continue
		}
		if !ok || about.Change != p.started.Change {
			continue
		}
		switch e.Kind {
		case "WavePublished":
			f, err := fact[waveFact](e)
			if err != nil {
				return p, false, err
			}
			p.waves, p.at = append(p.waves, f), append(p.at, e.At)
		case "ChangeFailed":
			p.failed = e.Reason.Text
		case "ChangeUndone":
			p.undone = true
		case "ChangeDone":
			p.done = true
		}
	}
	return p, ok, nil
}

// took are the names of the instances that took mode normal after an instant and until another one.
func (r *rollout) took(after, until time.Time) []string {
	var names []string
	for _, s := range r.shops {
		if slices.ContainsFunc(s.Taken(), func(t shop.Taken) bool { return t.Mode == "normal" && t.At.After(after) && !t.At.After(until) }) {
			names = append(names, s.Name())
		}
	}
	return names
}

// relapsed: a recovery was begun, failed its verification in the first wave and was undone, with a page; one instance of all ever
// left degraded, and it is back.
func (r *rollout) relapsed(ctx context.Context) (sight, error) {
	left := r.took(r.since, time.Now())
	if len(left) > 1 {
		return sight{never: true, text: fmt.Sprintf("%d instances left degraded, and the first wave is one: %s", len(left), strings.Join(left, ", "))}, nil
	}
	p, begun, err := r.passage(ctx, r.since)
	switch {
	case err != nil:
		return sight{}, err
	case !begun:
		return notYet("no recovery has begun")
	case p.done || len(p.waves) > 1:
		return sight{never: true, text: fmt.Sprintf("%s goes on, though its first wave relapses", p.started.Change)}, nil
	case p.failed == "" || !p.undone:
		return notYet("%s: %d waves; failed: %t, undone: %t", p.started.Change, len(p.waves), p.failed != "", p.undone)
	case len(p.waves) != 1 || p.waves[0].Instances != 1 || len(left) != 1:
		return sight{never: true, text: fmt.Sprintf("%s was undone, and its first wave of one instance is not to be found: %v, %v", p.started.Change, p.waves, left)}, nil
	}
	page, s := r.page(saysUndone, 3)
	if !s.ok {
		return s, nil
	}
	if err := request(ctx, http.MethodGet, r.backend.URL()+"/recommendations?product="+url.QueryEscape("lamp")); err == nil {
		if err := request(ctx, http.MethodGet, r.backend.URL()+"/recommendations?product="+url.QueryEscape("lamp")); err == nil {
			return notYet("the recommendations are not broken")
		}
	}
	mode, err := r.api.scopeMode(ctx, scope)
	if err != nil || mode != "degraded" {
		return sight{text: "modeshift says mode " + mode}, err
	}
	if s, ok := r.all("degraded"); !ok {
		return s, nil
	}
	return sight{
		ok: true,
		text: fmt.Sprintf("%s relapsed in its first wave: %s; only %s of %d instances ever left degraded, and it is back; a page: %s",
			p.started.Change, p.failed, left[0], instances, page.Summary),
		facts: map[string]any{"change": p.started.Change, "reason": p.failed, "left": left[0], "instances": instances, "key": page.Key, "summary": page.Summary},
	}, nil
}

func (r *rollout) repair(ctx context.Context, t *teller) error {
	r.since = time.Now()
	return r.mendBackend(ctx, t)
}

// recovered: a further recovery told the instances wave by wave, and none of them left degraded before its wave; all are in
// normal and show recommendations, and nobody meets an error.
func (r *rollout) recovered() func(context.Context) (sight, error) {
	back := r.world.recovered()
	return func(ctx context.Context) (sight, error) {
		now := time.Now() // before the log is read: what instances do after it may be of a wave that is not seen yet
		p, begun, err := r.passage(ctx, r.since)
		if err != nil || !begun {
			return sight{text: "no further recovery has begun"}, err
		}
		for i := range p.waves {
			until := now
			if i+1 < len(p.waves) {
				until = p.at[i+1]
			}
			if before := len(r.took(r.since, until)); before > p.waves[i].Instances {
				return sight{never: true, text: fmt.Sprintf("%d instances left degraded before wave %d, which told %d", before, i+2, p.waves[i].Instances)}, nil
			}
		}
		if !p.done {
			if p.failed != "" {
				return sight{never: true, text: fmt.Sprintf("%s failed: %s", p.started.Change, p.failed)}, nil
			}
			return notYet("%s: wave %d, %d of %d instances are in mode normal", p.started.Change, len(p.waves), len(r.took(r.since, now)), instances)
		}
		if got := told(p.waves); got != "1, 10, 20" {
			return sight{never: true, text: fmt.Sprintf("%s told %s instances, and not 1, 10 and 20", p.started.Change, got)}, nil
		}
		s, err := back(ctx)
		if err != nil || !s.ok {
			return s, err
		}
		return sight{
			ok:    true,
			text:  fmt.Sprintf("%s recovers the shop in waves of %s instances; recommendations are back everywhere", p.started.Change, told(p.waves)),
			facts: map[string]any{"change": p.started.Change, "waves": told(p.waves), "seconds": p.at[len(p.at)-1].Sub(p.at[0]).Seconds()},
		}, nil
	}
}

// told is how many instances each wave reached.
func told(waves []waveFact) string {
	var n []string
	for _, w := range waves {
		n = append(n, fmt.Sprint(w.Instances))
	}
	return strings.Join(n, ", ")
}

// quiet: each page of this act is resolved, and there were three.
func (r *rollout) quiet(context.Context) (sight, error) {
	for _, says := range []string{saysShed, saysDiverges, saysUndone} {
		page, s := r.page(says, 3)
		if !s.ok {
			return s, nil
		}
		if page.Resolved.IsZero() {
			return notYet("a page is still open: %s", page.Summary)
		}
	}
	return sight{ok: true, text: "the three pages are resolved: about the mode, the instance and the relapse", facts: map[string]any{"pages": 3}}, nil
}
