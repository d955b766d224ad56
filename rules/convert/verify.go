package convert

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
	"golang.org/x/sync/errgroup"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/crash"
	"github.com/modeshift/modeshift/rules"
	"github.com/modeshift/modeshift/rules/prom"
)

// VerifyOptions say over which past two definitions are compared.
type VerifyOptions struct {
	From, To time.Time
	// Parallel is how many queries may be under way. 0: 4, a fifth of what Prometheus answers at a time.
	Parallel int
	// Progress is told how much is done, as a share of 1. nil: nobody listens.
	Progress func(done float64)
}

// verifyStep is between two instants that are compared. Tickets are looked at when they are decided, every sixtieth of their
// short window.
const verifyStep = time.Minute

// Verified is what came of comparing an SLO with what its own tool would have made of it.
type Verified struct {
	Service, SLO string
	Windows      []WindowVerified
	Tiers        []TierVerified
	// Span compares both ways to sum up a period, over the time that was looked at; nil where both do it alike.
	Span *SpanVerified
}

// WindowVerified is the error ratio over a window.
type WindowVerified struct {
	Window   time.Duration
	Compared int // instants at which both had a value
	// Greatest is the greatest difference of the two, at At, where they were Theirs and Ours. One that is not intended comes before all
	// that are.
	Greatest     float64
	At           time.Time
	Theirs, Ours float64
	Series       string // of theirs that was compared, by its labels, or "all together"; empty: there was one alone
	Because      Cause  // of that difference, or of theirs being alone; empty: none that is intended, or there is no difference
	// OnlyTheirs and OnlyOurs are the instants at which one had a value and the other none.
	OnlyTheirs, OnlyOurs int
	Groups               int // theirs had several series, of which the highest was compared
	// Unexplained are the instants at which the two differed, or one was alone, for no cause that is intended; First is the first.
	Unexplained int
	First       time.Time
}

// TierVerified is how long the alerts of a severity would have fired.
type TierVerified struct {
	Severity                   engine.Severity
	Both, OnlyTheirs, OnlyOurs time.Duration
	First                      time.Time // when they first differed, if for no cause that is intended then when they first did so
	Series                     string    // of theirs that burned then, by its labels; empty: none, or there was one alone
	Unknown                    time.Duration
	// Because is how much of OnlyTheirs and OnlyOurs has which intended cause; Unexplained is the rest.
	Because     map[Cause]time.Duration
	Unexplained time.Duration
}

// Cause is why alerts differ, as far as that is intended.
type Cause string

// The causes.
const (
	CauseFor     Cause = "for"          // theirs waited for its `for`
	CauseUnknown Cause = "unknown"      // ours was unknown, and what is unknown stays as it was
	CauseShort   Cause = "short window" // theirs has none, and goes on after the errors have ended
	CauseGroups  Cause = "groups"       // theirs looks at each of several groups, and together they are what ours looks at
)

// SpanVerified is the error ratio of the whole time that was looked at, which a budget goes by.
type SpanVerified struct {
	Mean     float64 // of the ratios of five minutes: the tool's
	Weighted float64 // by traffic: ours
}

// sameRatio is the difference of two ratios that floating point may make of one.
const sameRatio = 1e-9

// Same reports whether both come to the same but for what is intended.
func (v *Verified) Same() bool {
	return !slices.ContainsFunc(v.Windows, func(w WindowVerified) bool {
		return w.Unexplained > 0
	}) && !slices.ContainsFunc(v.Tiers, func(t TierVerified) bool { return t.Unexplained > 0 })
}

// Seen reports whether there was anything to compare.
func (v *Verified) Seen() bool {
	return slices.ContainsFunc(v.Windows, func(w WindowVerified) bool { return w.Compared+w.OnlyTheirs+w.OnlyOurs > 0 })
}

// Verify compares what was imported with what its tool would have done, over a past that a Prometheus knows. Ours are decided by
// the evaluator of production; theirs are asked for by their own expressions, from raw series, and their alerts fire as
// Prometheus fires them. The error is about the Prometheus: an answer that is missing would pass for a quiet night. A panic about one
// service leaves it out of what is returned, and the error says so; the others go on.
func Verify(ctx context.Context, api v1.API, result *Result, opts VerifyOptions) ([]Verified, error) {
	opts.Parallel = cmp.Or(opts.Parallel, 4)
	from, to := opts.From.Truncate(verifyStep), opts.To.Truncate(verifyStep)
	if !from.Before(to) {
		return nil, usage("the time to look at ends at %s, and has to begin before", to.Format(time.RFC3339))
	}
	var out []Verified
	var crashed error
	for i, service := range result.Services {
		v := verifier{api: prom.NewAhead(api, prom.AheadOptions{Until: to}), parallel: opts.Parallel}
		var all []Verified
		err := crash.Try(func() (err error) {
			all, err = v.verify(ctx, service, from, to, func(done float64) {
				if opts.Progress != nil {
					opts.Progress((float64(i) + done) / float64(len(result.Services)))
				}
			})
			return err
		})
		switch {
		case crash.Of(err) != nil:
			crashed = errors.Join(crashed, fmt.Errorf("service %s: %w", service.Name, err))
		case ctx.Err() != nil: // what came of the query that was under way says nothing
			return nil, context.Cause(ctx)
		case err != nil:
			return nil, err
		}
		out = append(out, all...)
	}
	return out, crashed
}

// verifier compares the SLOs of one service.
type verifier struct {
	api       v1.API
	parallel  int
	service   *rules.Service
	evaluator *prom.Evaluator
	slos      []*comparison
}

// verify compares the SLOs of one service over a past.
func (v *verifier) verify(ctx context.Context, s Service, from, to time.Time, progress func(done float64)) ([]Verified, error) {
	if err := v.begin(s); err != nil {
		return nil, err
	}
	for t := from; !t.After(to); t = t.Add(verifyStep) {
		if err := v.at(ctx, t); err != nil {
			return nil, err
		}
		progress(float64(t.Sub(from)) / float64(to.Sub(from)))
	}
	var out []Verified
	for _, one := range v.slos {
		out = append(out, one.end())
	}
	return out, nil
}

func (v *verifier) begin(s Service) error {
	set, err := rules.Load([]rules.File{{Name: s.Name + ".yaml", Data: s.Text}}, rules.Options{})
	if err != nil {
		return err
	}
	v.service = set.Service(engine.Scope(s.Name))
	v.evaluator = prom.New(set, []prom.Source{{Name: "history", Replicas: []v1.API{v.api}}},
		prom.Options{QueryOffset: -1, QueryTimeout: 2 * time.Minute, Budget: time.Hour, Parallel: v.parallel})
	for _, was := range s.slos {
		v.slos = append(v.slos, newComparison(s.Name, was, v.service))
	}
	return nil
}

// at compares one instant.
func (v *verifier) at(ctx context.Context, t time.Time) error {
	var jobs errgroup.Group
	jobs.SetLimit(v.parallel)
	for _, c := range v.slos {
		for _, w := range c.windows {
			if !t.Truncate(w.every).Equal(t) {
				continue
			}
			type question struct {
				text string
				into *model.Vector
			}
			errors, total := c.slo.Queries(w.window)
			ask := []question{{c.was.was.ratio(w.window), &w.theirs}, {errors, &w.errors}, {total, &w.total}}
			if c.was.was.parts != nil {
				theirs, of := c.was.was.parts(w.window)
				ask = append(ask, question{theirs, &w.theirErrors}, question{of, &w.theirTotal})
			}
			for _, q := range ask {
				if q.text != "" {
					jobs.Go(func() error {
						return crash.Try(func() (err error) {
							*q.into, err = v.ask(ctx, q.text, t)
							return err
						})
					})
				}
			}
		}
	}
	if err := jobs.Wait(); err != nil {
		return err
	}
	var question engine.Question
	question.Scope = v.service.Policy.Scope
	for i := range v.service.Policy.Alerts {
		question.Conditions = append(question.Conditions, v.service.Policy.Alerts[i].Condition)
	}
	var seen []engine.Observation
	if len(question.Conditions) > 0 {
		seen = v.evaluator.Evaluate(ctx, prom.Tick{Instant: t, Questions: []engine.Question{question}}).Observations[question.Scope]
	}
	for _, o := range seen {
		for _, r := range o.Readings {
			if r.Why == engine.WhyFailed || r.Why == engine.WhyTimeout {
				return fmt.Errorf("%s at %s: %s: %s", r.Query, t.UTC().Format(time.RFC3339), r.Why, r.Detail)
			}
		}
	}
	for _, c := range v.slos {
		c.compare(t)
		for i := range v.service.Policy.Alerts {
			if a := &v.service.Policy.Alerts[i]; a.SLO == c.slo.Name {
				c.fire(t, a.Severity, seen[a.Condition].Truth)
			}
		}
	}
	return nil
}

// ask is an instant query.
func (v *verifier) ask(ctx context.Context, text string, t time.Time) (model.Vector, error) {
	value, _, _, err := v.api.Query(ctx, text, t)
	if err != nil {
		return nil, fmt.Errorf("%s at %s: %w", text, t.UTC().Format(time.RFC3339), err)
	}
	switch value := value.(type) {
	case model.Vector:
		return value, nil
	case *model.Scalar:
		return model.Vector{{Value: value.Value, Timestamp: value.Timestamp}}, nil
	}
	return nil, fmt.Errorf("%s at %s: the answer is a %T", text, t.UTC().Format(time.RFC3339), value)
}

// comparison is one SLO being compared.
type comparison struct {
	was     *slo
	slo     *rules.SLO
	windows []*comparedWindow
	alerts  []*comparedAlert
	tiers   []*TierVerified
	open    map[engine.Severity]bool // ours
	out     Verified

	means, ratios  float64 // of five minutes, theirs
	errors, totals float64 // ours
}

// comparedWindow is a window of an SLO, with what was answered last.
type comparedWindow struct {
	window, every         time.Duration
	theirs, errors, total model.Vector
	out                   WindowVerified

	parts                   bool // what follows is asked
	theirErrors, theirTotal model.Vector
	grouped                 bool // the last difference is none but that theirs looks at groups
}

// comparedAlert is an alert of theirs.
type comparedAlert struct {
	alert
	every   []time.Duration              // of each pair: it is looked at when ours is, and stands in between
	burning []map[model.Fingerprint]bool // of each pair: the groups it was true for
	since   map[model.Fingerprint]time.Time
}

const five = 5 * time.Minute // the window whose mean is Sloth's period

func newComparison(service string, was *slo, s *rules.Service) *comparison {
	c := &comparison{was: was, slo: s.SLO(was.name), open: map[engine.Severity]bool{}, out: Verified{Service: service, SLO: was.name}}
	every := map[time.Duration]time.Duration{}
	note := func(w, step time.Duration) {
		if have, ok := every[w]; w > 0 && (!ok || step < have) {
			every[w] = step
		}
	}
	for i := range c.slo.Tiers {
		tier := &c.slo.Tiers[i]
		c.tiers = append(c.tiers, &TierVerified{Severity: tier.Severity, Because: map[Cause]time.Duration{}})
		for _, w := range tier.Windows {
			step := max(verifyStep, w.Every.Truncate(verifyStep))
			note(w.Short, step)
			note(w.Long, step)
		}
	}
	for _, a := range was.was.alerts {
		one := &comparedAlert{alert: a, burning: make([]map[model.Fingerprint]bool, len(a.pairs)), since: map[model.Fingerprint]time.Time{}}
		c.alerts = append(c.alerts, one)
		for _, p := range a.pairs {
			one.every = append(one.every, c.every(a.severity, p))
			if every[p.long] == 0 {
				note(p.long, verifyStep)
			}
			if every[p.short] == 0 {
				note(p.short, verifyStep)
			}
		}
	}
	if was.was.mean && was.total != "" {
		note(five, five)
	}
	if len(every) == 0 {
		note(five, verifyStep)
		note(time.Hour, verifyStep)
	}
	for w, step := range every {
		c.windows = append(c.windows, &comparedWindow{window: w, every: step, parts: was.was.parts != nil, out: WindowVerified{Window: w}})
	}
	slices.SortFunc(c.windows, func(a, b *comparedWindow) int { return cmp.Compare(a.window, b.window) })
	return c
}

// every is how often ours looks at a pair.
func (c *comparison) every(severity engine.Severity, p pair) time.Duration {
	if tier := c.slo.Tier(severity); tier != nil {
		for _, w := range tier.Windows {
			if w.Long == p.long && (w.Short == p.short || p.short == 0) {
				return max(verifyStep, w.Every.Truncate(verifyStep))
			}
		}
	}
	return verifyStep
}

// of finds a window.
func (c *comparison) of(w time.Duration) *comparedWindow {
	for _, x := range c.windows {
		if x.window == w {
			return x
		}
	}
	return &comparedWindow{}
}

// ratio is theirs, the highest of all groups; nil where there is none.
func (w *comparedWindow) ratio() (highest *model.Sample) {
	for _, s := range w.theirs {
		if f := float64(s.Value); !math.IsNaN(f) && (highest == nil || f > float64(highest.Value)) {
			highest = s
		}
	}
	return highest
}

// allTogether names what all series of theirs make.
const allTogether = "all together"

// series names one of theirs, where there are several.
func (w *comparedWindow) series(s *model.Sample) string {
	if len(w.theirs) < 2 {
		return ""
	}
	return named(s.Metric)
}

func named(m model.Metric) string {
	m = m.Clone()
	delete(m, model.MetricNameLabel)
	return m.String()
}

// together reports whether ours is what theirs makes of all groups together: the sum of their parts or, where these are not known,
// something between the least and the greatest of them. A ratio of our own that has groups too is unknown.
func (w *comparedWindow) together(s *rules.SLO) bool {
	if len(w.theirs) < 2 {
		return false
	}
	errors, total, known := w.ours(s)
	if !known {
		return len(w.errors) > 1 || len(w.total) > 1
	}
	ours := errors / total
	if w.parts {
		if all, of, ok := quotient(w.theirErrors, w.theirTotal, s.Absence.Zero); ok {
			return math.Abs(all/of-ours) <= sameRatio
		}
		return false
	}
	least, greatest := math.Inf(1), math.Inf(-1)
	for _, x := range w.theirs {
		if f := float64(x.Value); !math.IsNaN(f) {
			least, greatest = min(least, f), max(greatest, f)
		}
	}
	return ours >= least-sameRatio && ours <= greatest+sameRatio
}

// ours is errors, total and what they make; false where that is nothing.
func (w *comparedWindow) ours(s *rules.SLO) (errors, total float64, ok bool) {
	if !s.Events {
		errors, ok = one(w.errors)
		return errors, 1, ok
	}
	return quotient(w.errors, w.total, s.Absence.Zero)
}

// one is the value of a series that is alone.
func one(v model.Vector) (float64, bool) {
	if len(v) != 1 || math.IsNaN(float64(v[0].Value)) {
		return 0, false
	}
	return float64(v[0].Value), true
}

// quotient is errors and total where they make a ratio. zero: no series of errors is no errors.
func quotient(e, of model.Vector, zero bool) (errors, total float64, ok bool) {
	if total, ok = one(of); !ok || total == 0 {
		return 0, 0, false
	}
	if errors, ok = one(e); !ok && len(e) == 0 && zero {
		return 0, total, true
	}
	return errors, total, ok
}

// compare compares the windows at an instant.
func (c *comparison) compare(t time.Time) {
	for _, w := range c.windows {
		if !t.Truncate(w.every).Equal(t) {
			continue
		}
		theirs, highest := 0.0, w.ratio()
		errors, total, ok2 := w.ours(c.slo)
		ok1 := highest != nil
		if ok1 {
			theirs = float64(highest.Value)
		}
		w.out.Groups = max(w.out.Groups, len(w.theirs))
		w.grouped = w.together(c.slo)
		switch {
		case ok1 && ok2:
			w.out.Compared++
			series := w.series(highest)
			if all, of, ok := quotient(w.theirErrors, w.theirTotal, c.slo.Absence.Zero); ok && series != "" && !w.grouped {
				theirs, series = all/of, allTogether // that is what ours should be; one of them it may be by chance
			}
			w.out.differ(t, series, theirs, errors/total, w.grouped)
		case ok1 && !(theirs == 0 && len(w.errors) == 0):
			w.out.OnlyTheirs++
			if w.grouped && w.out.Greatest <= sameRatio {
				w.out.Because = CauseGroups
			}
			w.out.unexplained(t, !w.grouped)
		case ok2 && errors > 0: // without errors theirs often has no series to divide, and ours are none
			w.out.OnlyOurs++
			w.out.unexplained(t, true)
		}
		if w.window == five && t.Truncate(five).Equal(t) {
			if ok1 {
				c.means, c.ratios = c.means+theirs, c.ratios+1
			}
			if ok2 {
				c.errors, c.totals = c.errors+errors, c.totals+total
			}
		}
	}
}

// differ notes how two values differ at an instant.
func (w *WindowVerified) differ(t time.Time, series string, theirs, ours float64, grouped bool) {
	d, cause := math.Abs(theirs-ours), Cause("")
	if d > sameRatio && grouped {
		cause = CauseGroups
	}
	intended := func(d float64, c Cause) bool { return d <= sameRatio || c != "" }
	sooner := intended(w.Greatest, w.Because) && !intended(d, cause)
	if later := !intended(w.Greatest, w.Because) && intended(d, cause); sooner || !later && d > w.Greatest || w.Compared == 1 {
		w.Greatest, w.At, w.Theirs, w.Ours, w.Series, w.Because = d, t, theirs, ours, series, cause
	}
	w.unexplained(t, !intended(d, cause))
}

func (w *WindowVerified) unexplained(t time.Time, is bool) {
	if !is {
		return
	}
	if w.Unexplained == 0 {
		w.First = t
	}
	w.Unexplained++
}

// burning says which groups of theirs a pair is true for.
func (c *comparison) burning(p pair) map[model.Fingerprint]bool {
	over := func(v model.Vector) map[model.Fingerprint]bool {
		out := map[model.Fingerprint]bool{}
		for _, s := range v {
			if float64(s.Value) > p.limit { // NaN is not
				out[s.Metric.Fingerprint()] = true
			}
		}
		return out
	}
	long := over(c.of(p.long).theirs)
	if p.short == 0 {
		return long
	}
	short := over(c.of(p.short).theirs)
	for group := range long {
		if !short[group] {
			delete(long, group)
		}
	}
	return long
}

// fires says whether an alert fires at an instant, and whether it waits to.
func (c *comparison) fires(a *comparedAlert, t time.Time) (fires, waits bool) {
	burning := map[model.Fingerprint]bool{}
	for i, p := range a.pairs {
		if t.Truncate(a.every[i]).Equal(t) {
			a.burning[i] = c.burning(p)
		}
		for group := range a.burning[i] {
			burning[group] = true
		}
	}
	for group := range a.since {
		if !burning[group] {
			delete(a.since, group)
		}
	}
	for group := range burning {
		if _, ok := a.since[group]; !ok {
			a.since[group] = t
		}
		if t.Sub(a.since[group]) >= a.after {
			fires = true
		} else {
			waits = true
		}
	}
	return fires, waits
}

// fire compares the alerts of a severity at an instant.
func (c *comparison) fire(t time.Time, severity engine.Severity, truth engine.Truth) {
	i := slices.IndexFunc(c.tiers, func(v *TierVerified) bool { return v.Severity == severity })
	tier := c.tiers[i]
	theirs, waits := false, false
	for _, a := range c.alerts {
		if a.severity == severity {
			fires, waiting := c.fires(a, t)
			theirs, waits = theirs || fires, waits || waiting
		}
	}
	switch truth {
	case engine.True:
		c.open[severity] = true
	case engine.False:
		c.open[severity] = false
	default: // it stays as it was
		tier.Unknown += verifyStep
	}
	ours := c.open[severity]
	if theirs == ours {
		if ours {
			tier.Both += verifyStep
		}
		return
	}
	cause := Cause("")
	switch {
	case truth == engine.Unknown && slices.ContainsFunc(c.windows, func(w *comparedWindow) bool { return len(w.errors) > 1 || len(w.total) > 1 }):
		cause = CauseGroups
	case truth == engine.Unknown:
		cause = CauseUnknown
	case ours && waits:
		cause = CauseFor
	case theirs:
		cause = c.goesOn(severity)
	default:
		cause = c.scattered(severity)
	}
	if tier.First.IsZero() || cause == "" && tier.Unexplained == 0 {
		tier.First, tier.Series = t, c.burns(severity)
	}
	if ours {
		tier.OnlyOurs += verifyStep
	} else {
		tier.OnlyTheirs += verifyStep
	}
	if cause == "" {
		tier.Unexplained += verifyStep
	} else {
		tier.Because[cause] += verifyStep
	}
}

// goesOn says why theirs may fire alone: each pair of theirs that is true has no short window while ours, which has one, is quiet over
// it; or is true for one of several groups, and not for all of them together. Empty: because they differ.
func (c *comparison) goesOn(severity engine.Severity) (cause Cause) {
	for _, a := range c.alerts {
		if a.severity != severity {
			continue
		}
		for i, p := range a.pairs {
			if len(a.burning[i]) == 0 {
				continue
			}
			switch {
			case c.quiet(p.long, p.limit, true), p.short > 0 && c.quiet(p.short, p.limit, true):
				cause = CauseGroups
			case p.short == 0 && c.quiet(c.shortOf(severity, p.long), p.limit, false):
				cause = cmp.Or(cause, CauseShort)
			default:
				return ""
			}
		}
	}
	return cause
}

// quiet reports whether ours is not above a limit of theirs over a window. grouped: though one of their groups is, and because ours is
// all of them together.
func (c *comparison) quiet(window time.Duration, limit float64, grouped bool) bool {
	w := c.of(window)
	if w.window == 0 || grouped && !w.grouped {
		return false
	}
	errors, total, known := w.ours(c.slo)
	return !known && !grouped || known && errors/total <= limit
}

// shortOf is the short window that ours has beside a long one; 0 where it has none.
func (c *comparison) shortOf(severity engine.Severity, long time.Duration) time.Duration {
	if tier := c.slo.Tier(severity); tier != nil {
		for _, w := range tier.Windows {
			if w.Long == long {
				return w.Short
			}
		}
	}
	return 0
}

// scattered says why ours may fire alone: a pair is true over both windows for other groups over each, and so for none of theirs.
func (c *comparison) scattered(severity engine.Severity) Cause {
	over := func(window time.Duration, limit float64) bool {
		w := c.of(window)
		highest := w.ratio()
		return w.grouped && highest != nil && float64(highest.Value) > limit
	}
	for _, a := range c.alerts {
		if a.severity == severity && slices.ContainsFunc(a.pairs, func(p pair) bool { return p.short > 0 && over(p.long, p.limit) && over(p.short, p.limit) }) {
			return CauseGroups
		}
	}
	return ""
}

// burns names a series of theirs that an alert is true for, where there are several.
func (c *comparison) burns(severity engine.Severity) string {
	for _, a := range c.alerts {
		if a.severity != severity {
			continue
		}
		for i, p := range a.pairs {
			w := c.of(p.long)
			for _, s := range w.theirs {
				if len(w.theirs) > 1 && a.burning[i][s.Metric.Fingerprint()] {
					return named(s.Metric)
				}
			}
		}
	}
	return ""
}

// end sums up.
func (c *comparison) end() Verified {
	for _, w := range c.windows {
		if w.out.Groups < 2 {
			w.out.Groups = 0
		}
		c.out.Windows = append(c.out.Windows, w.out)
	}
	for _, t := range c.tiers {
		c.out.Tiers = append(c.out.Tiers, *t)
	}
	if c.was.was.mean && c.was.total != "" && c.ratios > 0 && c.totals > 0 {
		c.out.Span = &SpanVerified{Mean: c.means / c.ratios, Weighted: c.errors / c.totals}
	}
	return c.out
}

// Why is the causes in words, the greatest first.
func (t TierVerified) Why() string {
	var causes []Cause
	for c := range t.Because {
		causes = append(causes, c)
	}
	slices.SortFunc(causes, func(a, b Cause) int {
		return cmp.Or(cmp.Compare(t.Because[b], t.Because[a]), strings.Compare(string(a), string(b)))
	})
	var parts []string
	for _, c := range causes {
		parts = append(parts, string(c)+" "+model.Duration(t.Because[c]).String())
	}
	if t.Unexplained > 0 {
		parts = append(parts, "unexplained "+model.Duration(t.Unexplained).String())
	}
	return strings.Join(parts, ", ")
}
