package rules

import (
	"fmt"
	"math"
	"math/big"
	"slices"
	"strconv"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"github.com/prometheus/common/model"

	"github.com/modeshift/modeshift/engine"
)

// A condition is a tree of and, or, not and ?: over leaves. The leaves are what CEL evaluates (comparisons), and the SLOs'
// tiers. CEL's own && and || know the unknown too; that this tree is walked here instead is because of the question CEL does
// not answer: which of the signals that were not asked for can still decide the whole.
//
// Each part says which truths it can still come to once everything missing has been answered. A part whose missing signals
// can only lead to a truth that the parts around it have no use for is not asked for: nothing is missing in
// `(U && m) || U`, where U was asked and is unknown.

// outcome is what a part comes to.
type outcome struct {
	truth engine.Truth
	// canTrue and canFalse say which truths it has or can still come to. Neither: it is unknown whatever is asked.
	canTrue, canFalse bool
}

var (
	hopeless = outcome{}
	open     = outcome{canTrue: true, canFalse: true}
)

func decided(b bool) outcome {
	return outcome{truth: engine.TruthOf(b), canTrue: b, canFalse: !b}
}

// expr is a part of a condition.
type expr interface {
	eval(*evaluation) outcome
	// collect notes the missing signals that can make this part true (if that is wanted) or false (if that is).
	collect(e *evaluation, wantTrue, wantFalse bool)
	part(e *evaluation) Part
}

// evaluation is one run of a condition.
type evaluation struct {
	lookup  Lookup
	answers []answer
	missing []Signal
	// both: of a burn-rate pair both windows are noted as missing, not the short one before the long one.
	both bool
	// disagree are signals whose replicas came to different truths.
	disagree []Signal
	// frame and open are those of the atom that is run, one at a time: none is inside of another.
	frame frame
	open  []int
}

type answer struct {
	signal Signal
	value  Value
	asked  bool
}

// get looks a signal up, once. The value is not to be changed: it is the one that all parts see.
func (e *evaluation) get(s Signal) (v *Value, asked bool) {
	for i := range e.answers {
		if e.answers[i].signal == s {
			return &e.answers[i].value, e.answers[i].asked
		}
	}
	e.answers = append(e.answers, answer{signal: s})
	a := &e.answers[len(e.answers)-1]
	a.value, a.asked = e.lookup(s)
	return &a.value, a.asked
}

func (e *evaluation) used() []Signal {
	n := 0
	for i := range e.answers {
		if e.answers[i].asked {
			n++
		}
	}
	if n == 0 {
		return nil
	}
	out := make([]Signal, 0, n)
	for i := range e.answers {
		if e.answers[i].asked {
			out = append(out, e.answers[i].signal)
		}
	}
	return out
}

func (e *evaluation) miss(s Signal) {
	if e.missing == nil { // it leaves the evaluation: most have the short windows of two pairs
		e.missing = make([]Signal, 0, 2)
	}
	e.missing = appendNew(e.missing, s)
}

// agreed is the truth that enough of the replicas of a signal come to, each judged by itself; hopeless when they do not. Where
// no agreement is asked for it is the truth of the value.
func (e *evaluation) agreed(s Signal, v *Value, judge func(*Value) outcome) outcome {
	if len(v.Replicas) == 0 {
		return judge(v)
	}
	o := quorum(v.Agree, len(v.Replicas), func(i int) outcome { return judge(&v.Replicas[i]) })
	if o.truth == engine.Unknown {
		e.disagree = appendNew(e.disagree, s)
	}
	return o
}

// quorum is the truth that at least need of n come to, while fewer than need come to its opposite.
func quorum(need, n int, judge func(int) outcome) outcome {
	yes, no := 0, 0
	for i := range n {
		switch judge(i).truth {
		case engine.True:
			yes++
		case engine.False:
			no++
		}
	}
	if (yes >= need) == (no >= need) {
		return hopeless
	}
	return decided(yes >= need)
}

// known reports whether an answer says something. That a number is finite is checked again, so that no comparison ever
// decides over NaN.
func known(v *Value) bool {
	return v.Reading.Why == "" && finite(v.Reading.Value) && finite(v.Errors) && finite(v.Total)
}

func finite(f float64) bool { return !math.IsNaN(f) && !math.IsInf(f, 0) }

type (
	notExpr struct{ of expr }
	andExpr struct{ left, right expr }
	orExpr  struct{ left, right expr }
	ifExpr  struct{ when, then, otherwise expr }
	// switchExpr is a signal that is itself true or false: an alert, a schedule.
	switchExpr struct {
		signal Signal
		text   string
	}
)

func (x notExpr) eval(e *evaluation) outcome {
	o := x.of.eval(e)
	o.canTrue, o.canFalse = o.canFalse, o.canTrue
	switch o.truth {
	case engine.True:
		o.truth = engine.False
	case engine.False:
		o.truth = engine.True
	}
	return o
}

func (x notExpr) collect(e *evaluation, wantTrue, wantFalse bool) {
	x.of.collect(e, wantFalse, wantTrue)
}

func (x andExpr) eval(e *evaluation) outcome {
	l := x.left.eval(e)
	if l.truth == engine.False {
		return l
	}
	r := x.right.eval(e)
	if r.truth == engine.False {
		return r
	}
	o := outcome{canTrue: l.canTrue && r.canTrue, canFalse: l.canFalse || r.canFalse}
	if l.truth == engine.True && r.truth == engine.True {
		o.truth = engine.True
	}
	return o
}

func (x andExpr) collect(e *evaluation, wantTrue, wantFalse bool) {
	o := x.eval(e)
	if o.truth != engine.Unknown {
		return
	}
	x.left.collect(e, wantTrue && o.canTrue, wantFalse)
	x.right.collect(e, wantTrue && o.canTrue, wantFalse)
}

func (x orExpr) eval(e *evaluation) outcome {
	l := x.left.eval(e)
	if l.truth == engine.True {
		return l
	}
	r := x.right.eval(e)
	if r.truth == engine.True {
		return r
	}
	o := outcome{canTrue: l.canTrue || r.canTrue, canFalse: l.canFalse && r.canFalse}
	if l.truth == engine.False && r.truth == engine.False {
		o.truth = engine.False
	}
	return o
}

func (x orExpr) collect(e *evaluation, wantTrue, wantFalse bool) {
	o := x.eval(e)
	if o.truth != engine.Unknown {
		return
	}
	x.left.collect(e, wantTrue, wantFalse && o.canFalse)
	x.right.collect(e, wantTrue, wantFalse && o.canFalse)
}

func (x ifExpr) eval(e *evaluation) outcome {
	switch w := x.when.eval(e); {
	case w.truth == engine.True:
		return x.then.eval(e)
	case w.truth == engine.False:
		return x.otherwise.eval(e)
	case w.canTrue || w.canFalse:
		return open // the branches are not looked at before it is known which one counts
	}
	return hopeless
}

func (x ifExpr) collect(e *evaluation, wantTrue, wantFalse bool) {
	switch x.when.eval(e).truth {
	case engine.True:
		x.then.collect(e, wantTrue, wantFalse)
	case engine.False:
		x.otherwise.collect(e, wantTrue, wantFalse)
	default:
		x.when.collect(e, wantTrue || wantFalse, wantTrue || wantFalse)
	}
}

func (x switchExpr) eval(e *evaluation) outcome {
	v, asked := e.get(x.signal)
	switch {
	case !asked:
		return open
	case !known(v):
		return hopeless
	}
	return e.agreed(x.signal, v, func(v *Value) outcome {
		if !known(v) {
			return hopeless
		}
		return decided(v.Reading.Value != 0)
	})
}

func (x switchExpr) collect(e *evaluation, wantTrue, wantFalse bool) {
	if _, asked := e.get(x.signal); !asked && (wantTrue || wantFalse) {
		e.miss(x.signal)
	}
}

// burnExpr is whether an SLO's tier fires: (short > k && long > k) || …, each strictly, and compared as errors with
// k × budget × total. The long range costs the most to query and rarely matters: it is asked for when the short one has
// been and did not come out false.
type burnExpr struct {
	text  string
	pairs []burnPair
}

type burnPair struct {
	short, long Signal
	factor      float64
	limit       limit
}

// text is how a condition could say that one window of the pair burns.
func (p burnPair) text(s Signal) string {
	return fmt.Sprintf("burn_rate(%q, %q) > %s", s.Name, model.Duration(s.Window), strconv.FormatFloat(p.factor, 'g', -1, 64))
}

// newBurn makes it of a tier. pinned: each pair is decided at the multiples of its cadence, and stands in between; narrowed: see
// Signal.
func newBurn(s *SLO, t *Tier, pinned, narrowed bool) burnExpr {
	x := burnExpr{text: fmt.Sprintf("burning(%q, %q)", s.Name, t.Severity), pairs: make([]burnPair, 0, len(t.Windows))}
	for _, w := range t.Windows {
		short := Signal{Kind: SignalSLO, Name: s.Name, Window: w.Short, Narrowed: narrowed}
		if pinned {
			short.Every = w.Every
		}
		long := short
		long.Window = w.Long
		x.pairs = append(x.pairs, burnPair{short, long, w.Factor, w.limit})
	}
	return x
}

func (x burnExpr) signals(list []Signal) []Signal {
	list = slices.Grow(list, 2*len(x.pairs))
	for _, p := range x.pairs {
		list = appendNew(appendNew(list, p.short), p.long)
	}
	return list
}

// exceeds is whether a window is over the limit, and whether it was asked for at all.
func (p burnPair) exceeds(e *evaluation, s Signal) outcome {
	v, asked := e.get(s)
	if !asked {
		return open
	}
	return e.agreed(s, v, func(v *Value) outcome {
		if !known(v) || v.Errors < 0 || v.Total < 0 {
			return hopeless
		}
		return decided(p.limit.exceeded(v.Errors, v.Total))
	})
}

func (p burnPair) eval(e *evaluation) outcome {
	short := p.exceeds(e, p.short)
	if short.truth == engine.False {
		return short
	}
	long := p.exceeds(e, p.long) // may be there already, because something else asked for it
	if long.truth == engine.False {
		return long
	}
	o := outcome{canTrue: short.canTrue && long.canTrue, canFalse: short.canFalse || long.canFalse}
	if short.truth == engine.True && long.truth == engine.True {
		o.truth = engine.True
	}
	return o
}

func (x burnExpr) eval(e *evaluation) outcome {
	all := decided(false)
	for _, p := range x.pairs {
		o := p.eval(e)
		if o.truth == engine.True {
			return o
		}
		all.canTrue = all.canTrue || o.canTrue
		all.canFalse = all.canFalse && o.canFalse
		if o.truth == engine.Unknown {
			all.truth = engine.Unknown
		}
	}
	return all
}

func (x burnExpr) collect(e *evaluation, wantTrue, wantFalse bool) {
	whole := x.eval(e)
	if whole.truth != engine.Unknown {
		return
	}
	for _, p := range x.pairs {
		o := p.eval(e)
		matters := wantTrue && o.canTrue || wantFalse && whole.canFalse && o.canFalse
		if o.truth != engine.Unknown || !matters {
			continue
		}
		_, asked := e.get(p.short)
		if !asked {
			e.miss(p.short)
		}
		if _, long := e.get(p.long); !long && (asked || e.both) {
			e.miss(p.long)
		}
	}
}

// atomExpr is a part that CEL evaluates: a comparison of numbers, words or durations.
type atomExpr struct {
	text    string
	program cel.Program
	inputs  []input
	// strict says that it needs all its inputs, so that one that is unknown settles it. What has a choice inside leaves
	// to CEL how far an unknown input reaches.
	strict   bool
	compares *Comparison // nil: it is more than the comparison of a signal with a constant
}

// input is what a call of one of our functions inside an atom stands for.
type input struct {
	signal Signal
	value  func(*Value) ref.Val
	burn   *burnExpr // for burning() that is not a truth of its own, such as burning(…) == burning(…)
}

// frame gives an atom its inputs. They are called @0, @1, …, which no expression can write.
type frame struct{ values []ref.Val }

// ResolveName finds an input.
func (f *frame) ResolveName(name string) (any, bool) {
	if len(name) < 2 || name[0] != '@' {
		return nil, false
	}
	i, err := strconv.Atoi(name[1:])
	if err != nil || i < 0 || i >= len(f.values) {
		return nil, false
	}
	return f.values[i], true
}

// Parent is nil: there is nothing behind it.
func (f *frame) Parent() cel.Activation { return nil }

// state is an input's value, of several replicas that of the given one; nil when it is unknown, and then open says whether
// asking helps.
func (in *input) state(e *evaluation, replica int) (value ref.Val, open bool) {
	if in.burn != nil {
		o := in.burn.eval(e)
		if o.truth != engine.Unknown {
			return types.Bool(o.truth == engine.True), false
		}
		return nil, o.canTrue || o.canFalse
	}
	v, asked := e.get(in.signal)
	if !asked {
		return nil, true
	}
	if known(v) && len(v.Replicas) > 0 {
		if replica >= len(v.Replicas) {
			return nil, false
		}
		v = &v.Replicas[replica]
	}
	if !known(v) {
		return nil, false
	}
	return in.value(v), false
}

// replicas is how many replicas the inputs have, and how many of them have to agree; 0 where nothing has to.
func (x *atomExpr) replicas(e *evaluation) (n, agree int) {
	for i := range x.inputs {
		if x.inputs[i].burn != nil {
			continue
		}
		if v, asked := e.get(x.inputs[i].signal); asked && len(v.Replicas) > 0 {
			n, agree = max(n, len(v.Replicas)), max(agree, v.Agree)
		}
	}
	return n, agree
}

func (x *atomExpr) eval(e *evaluation) outcome {
	o, _ := x.run(e)
	return o
}

// run evaluates the atom. Where it is open, missing are the indexes of the inputs that keep it so, until an atom is run again. Where
// replicas have to agree it is evaluated once with the values of each.
func (x *atomExpr) run(e *evaluation) (o outcome, missing []int) {
	n, agree := x.replicas(e)
	if n == 0 {
		return x.once(e, 0)
	}
	o = quorum(agree, n, func(i int) outcome {
		one, misses := x.once(e, i)
		if missing == nil {
			missing = slices.Clone(misses)
		}
		return one
	})
	switch {
	case missing != nil:
		return open, missing
	case o.truth == engine.Unknown:
		for i := range x.inputs {
			if x.inputs[i].burn != nil {
				continue
			}
			if v, _ := e.get(x.inputs[i].signal); len(v.Replicas) > 0 {
				e.disagree = appendNew(e.disagree, x.inputs[i].signal)
			}
		}
	}
	return o, nil
}

// once evaluates the atom with the values of one replica; missing is good until the next time.
func (x *atomExpr) once(e *evaluation, replica int) (o outcome, missing []int) {
	e.frame.values, e.open = e.frame.values[:0], e.open[:0]
	for i := range x.inputs {
		v, open := x.inputs[i].state(e, replica)
		switch {
		case v != nil:
		case open:
			e.open = append(e.open, i)
			if !x.strict {
				v = types.NewUnknown(int64(i+1), types.NewAttributeTrail("missing"))
			}
		case x.strict:
			return hopeless, nil
		default:
			v = types.NewUnknown(-int64(i+1), types.NewAttributeTrail("unknown"))
		}
		e.frame.values = append(e.frame.values, v)
	}
	if x.strict && len(e.open) > 0 {
		return open, e.open
	}
	out, _, err := x.program.Eval(&e.frame)
	if err != nil {
		return hopeless, nil // a division by zero, an overflow: nobody can tell
	}
	switch out := out.(type) {
	case types.Bool:
		return decided(bool(out)), nil
	case *types.Unknown:
		ids := out.IDs()
		if missing = slices.DeleteFunc(e.open, func(i int) bool { return !slices.Contains(ids, int64(i+1)) }); len(missing) > 0 {
			return open, missing
		}
	}
	return hopeless, nil
}

func (x *atomExpr) collect(e *evaluation, wantTrue, wantFalse bool) {
	if !wantTrue && !wantFalse {
		return
	}
	_, missing := x.run(e)
	for _, i := range missing {
		if in := &x.inputs[i]; in.burn != nil {
			in.burn.collect(e, true, true)
		} else {
			e.miss(in.signal)
		}
	}
}

// burnRate is errors ÷ (budget × total). Multiplying by the budget's fraction instead of its rounded value keeps 144 errors
// of 10,000 at 99.9 % at exactly 14.4.
func burnRate(budget *big.Rat) func(*Value) ref.Val {
	l := limitOf(budget)
	return func(v *Value) ref.Val {
		burn := v.Errors * l.den / (v.Total * l.num)
		if v.Total == 0 {
			burn = v.Reading.Value * l.den / l.num // no traffic that counts as good
		}
		if !finite(burn) {
			return types.NewErr("burn rate is not finite")
		}
		return types.Double(burn)
	}
}

func number(v *Value) ref.Val { return types.Double(v.Reading.Value) }
func truth(v *Value) ref.Val  { return types.Bool(v.Reading.Value != 0) }
func word(v *Value) ref.Val   { return types.String(v.Reading.Text) }
func span(v *Value) ref.Val {
	return types.Duration{Duration: time.Duration(v.Reading.Value * float64(time.Second))}
}
