package convert

import (
	"cmp"
	"context"
	"errors"
	"fmt"
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
