package prom

import (
	"cmp"
	"context"
	"math"
	"slices"
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
	// First is how many steps the first range of a row has, and Growth how many times as long as the last one the next is. 0: 8, and 2.
	// Where a row is likely to go on for long, greater ones save requests.
	First, Growth int
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
	opts.First, opts.Growth = cmp.Or(opts.First, firstSteps), cmp.Or(opts.Growth, 2)
	return &Ahead{API: api, opts: opts, runs: map[string]*run{}}
}

// run is a query that is asked again and again. Ahead.mu guards it, but for turn.
type run struct {
	turn     chan struct{} // full while somebody asks for its next range
	used     int64         // when it was last asked for, by Ahead.clock
	form     form
	tracks   []*track // the first one is of what nobody said to expect
	expected []expected
}

// track is a row of instants with one distance between them. A query may be on several: the same window is asked for at ticks, and at
// a cadence.
type track struct {
	last    int64 // the instant asked for last
	step    int64 // between two instants; 0: not known
	distant int64 // another distance, seen once
	next    int   // steps of the next range
	wait    int   // instants to be asked as they are, since a range could not be used
	failed  int   // ranges in a row that could not be used
	block   *block
	before  *block // the one before it: of several who ask in turn the last one may still want its end
}

// expected is an instant that somebody will ask for, and the track it is on.
type expected struct {
	ms int64
	on *track
}

// What is kept of a query: who expects more than is asked for is forgotten.
const (
	maxMissed   = 4 // instants of a row that are not asked for, and it goes on
	maxTracks   = 4
	maxExpected = 8
)

// at is the answer at an instant, and the track that has it; nil where none has.
func (r *run) at(ms int64) (model.Value, *track) {
	for _, t := range r.tracks {
		for _, b := range []*block{t.block, t.before} {
			if v := b.at(ms); v != nil {
				return v, t
			}
		}
	}
	return nil, nil
}

// track is the one an instant is on.
func (r *run) track(ms int64) *track {
	for i, e := range r.expected {
		if e.ms == ms {
			r.expected = slices.Delete(r.expected, i, i+1)
			return e.on
		}
	}
	return r.tracks[0]
}

// values is how many it keeps.
func (r *run) values() (n int) {
	for _, t := range r.tracks {
		for _, b := range []*block{t.block, t.before} {
			if b != nil {
				n += b.values
			}
		}
	}
	return n
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

// Expecting is a source that can make use of knowing what it will be asked.
type Expecting interface {
	// Expect says that text will be asked for at an instant, and after that likely at each further step.
	Expect(text string, at time.Time, step time.Duration)
}

// Expect implements Expecting.
func (a *Ahead) Expect(text string, at time.Time, step time.Duration) {
	r := a.runOf(text)
	a.mu.Lock()
	defer a.mu.Unlock()
	ms, apart := at.UnixMilli(), step.Milliseconds()
	if v, _ := r.at(ms); v != nil || apart <= 0 {
		return
	}
	i := slices.IndexFunc(r.tracks[1:], func(t *track) bool { return t.step == apart })
	if i++; i == 0 {
		if len(r.tracks) == maxTracks {
			return
		}
		i, r.tracks = len(r.tracks), append(r.tracks, &track{step: apart, last: math.MinInt64})
	}
	t := r.tracks[i]
	// Some instants may have been on another track, or known.
	if gap := ms - t.last; gap <= 0 || gap > maxMissed*apart || gap%apart != 0 {
		t.next = a.opts.First
	}
	t.last = ms - apart
	if len(r.expected) == maxExpected {
		r.expected = r.expected[1:]
	}
	r.expected = append(r.expected, expected{ms, t})
}

// Known implements Knowing.
func (a *Ahead) Known(text string, at time.Time) (model.Value, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	r := a.runs[text]
	if r == nil {
		return nil, false
	}
	v, t := r.at(at.UnixMilli())
	if v == nil || at.Nanosecond()%int(time.Millisecond) != 0 {
		return nil, false
	}
	a.touch(r, t, at.UnixMilli())
	return v, true
}

// touch notes that r was asked for. The caller holds mu.
func (a *Ahead) touch(r *run, t *track, ms int64) {
	a.clock++
	r.used, t.last = a.clock, ms
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
		if v, ok := a.inTurn(ctx, r, text, at, opts); ok {
			return v, nil, nil, nil
		}
	}
	return a.API.Query(ctx, text, at, opts...)
}

// inTurn answers an instant out of a range, if it can. The caller has r's turn, which is given on: by a panic too, as those that wait for
// it would wait until their time is over.
func (a *Ahead) inTurn(ctx context.Context, r *run, text string, at time.Time, opts []v1.Option) (model.Value, bool) {
	defer func() { <-r.turn }()
	if v, ok := a.Known(text, at); ok { // others may have asked meanwhile
		return v, true
	}
	if t, steps := a.plan(r, at); steps > 1 {
		return a.ask(ctx, r, t, text, at, steps, opts)
	}
	return nil, false
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
		r = &run{form: form, turn: make(chan struct{}, 1), tracks: []*track{{next: a.opts.First, last: math.MinInt64}}}
		a.runs[text] = r
	}
	return r
}

// plan says how many steps to ask for from at on, and on which track; a single one where the instant is to be asked for alone.
func (a *Ahead) plan(r *run, at time.Time) (*track, int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	ms := at.UnixMilli()
	t := r.track(ms)
	last := t.last
	a.touch(r, t, ms)
	if last == math.MinInt64 || ms <= last {
		return t, 1
	}
	d := ms - last
	goesOn := d == t.step
	switch {
	case goesOn:
	case t.step == 0, d == t.distant: // twice the same
		t.step, t.distant = d, 0
	default:
		t.distant = d
	}
	if !goesOn {
		t.next = a.opts.First
	}
	if t.wait > 0 {
		t.wait--
		return t, 1
	}
	steps := min(t.next, maxSteps)
	if b := t.block; b != nil && len(b.steps) > 0 {
		// As many series as last time.
		steps = min(steps, max(1, int(int64(a.opts.Values)*int64(len(b.steps))/int64(max(1, b.values)))))
	}
	if !a.opts.Until.IsZero() {
		steps = int(min(int64(steps), max(0, a.opts.Until.UnixMilli()-ms)/t.step+1))
	}
	t.next = min(a.opts.Growth*max(steps, a.opts.First), maxSteps)
	return t, steps
}

// ask asks for a range and answers its first step; false where the range cannot be used. The caller has r's turn.
func (a *Ahead) ask(ctx context.Context, r *run, t *track, text string, at time.Time, steps int, opts []v1.Option) (model.Value, bool) {
	var noted note
	own, cancel := context.WithValue(ctx, noteKey{}, &noted), context.CancelFunc(func() {})
	if deadline, ok := ctx.Deadline(); ok { // the other half is for the instant alone
		own, cancel = context.WithTimeout(own, time.Until(deadline)/2)
	}
	step := time.Duration(t.step) * time.Millisecond // whoever has the turn alone changes it
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
	if t.before != nil && a.runs[text] == r {
		a.kept -= t.before.values
	}
	t.block, t.before = b, t.block
	if b == nil {
		t.failed++
		t.wait, t.next = min(1<<min(t.failed, 10), maxWait), max(2, steps/4)
		return nil, false
	}
	t.failed = 0
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
			n := r.values()
			a.kept -= n
			values -= n
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
