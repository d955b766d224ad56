package rules

import (
	"math"
	"math/big"
	"testing"

	"pgregory.net/rapid"
)

// Comparing with a limit is exact: it agrees with rational arithmetic, on the edge too.
func TestALimitIsExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		factor := big.NewRat(rapid.Int64Range(1, 20_000).Draw(t, "factor in thousandths"), 1000)
		budget := big.NewRat(rapid.Int64Range(1, 99_999).Draw(t, "budget in thousandths of a percent"), 100_000)
		l := limitOf(new(big.Rat).Mul(factor, budget))
		total := rapid.OneOf(rapid.Float64Range(1e-6, 1e12), rapid.Custom(func(t *rapid.T) float64 {
			return float64(rapid.Int64Range(1, 1e12).Draw(t, "count"))
		})).Draw(t, "total")
		edge := new(big.Rat).Mul(new(big.Rat).Mul(factor, budget), new(big.Rat).SetFloat64(total))
		errors, _ := edge.Float64()
		switch rapid.IntRange(0, 3).Draw(t, "beside the edge") {
		case 0:
			errors = math.Nextafter(errors, math.Inf(1))
		case 1:
			errors = math.Nextafter(errors, 0)
		case 2:
			errors = rapid.Float64Range(0, 2*errors).Draw(t, "errors")
		}
		want := new(big.Rat).SetFloat64(errors).Cmp(edge) > 0
		if got := l.exceeded(errors, total); got != want {
			t.Fatalf("%v errors of %v exceed %v × %v: %v, want %v", errors, total, factor, budget, got, want)
		}
	})
}

func TestALimitWithTooManyDigitsIsRounded(t *testing.T) {
	r, ok := new(big.Rat).SetString("0.123456789012345678901234567890")
	if !ok {
		t.Fatal("not a number")
	}
	if l := limitOf(r); !l.exceeded(0.1234567890123457, 1) || l.exceeded(0.1234567890123456, 1) {
		t.Errorf("%+v", l)
	}
}
