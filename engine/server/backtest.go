package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/config"
	"golang.org/x/sync/errgroup"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/api"
	"github.com/modeshift/modeshift/engine/crash"
	"github.com/modeshift/modeshift/engine/ledger"
	"github.com/modeshift/modeshift/engine/loop"
	"github.com/modeshift/modeshift/engine/rehearse"
	"github.com/modeshift/modeshift/engine/report"
	"github.com/modeshift/modeshift/rules"
	"github.com/modeshift/modeshift/rules/prom"
)

// BacktestOptions say which past rules are led through.
type BacktestOptions struct {
	Prometheus string // URL
	From, To   time.Time
	Step       time.Duration // between two ticks; 0: DefaultBacktestStep
	Versions   []BacktestRules
	Labels     []report.Label // incidents there were; nil: nobody says
	Tolerance  time.Duration  // after an incident's end
	// Approve is how long after a proposal people say yes to it; negative: nobody answers.
	Approve  time.Duration
	Parallel int // queries under way; 0: prom.DefaultPast
	// EveryTick asks for everything at each tick, also where nothing comes near a limit: see prom.Sparse.
	EveryTick bool
	// Progress is told how much is done, as a share of 1; it may be called by several at once. nil: nobody listens.
	Progress func(done float64)

	plain func(v1.API) v1.API // in place of reading ahead, for tests; nil: read ahead
}

// BacktestRules are one set of rules, and what to call it. They are loaded as the server would load them: at its interval.
type BacktestRules struct {
	Name string
	Set  *rules.Set
}

// Steps of a backtest: as fine as the server's ticks while that is cheap.
const (
	fineBacktest    = 15 * time.Second
	coarseBacktest  = time.Minute
	fineBacktestFor = 72 * time.Hour
	// MaxBacktestStep keeps a tick within the shortest window that people write.
	MaxBacktestStep = 5 * time.Minute
)

// DefaultBacktestStep is the step that suits a span.
func DefaultBacktestStep(span time.Duration) time.Duration {
	if span > fineBacktestFor {
		return coarseBacktest
	}
	return fineBacktest
}

// Backtest leads rules through the past of a Prometheus, by the evaluator, the loop and the core of production. It fails where the
// server does not answer what it has to: what was unknown at the time is in the result, and what was merely not told now must
// not look like it. A panic about a team leaves its services out, which a note says too; the error is then beside what came of the others.
func Backtest(ctx context.Context, o BacktestOptions) (*report.Backtest, error) {
	if err := webURL("--prometheus", o.Prometheus); err != nil {
		return nil, err
	}
	api, err := prom.DialPast("backtest", config.DefaultHTTPClientConfig, o.Prometheus)
	if err != nil {
		return nil, err
	}
	o.Step = cmp.Or(o.Step, DefaultBacktestStep(o.To.Sub(o.From)))
	began := time.Now()
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	b := backtest{BacktestOptions: o, patient: prom.NewPatient(api, prom.PatientOptions{Parallel: o.Parallel, OnFail: fail})}
	if err := b.reach(ctx); err != nil {
		return nil, err
	}
	out, err := b.run(ctx)
	if cause := context.Cause(ctx); cause != nil {
		return nil, cause
	}
	if out == nil {
		return nil, err
	}
	out.Queries, out.Took = b.patient.Sent(), report.Seconds(time.Since(began).Seconds())
	return out, err
}

// backtest is one run.
type backtest struct {
	BacktestOptions
	patient *prom.Patient

	whole int64        // steps to be made
	made  atomic.Int64 // of them

	mu   sync.Mutex                    // guards kept
	kept map[ledger.Key]*ledger.Ledger // of services that had incidents
}

// reach sees whether the server answers at all before anything long is begun.
func (b *backtest) reach(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	_, _, _, err := b.patient.Query(ctx, "vector(1)", b.To)
	return err
}

// team is what has to be rehearsed together: services that see one another, under each version.
type team []engine.Scope

// String names it in a sentence.
func (t team) String() string {
	names := make([]string, len(t))
	for i, scope := range t {
		names[i] = string(scope)
	}
	return strings.Join(names, " and ")
}

// teams are all services of all versions, in parts of which none sees another: by its conditions or its place in the tree.
func (b *backtest) teams() []team {
	of := map[engine.Scope]engine.Scope{} // the scope that stands for the team
	var root func(engine.Scope) engine.Scope
	root = func(s engine.Scope) engine.Scope {
		if of[s] == s || of[s] == "" {
			of[s] = s
			return s
		}
		of[s] = root(of[s])
		return of[s]
	}
	join := func(a, b engine.Scope) { of[root(a)] = root(b) }
	declared := map[engine.Scope]bool{}
	for _, v := range b.Versions {
		for _, s := range v.Set.Services {
			scope := s.Policy.Scope
			declared[scope] = true
			root(scope)
			if s.Policy.Parent != "" {
				join(scope, s.Policy.Parent)
			}
			for _, c := range s.Conditions {
				for _, signal := range c.Signals() {
					if signal.Kind == rules.SignalMode {
						join(scope, engine.Scope(signal.Name))
					}
				}
			}
		}
	}
	all := map[engine.Scope]team{}
	for scope := range declared {
		all[root(scope)] = append(all[root(scope)], scope)
	}
	list := make([]team, 0, len(all))
	for _, t := range all {
		slices.Sort(t)
		list = append(list, t)
	}
	slices.SortFunc(list, func(a, b team) int { return strings.Compare(string(a[0]), string(b[0])) })
	return list
}

// run rehearses all teams, some at a time, and puts together what came of them. Beside a result the error is of teams that are not in it.
func (b *backtest) run(ctx context.Context) (*report.Backtest, error) {
	out := &report.Backtest{From: b.From.UTC(), To: b.To.UTC(), Step: report.Seconds(b.Step.Seconds()), Offset: report.Seconds(prom.DefaultQueryOffset.Seconds()), Notes: b.notes()}
	b.kept = map[ledger.Key]*ledger.Ledger{}
	for _, v := range b.Versions {
		out.Versions = append(out.Versions, report.BacktestVersion{Name: v.Name, Digest: v.Set.Digest, Services: []report.BacktestService{}})
	}
	teams := b.teams()
	b.whole = int64(len(teams)) * int64(b.To.Sub(b.From)/b.Step+1)
	var mu sync.Mutex // guards out and crashes
	var crashes []error
	var jobs errgroup.Group
	// A team waits for the server for most of the time at first, and for a processor later.
	jobs.SetLimit(2 * cmp.Or(b.Parallel, prom.DefaultPast))
	for _, t := range teams {
		jobs.Go(func() error {
			var services [][]report.BacktestService
			err := crash.Try(func() (err error) {
				services, err = b.rehearse(ctx, t)
				return err
			})
			mu.Lock()
			defer mu.Unlock()
			switch {
			case crash.Of(err) != nil && ctx.Err() == nil:
				crashes = append(crashes, fmt.Errorf("%s: %w", t, err))
				return nil
			case err != nil:
				return err
			}
			for i := range services {
				out.Versions[i].Services = append(out.Versions[i].Services, services[i]...)
			}
			return nil
		})
	}
	if err := jobs.Wait(); err != nil {
		return nil, err
	}
	slices.SortFunc(crashes, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	crashed := errors.Join(crashes...)
	for _, err := range crashes {
		out.Notes = append(out.Notes, "Not in here, nor judged by incidents: "+err.Error()+".")
	}
	for i := range out.Versions {
		v := &out.Versions[i]
		slices.SortFunc(v.Services, func(a, b report.BacktestService) int { return strings.Compare(string(a.Scope), string(b.Scope)) })
		if b.Labels == nil || crashed != nil { // incidents of what is not in here would pass for missed
			continue
		}
		v.Score = v.Judge(b.Labels, out.From, out.To, b.Tolerance)
		if err := b.spent(ctx, b.Versions[i].Set, v.Score); err != nil {
			return nil, err
		}
	}
	out.Compare()
	return out, crashed
}

// notes say how far the result can be trusted.
func (b *backtest) notes() []string {
	notes := []string{fmt.Sprintf("Every scope began at %s in its first mode, and knew nothing of the time before: what burned then already is told at the first tick.", b.From.UTC().Format(time.RFC3339))}
	if b.Step > fineBacktest {
		notes = append(notes, fmt.Sprintf("A tick every %s, where a server has one every %s: what is told of begins and ends up to %s later than it would, and what lasts shorter than that may be missed. --step 15s is exact, at %d times the work.",
			api.Duration(b.Step), api.Duration(fineBacktest), api.Duration(b.Step-fineBacktest), b.Step/fineBacktest))
	}
	if !b.EveryTick {
		notes = append(notes, "While an SLO's windows are far from every limit they are looked at every half of their length: a gap in the samples that is over before the next look is not seen, and errors in a short lull of the traffic may not be. --every-tick looks at each tick, at several times the work.")
	}
	if b.Approve < 0 {
		notes = append(notes, "Nobody answers proposals, so that nothing behind a gate happens. --approve 5m says yes to each after five minutes.")
	} else {
		notes = append(notes, fmt.Sprintf("All proposals are approved after %s.", api.Duration(b.Approve)))
	}
	return append(notes,
		"Steps do nothing and succeed at once; no instance follows, so that waves have none to wait for and divergence() is unknown; nobody sets a mode or freezes.",
		"The past does not answer: what a mode would have mended burns on, and stays until its condition is over.",
		"The brake is not rehearsed: services that do not see one another move by themselves.",
		"Of a source that nobody could see a server pages once; here each service tells of its own want of sight.")
}

// part is a team under one version.
type part struct {
	set       *rules.Set
	witnesses map[engine.Scope]*report.Witness
	rehearsal *rehearse.Rehearsal
	ledgers   map[ledger.Key]*ledger.Ledger
	people    *approvers
}

// rehearse leads a team through the time, under all versions side by side, so that both read the same answers.
func (b *backtest) rehearse(ctx context.Context, t team) ([][]report.BacktestService, error) {
	api := b.asking()
	parts := make([]*part, len(b.Versions))
	ledgers := map[ledger.Key]*ledger.Ledger{}
	for i, v := range b.Versions {
		p, err := b.part(ctx, v.Set, t, api, ledgers)
		if err != nil {
			return nil, err
		}
		parts[i] = p
	}
	for at := b.From; !at.After(b.To); at = at.Add(b.Step) {
		for _, p := range parts {
			if err := p.people.until(ctx, p.rehearsal, at); err != nil {
				return nil, err
			}
		}
		if n := b.made.Add(1); b.Progress != nil && n%1000 == 0 {
			b.Progress(float64(n) / float64(b.whole))
		}
	}
	out := make([][]report.BacktestService, len(parts))
	for i, p := range parts {
		for _, s := range p.set.Services {
			service := p.witnesses[s.Policy.Scope].Service()
			service.Budgets = b.budgets(s, p)
			b.keep(s, p)
			out[i] = append(out[i], service)
		}
	}
	return out, nil
}

// asking is whom a team asks: at ticks, and at instants far apart. Each team goes through the time by itself, and remembers what it was
// answered ahead of it by itself.
type asking struct{ ticks, grid v1.API } // grid is nil where everything is asked for at ticks

func (b *backtest) asking() asking {
	if b.plain != nil {
		return asking{ticks: b.plain(b.patient)}
	}
	ticks := prom.NewAhead(b.patient, prom.AheadOptions{Until: b.To})
	if b.EveryTick {
		return asking{ticks: ticks}
	}
	// On the grid nearly all is asked for up to the end.
	return asking{ticks: ticks, grid: prom.NewAhead(b.patient, prom.AheadOptions{Until: b.To, First: 64, Growth: 16})}
}

// part begins a team under one version.
func (b *backtest) part(ctx context.Context, set *rules.Set, t team, api asking, ledgers map[ledger.Key]*ledger.Ledger) (*part, error) {
	p := &part{set: &rules.Set{Digest: set.Digest}, witnesses: map[engine.Scope]*report.Witness{}, ledgers: ledgers, people: &approvers{after: b.Approve}}
	for _, scope := range t {
		if s := set.Service(scope); s != nil {
			p.set.Services = append(p.set.Services, s)
		}
	}
	sources := prom.Sources(p.set, api.ticks)
	if err := b.fill(ctx, p, sources); err != nil {
		return nil, err
	}
	// Nothing is late in a time that is over: who waits is the patient one, who says so when it is in vain.
	options := prom.Options{Budget: forever, QueryTimeout: forever, Remaining: p.remaining, Step: b.Step}
	if api.grid != nil {
		options.Sparse = &prom.Sparse{Sources: prom.Sources(p.set, api.grid), Until: b.To}
	}
	evaluator := prom.New(p.set, sources, options)
	r := loop.Rules{Digest: set.Digest, Whole: true, Missed: missed(p.set), Evaluate: func(ctx context.Context, tick loop.Tick) loop.Answer {
		a := answer(ctx, evaluator, tick)
		// Whether all others saw nothing either is not known here: each service tells of its own want of sight.
		a.SourceBlind, a.Sources = nil, nil
		for scope, seen := range a.Observations {
			p.witnesses[scope].Tick(tick.Instant, seen)
		}
		return a
	}}
	for _, s := range p.set.Services {
		policy := s.Policy
		policy.Interval = b.Step // the digest stays that of the server
		r.Policies = append(r.Policies, policy)
		p.witnesses[policy.Scope] = report.NewWitness(&policy, b.From, b.To, b.Step)
	}
	var err error
	p.rehearsal, err = rehearse.New(ctx, rehearse.Options{Rules: r, Interval: b.Step, BlindAfter: blindAfter, Start: b.From, OnCommit: func(events []engine.Event) {
		for _, e := range events {
			if w := p.witnesses[e.Stream]; w != nil {
				w.Event(e)
			}
			p.people.take(e)
		}
	}})
	return p, err
}

const (
	forever    = 1000 * time.Hour
	blindAfter = 5 * time.Minute
)

// approvers answer proposals, all with yes, or not at all.
type approvers struct {
	after time.Duration // negative: never
	asked []asked
}

// asked is a proposal they have to answer.
type asked struct {
	at    time.Time
	scope engine.Scope
	id    engine.ChangeID
}

// take hears what is asked.
func (p *approvers) take(e engine.Event) {
	if p.after < 0 {
		return
	}
	switch f := e.Fact.(type) {
	case engine.ChangeProposed:
		p.asked = append(p.asked, asked{e.At.Add(p.after), e.Stream, f.Proposal.ID})
	case engine.ProposalRenewed:
		p.asked = append(p.asked, asked{e.At.Add(p.after), e.Stream, f.Proposal})
	}
}

// until leads on, and answers what is due on the way. What was asked first is answered first.
func (p *approvers) until(ctx context.Context, r *rehearse.Rehearsal, to time.Time) error {
	for len(p.asked) > 0 && !p.asked[0].at.After(to) {
		next := p.asked[0]
		p.asked = p.asked[1:]
		if err := r.Until(ctx, next.at); err != nil {
			return err
		}
		if err := p.approve(ctx, r, next); err != nil {
			return err
		}
	}
	return r.Until(ctx, to)
}

// approve says yes for as many people as a gate wants, one a role and count. A proposal that is gone meanwhile needs nobody.
func (p *approvers) approve(ctx context.Context, r *rehearse.Rehearsal, a asked) error {
	view, _ := r.View(a.scope)
	i := slices.IndexFunc(view.State.Proposals, func(q engine.Proposal) bool { return q.ID == a.id })
	if i < 0 {
		return nil
	}
	proposal := view.State.Proposals[i]
	for _, g := range slices.Concat(proposal.Gate.Groups, proposal.Gate.To) {
		for n := range g.Count {
			name := fmt.Sprintf("%s-%d", g.Role, n+1)
			_, err := r.Do(ctx, a.scope, engine.Actor{Principal: name, Person: name},
				&engine.ReviewGiven{Proposal: proposal.ID, Digest: proposal.Digest, Yes: true, Roles: []string{g.Role}, Reason: "approved in a backtest"})
			var refused *loop.Error // it was decided by those before, or is not asked of this role
			if err != nil && !errors.As(err, &refused) {
				return err
			}
		}
	}
	return nil
}

// fill reads what the SLOs of a part measured, for their budgets: the period before in hours, the time itself in fine buckets where a
// reader would see the difference. What two versions measure alike is read once.
func (b *backtest) fill(ctx context.Context, p *part, sources []prom.Source) error {
	history := prom.NewHistory(p.set, sources, prom.HistoryOptions{Timeout: forever, Parallel: cmp.Or(b.Parallel, prom.DefaultPast)})
	for _, f := range history.Followed() {
		if p.ledgers[f.Key] != nil {
			continue
		}
		l := &ledger.Ledger{}
		p.ledgers[f.Key] = l
		hour, reach := b.From.Truncate(time.Hour), b.farthest(f.Key)
		fine := hour
		if !b.finely(f.Scope) {
			fine = b.To.Truncate(time.Hour)
		}
		for _, span := range []ledger.Ask{
			{From: hour.Add(-reach).Truncate(time.Hour), To: fine, Width: ledger.Coarse},
			{From: fine, To: b.To.Truncate(ledger.Fine), Width: ledger.Fine},
		} {
			const most = 10_000 // points of an answer; a server gives 11,000
			for from := span.From; from.Before(span.To); from = from.Add(most * span.Width) {
				to := from.Add(most * span.Width)
				if to.After(span.To) {
					to = span.To
				}
				a := history.Read(ctx, ledger.Ask{Keys: []ledger.Key{f.Key}, From: from, To: to, Width: span.Width})[0]
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
				for _, bucket := range a.Buckets { // none where a.Why says that nothing of it can be known
					l.Put(bucket)
				}
			}
		}
	}
	return nil
}

// farthest is how far back the versions look at what they measure alike: their periods may differ.
func (b *backtest) farthest(key ledger.Key) (reach time.Duration) {
	for _, v := range b.Versions {
		if s := v.Set.Service(key.Scope); s != nil {
			if slo := s.SLO(key.SLO); slo != nil && slo.Measure == key.Digest {
				reach = max(reach, prom.LedgerPeriod(slo).Reach())
			}
		}
	}
	return reach
}

// finely reports whether hours are too coarse for a scope's budgets: a server has finer ones of its last three days, and a condition, a
// mode that pauses an SLO or an incident may ask for them anywhere.
func (b *backtest) finely(scope engine.Scope) bool {
	if b.To.Sub(b.From) <= ledger.FineFor || len(b.Labels) > 0 {
		return true
	}
	for _, v := range b.Versions {
		s := v.Set.Service(scope)
		if s == nil {
			continue
		}
		if slices.ContainsFunc(s.Policy.Modes, func(m engine.ModeRule) bool { return len(m.Pause) > 0 }) {
			return true
		}
		for _, c := range s.Conditions {
			if slices.ContainsFunc(c.Signals(), func(s rules.Signal) bool { return s.Kind == rules.SignalBudget }) {
				return true
			}
		}
	}
	return false
}

// remaining is what is left of an SLO's budget at an instant of the rehearsal, for conditions.
func (p *part) remaining(scope engine.Scope, slo *rules.SLO, at time.Time) engine.Reading {
	return prom.Left(p.ledgers[prom.LedgerKey(scope, slo)].Budget(p.question(scope, slo, at)), at)
}

// question is the server's; what a mode paused is left out here too.
func (p *part) question(scope engine.Scope, slo *rules.SLO, at time.Time) ledger.Question {
	var state engine.State
	if p.rehearsal != nil {
		view, _ := p.rehearsal.View(scope)
		state = view.State
	}
	return (&budgetBook{}).question(slo, at, state, at)
}

// budgets are those of a service at the end.
func (b *backtest) budgets(s *rules.Service, p *part) []report.BudgetEnd {
	list := []report.BudgetEnd{}
	step := time.Hour
	for step*maxBurnPoints < b.To.Sub(b.From) {
		step += time.Hour
	}
	for step > ledger.Fine && b.To.Sub(b.From)/step < 60 {
		step -= ledger.Fine
	}
	for i := range s.SLOs {
		slo := &s.SLOs[i]
		q := p.question(s.Policy.Scope, slo, b.To)
		l := p.ledgers[prom.LedgerKey(s.Policy.Scope, slo)]
		left := l.Budget(q)
		e := report.BudgetEnd{SLO: slo.Name, Objective: slo.Objective.String(), Period: periodText(slo), Step: report.Seconds(step.Seconds()), Burn: []report.Burn{},
			Left: report.Left{At: ledger.Due(b.To), Known: left.Unknown == "", Remaining: left.Remaining, Unknown: strings.TrimSuffix(string(left.Unknown)+": "+left.Detail, ": ")}}
		for _, point := range l.Series(slo.Budget, b.From, b.To, step, q.Excluded) {
			to := point.At.Add(step)
			if to.After(b.To) {
				to = b.To
			}
			e.Burn = append(e.Burn, report.Burn{From: point.At.UTC(), To: to.UTC(), Rate: point.Burn, Known: point.Known})
		}
		list = append(list, e)
	}
	return list
}

// maxBurnPoints is how many a chart shows.
const maxBurnPoints = 240

// keep keeps the ledgers of a service that had incidents: what was spent is weighed by the traffic of the whole period.
func (b *backtest) keep(s *rules.Service, p *part) {
	if !slices.ContainsFunc(b.Labels, func(l report.Label) bool { return l.Service == s.Policy.Scope }) {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range s.SLOs {
		key := prom.LedgerKey(s.Policy.Scope, &s.SLOs[i])
		b.kept[key] = p.ledgers[key]
	}
}

// spent finds out which share of its budget an SLO had spent between the start of each incident and the detection: its errors in that time,
// asked for as they are, ÷ those that the budget allows for the traffic of the period.
func (b *backtest) spent(ctx context.Context, set *rules.Set, score *report.Score) error {
	for i := range score.Incidents {
		h := &score.Incidents[i]
		service := set.Service(h.Service)
		window := h.At.Sub(h.Start).Truncate(time.Millisecond) // queries know no shorter time
		if !h.Detected || service == nil || window <= 0 {
			continue
		}
		slo := service.SLO(h.SpentSLO)
		if slo == nil { // a transition's own incident: no SLO says what was spent
			continue
		}
		key := prom.LedgerKey(h.Service, slo)
		one := &rules.Set{Services: []*rules.Service{service}}
		history := prom.NewHistory(one, prom.Sources(one, b.patient), prom.HistoryOptions{Timeout: forever})
		a := history.Read(ctx, ledger.Ask{Keys: []ledger.Key{key}, From: h.At.Add(-window), To: h.At, Width: window})[0]
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		period := b.kept[key].Budget(ledger.Question{Period: prom.LedgerPeriod(slo), Budget: slo.Budget, At: h.At})
		if a.Why != "" || len(a.Buckets) != 1 || a.Buckets[0].Why != "" || period.Unknown != "" || period.Total == 0 {
			continue
		}
		// Of a period of which a part is unknown, or still to come, the rest is taken to have had the same traffic.
		whole := period.Total / period.Coverage * period.Length.Seconds() / period.Elapsed.Seconds()
		h.Spent, h.SpentKnown = a.Buckets[0].Errors/(slo.Budget*whole), true
	}
	score.Spread()
	return nil
}
