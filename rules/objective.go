package rules

import (
	"math"
	"math/big"
)

// Objective is a percentage written as a decimal: 99.9 is exactly that.
type Objective struct{ text string }

// String is the percentage without trailing zeros: 99.9.
func (o Objective) String() string { return o.text }

// Ratio is the objective as a share of 1, correctly rounded.
func (o Objective) Ratio() float64 {
	f, _ := o.ratio().Float64()
	return f
}

// Budget is 1 − objective, correctly rounded.
func (o Objective) Budget() float64 {
	f, _ := o.budget().Float64()
	return f
}

func (o Objective) ratio() *big.Rat {
	r, ok := new(big.Rat).SetString(o.text)
	if !ok {
		return new(big.Rat)
	}
	return r.Quo(r, big.NewRat(100, 1))
}

func (o Objective) budget() *big.Rat { return new(big.Rat).Sub(one, o.ratio()) }

var one = big.NewRat(1, 1)

// limit is an error ratio as a fraction, so that counts of events are compared with it exactly: 144 errors of 10,000 are not
// above 14.4 × 0.001.
type limit struct{ num, den float64 }

// maxExact is the largest integer below which a float64 holds every integer.
const maxExact = 1 << 53

func limitOf(r *big.Rat) limit {
	if r.Num().IsInt64() && r.Denom().IsInt64() && r.Num().Int64() <= maxExact && r.Denom().Int64() <= maxExact {
		return limit{float64(r.Num().Int64()), float64(r.Denom().Int64())}
	}
	f, _ := r.Float64()
	return limit{f, 1}
}

// exceeded reports whether errors > limit × total, strictly and without rounding: where the rounded products are equal, the
// parts lost in rounding decide.
func (l limit) exceeded(errors, total float64) bool {
	p, q := l.num*total, errors*l.den
	if p != q {
		return q > p
	}
	return math.FMA(errors, l.den, -q) > math.FMA(l.num, total, -p)
}
