package prom

import (
	"context"
	"math"
	"strings"
	"sync"
	"time"

	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql/parser"
)

// Ahead answers instant queries that are asked tick after tick out of range queries, so that a past of many ticks costs few
// requests: rules are tested, and run over history, by the evaluator that asks for each tick by itself. Its answers are those
// of the instant queries.
//
//	asked at   t        t+15s    t+30s               t+2m30s
//	sent       instant  range of the next 8 ticks    range of the next 16 …
//
// What a query is asked at again and again tells how it will be asked: at the second time the distance is known, and a range
// with that step is asked for. While all of a range is used the next one is twice as long, up to what a Prometheus answers; a
// query that is not asked for a while begins anew with a short one. So a long window that is looked at once costs little.
//
// # Why the answers are equal
//
// The steps of a range query are evaluated each by itself, and PromQL gives a step what it gives an instant but for these, all of
// which are asked as they are: `@ start()` and `@ end()`, what depends on the step, and an order that means something (sort, topk).
// An error or a warning of a range may be about one of its steps alone: then the instants are asked for. Infos are not passed on, and
// the elements of a vector come in any order, as those of an instant query do.
//
// # What it rests on
//
// What was answered once is not asked again: it is for times of which everything is known, be it samples in memory or history
// behind Until. An API that is to fail at some instants (series.Away) goes around an Ahead, and not into it.
//
// Any number of goroutines may ask. Answers are shared and must not be changed.
type Ahead struct {
	v1.API
	opts AheadOptions

	mu    sync.Mutex // guards the rest
	runs  map[string]*run
	kept  int   // values in all blocks
	clock int64 // counts questions, by which what was asked long ago is known
}

// AheadOptions bound what is asked for and kept. The zero value is good.
type AheadOptions struct {
	// Until is the last instant that may be asked for before somebody asks for it; the zero time is no bound. Of a server that still
	// gathers samples it has to be some time ago.
	Until time.Time
	// Values bounds the answer to one range query: a client reads 4 MiB at most, and a value takes 30 bytes on the wire. 0: 50,000.
	Values int
	// Kept bounds the values in memory, at 40 bytes each. What was asked for the longest ago is forgotten first. 0: 4,000,000.
	Kept int
}

// The limits of a range query.
const (
	maxSteps   = 11_000 // that a Prometheus answers at most
	firstSteps = 8
	maxRuns    = 20_000 // texts that are remembered; few recur where requests are fused in ever new groups
	maxWait    = 64
)

// NewAhead makes an Ahead of api.
func NewAhead(api v1.API, opts AheadOptions) *Ahead {
	if opts.Values <= 0 {
		opts.Values = 50_000
	}
	if opts.Kept <= 0 {
		opts.Kept = 4_000_000
	}
	return &Ahead{API: api, opts: opts, runs: map[string]*run{}}
}

// run is a query that is asked again and again. Ahead.mu guards it, but for turn.
type run struct {
	turn    chan struct{} // full while somebody asks for its next range
	used    int64         // when it was last asked for, by Ahead.clock
	form    form
	last    int64 // the instant asked for last
	step    int64 // between two instants; 0: not known
	distant int64 // another distance, seen once
	next    int   // steps of the next range
	wait    int   // instants to be asked as they are, since a range could not be used
	failed  int   // ranges in a row that could not be used
	block   *block
}

// form is how a query has to be asked.
type form int

const (
	asItIs form = iota
	vectors
	scalars
)

// block is the answer to a range query.
type block struct {
	start, step int64 // milliseconds
	steps       []model.Value
	values      int
}

// at is the answer at an instant; nil where it has none.
func (b *block) at(ms int64) model.Value {
	if b == nil || ms < b.start || (ms-b.start)%b.step != 0 {
		return nil
	}
	if i := (ms - b.start) / b.step; i < int64(len(b.steps)) {
		return b.steps[i]
	}
	return nil
}

// Knowing is a source that has some answers already. They cost no request, and no goroutine either.
type Knowing interface {
	// Known is what Query would answer, without a warning and without an error; false where it would have to ask.
	Known(text string, at time.Time) (model.Value, bool)
}

// Known implements Knowing.
func (a *Ahead) Known(text string, at time.Time) (model.Value, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	r := a.runs[text]
	if r == nil {
		return nil, false
	}
	v := r.block.at(at.UnixMilli())
	if v == nil || at.Nanosecond()%int(time.Millisecond) != 0 {
		return nil, false
	}
	a.touch(r, at.UnixMilli())
	return v, true
}

// touch notes that r was asked for. The caller holds mu.
func (a *Ahead) touch(r *run, ms int64) {
	a.clock++
	r.used, r.last = a.clock, ms
}

// Query implements v1.API.
func (a *Ahead) Query(ctx context.Context, text string, at time.Time, opts ...v1.Option) (model.Value, v1.Warnings, v1.Infos, error) {
	if at.Nanosecond()%int(time.Millisecond) != 0 { // servers round such a time, each as it likes
		return a.API.Query(ctx, text, at, opts...)
	}
	if v, ok := a.Known(text, at); ok {
		return v, nil, nil, nil
	}
	if r := a.runOf(text); r.form != asItIs {
		select {
		case r.turn <- struct{}{}:
		case <-ctx.Done():
			return nil, nil, nil, context.Cause(ctx)
		}
		v, ok := a.Known(text, at) // others may have asked meanwhile
		if !ok {
			if steps, step := a.plan(r, at); steps > 1 {
				v, ok = a.ask(ctx, r, text, at, steps, step, opts)
			}
		}
		<-r.turn
		if ok {
			return v, nil, nil, nil
		}
	}
	return a.API.Query(ctx, text, at, opts...)
}

// runOf finds or begins the run of a text.
func (a *Ahead) runOf(text string) *run {
	a.mu.Lock()
	r := a.runs[text]
	a.mu.Unlock()
	if r != nil {
		return r
	}
	form := formOf(text)
	a.mu.Lock()
	defer a.mu.Unlock()
	if r = a.runs[text]; r == nil {
		if len(a.runs) >= maxRuns {
			a.forget(len(a.runs)-maxRuns/2, 0)
		}
		r = &run{form: form, turn: make(chan struct{}, 1), next: firstSteps, last: math.MinInt64}
		a.runs[text] = r
	}
	return r
}

// plan says which range to ask for from at on; a single step where the instant is to be asked for alone.
func (a *Ahead) plan(r *run, at time.Time) (steps int, step time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	ms := at.UnixMilli()
	last := r.last
	a.touch(r, ms)
	if last == math.MinInt64 || ms <= last {
		return 1, 0
	}
	d := ms - last
	goesOn := d == r.step
	switch {
	case goesOn:
	case r.step == 0, d == r.distant: // twice the same
		r.step, r.distant = d, 0
	default:
		r.distant = d
	}
	if !goesOn {
		r.next = firstSteps
	}
	if r.wait > 0 {
		r.wait--
		return 1, 0
	}
	steps = min(r.next, maxSteps)
	if b := r.block; b != nil && len(b.steps) > 0 {
		// As many series as last time.
		steps = min(steps, max(1, int(int64(a.opts.Values)*int64(len(b.steps))/int64(max(1, b.values)))))
	}
	if !a.opts.Until.IsZero() {
		steps = int(min(int64(steps), max(0, a.opts.Until.UnixMilli()-ms)/r.step+1))
	}
	r.next = min(2*max(steps, firstSteps), maxSteps)
	return steps, time.Duration(r.step) * time.Millisecond
}

// ask asks for a range and answers its first step; false where the range cannot be used. The caller has r's turn.
func (a *Ahead) ask(ctx context.Context, r *run, text string, at time.Time, steps int, step time.Duration, opts []v1.Option) (model.Value, bool) {
	var noted note
	own, cancel := context.WithValue(ctx, noteKey{}, &noted), context.CancelFunc(func() {})
	if deadline, ok := ctx.Deadline(); ok { // the other half is for the instant alone
		own, cancel = context.WithTimeout(own, time.Until(deadline)/2)
	}
	v, warnings, _, err := a.QueryRange(own, text, v1.Range{Start: at, End: at.Add(time.Duration(steps-1) * step), Step: step}, opts...)
	cancel()
	if asked, ok := ctx.Value(noteKey{}).(*note); ok {
		asked.samples, asked.ahead = noted.samples/int64(steps), noted.ahead
	}
	var b *block
	if m, ok := v.(model.Matrix); ok && err == nil && !doubtful(warnings) {
		b = blockOf(m, r.form, at.UnixMilli(), step.Milliseconds(), steps)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if r.block != nil && a.runs[text] == r {
		a.kept -= r.block.values
	}
	r.block = b
	if b == nil {
		r.failed++
		r.wait, r.next = min(1<<min(r.failed, 10), maxWait), max(2, steps/4)
		return nil, false
	}
	r.failed = 0
	if a.runs[text] == r {
		a.kept += b.values
		if a.kept > a.opts.Kept {
			a.forget(0, a.kept-a.opts.Kept/2)
		}
	}
	return b.steps[0], true
}

// doubtful reports whether warnings may be about some of the steps only.
func doubtful(warnings v1.Warnings) bool {
	for _, w := range warnings {
		if !strings.HasPrefix(w, "PromQL info:") {
			return true
		}
	}
	return false
}

// forget drops at least so many runs and so many values, those asked for the longest ago. The caller holds mu.
func (a *Ahead) forget(runs, values int) {
	for runs > 0 || values > 0 {
		// A tenth at a time: what is asked for at each tick has the highest numbers.
		var oldest, newest int64 = math.MaxInt64, 0
		for _, r := range a.runs {
			oldest, newest = min(oldest, r.used), max(newest, r.used)
		}
		if oldest == math.MaxInt64 {
			return
		}
		before := oldest + (newest-oldest)/10
		for text, r := range a.runs {
			if r.used > before {
				continue
			}
			if r.block != nil {
				a.kept -= r.block.values
				values -= r.block.values
			}
			delete(a.runs, text)
			runs--
		}
	}
}

// blockOf cuts the answer to a range query into its steps; nil when it is not what such a query answers.
func blockOf(m model.Matrix, form form, start, step int64, n int) *block {
	b := &block{start: start, step: step, steps: make([]model.Value, n)}
	index := func(t model.Time) int {
		i := (int64(t) - start) / step
		if (int64(t)-start)%step != 0 || i < 0 || i >= int64(n) {
			return -1
		}
		return int(i)
	}
	ends := make([]int, n)
	for _, s := range m {
		for _, p := range s.Values {
			if i := index(p.Timestamp); i >= 0 {
				ends[i]++
				b.values++
				continue
			}
			return nil
		}
		for _, p := range s.Histograms {
			if i := index(p.Timestamp); i >= 0 {
				ends[i]++
				b.values++
				continue
			}
			return nil
		}
	}
	if form == scalars {
		if len(m) != 1 || len(m[0].Values) != n {
			return nil
		}
		list := make([]model.Scalar, n)
		for i, p := range m[0].Values {
			list[i] = model.Scalar{Value: p.Value, Timestamp: p.Timestamp}
			b.steps[i] = &list[i]
		}
		return b
	}
	list, refs := make([]model.Sample, b.values), make([]*model.Sample, b.values)
	for i, total := 0, 0; i < n; i++ {
		count := ends[i]
		b.steps[i] = model.Vector(refs[total : total+count : total+count])
		ends[i] = total // from here on: where the next one goes
		total += count
	}
	put := func(i int, s model.Sample) {
		k := ends[i]
		list[k], refs[k] = s, &list[k]
		ends[i]++
	}
	for _, s := range m {
		for _, p := range s.Values {
			put(index(p.Timestamp), model.Sample{Metric: s.Metric, Value: p.Value, Timestamp: p.Timestamp})
		}
		for _, p := range s.Histograms {
			put(index(p.Timestamp), model.Sample{Metric: s.Metric, Timestamp: p.Timestamp, Histogram: p.Histogram})
		}
	}
	b.values = max(b.values, n) // an empty step takes its room too
	return b
}

// formOf says how a query is to be asked. What cannot be read is asked as it is: the source has its own words for what is wrong.
func formOf(text string) form {
	root, err := promQL.ParseExpr(text)
	if err != nil {
		return asItIs
	}
	form := vectors
	switch root.Type() {
	case parser.ValueTypeVector:
	case parser.ValueTypeScalar:
		form = scalars
	default:
		return asItIs
	}
	parser.Inspect(root, func(n parser.Node, _ []parser.Node) error {
		switch n := n.(type) {
		case *parser.VectorSelector:
			if n.StartOrEnd != 0 || n.OriginalOffsetExpr != nil {
				form = asItIs
			}
		case *parser.MatrixSelector:
			if n.RangeExpr != nil {
				form = asItIs
			}
		case *parser.SubqueryExpr:
			if n.StartOrEnd != 0 || n.OriginalOffsetExpr != nil || n.RangeExpr != nil || n.StepExpr != nil {
				form = asItIs
			}
		case *parser.AggregateExpr:
			switch n.Op {
			case parser.TOPK, parser.BOTTOMK, parser.LIMITK, parser.LIMIT_RATIO:
				form = asItIs
			}
		case *parser.Call:
			switch n.Func.Name {
			case "sort", "sort_desc", "sort_by_label", "sort_by_label_desc", "info", "start", "end", "range", "step":
				form = asItIs
			}
		}
		return nil
	})
	return form
}
