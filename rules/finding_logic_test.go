package rules

import (
	"math"
	"math/rand/v2"
	"testing"
)

// naive is what a claim comes to when all is known, without Kleene.
func naive(c claim, numbers map[string]float64, words map[string]string) bool {
	switch c.op {
	case claimConstant:
		return c.holds
	case claimAnd:
		return naive(c.of[0], numbers, words) && naive(c.of[1], numbers, words)
	case claimOr:
		return naive(c.of[0], numbers, words) || naive(c.of[1], numbers, words)
	case claimNot:
		return !naive(c.of[0], numbers, words)
	case claimSame:
		return naive(c.of[0], numbers, words) == naive(c.of[1], numbers, words)
	case claimTruth:
		return numbers[c.name] == 1
	case claimIs:
		return words[c.name] == c.word
	case claimLess:
		return numbers[c.name] < c.than
	case claimAtMost:
		return numbers[c.name] <= c.than
	}
	return numbers[c.name] == c.than
}

// The search finds values exactly where trying every quarter of a range finds some: the numbers that claims compare with are halves,
// so that nothing lies between two quarters that is not like one of them.
func TestTheSearchForAWitnessMissesNoneAndMakesNoneUp(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 1))
	of := map[string]bounds{"a": {0, 2}, "b": {math.Inf(-1), 1}}
	var draw func(depth int) claim
	draw = func(depth int) claim {
		if depth > 0 && r.IntN(5) > 0 {
			switch r.IntN(4) {
			case 0:
				return both(draw(depth-1), draw(depth-1))
			case 1:
				return either(draw(depth-1), draw(depth-1))
			case 2:
				return same(draw(depth-1), draw(depth-1))
			}
			return not(draw(depth - 1))
		}
		switch r.IntN(8) {
		case 0:
			return claim{op: claimConstant, holds: r.IntN(2) == 0}
		case 1:
			return claim{op: claimTruth, name: "t"}
		case 2:
			return claim{op: claimIs, name: "w", word: []string{"x", "y"}[r.IntN(2)]}
		}
		return claim{op: []claimOp{claimLess, claimAtMost, claimEqual}[r.IntN(3)], name: []string{"a", "b"}[r.IntN(2)], than: float64(r.IntN(8)-2) / 2}
	}
	possible, impossible := 0, 0
	for range 3000 {
		c := draw(5)
		want := false
		for a := 0.0; a <= 2; a += 0.25 {
			for b := -1.5; b <= 1; b += 0.25 {
				for i := range 6 {
					numbers := map[string]float64{"a": a, "b": b, "t": float64(i % 2)}
					want = want || naive(c, numbers, map[string]string{"w": []string{"x", "y", "z"}[i/2]})
				}
			}
		}
		values, got, sure := witness(c, of)
		if got != want || !sure {
			t.Fatalf("%+v: possible %v (sure %v, with %v), want %v", c, got, sure, values, want)
		}
		if want {
			possible++
		} else {
			impossible++
		}
	}
	if possible < 300 || impossible < 300 {
		t.Errorf("%d possible, %d impossible: hardly a test", possible, impossible)
	}
}

// Next to a number that is large enough, one less is the same number.
func TestTheSearchFindsValuesBesideNumbersOfAnySize(t *testing.T) {
	for _, than := range []float64{0, 1, 1e9, 1e16, 1e17, 1e300, math.MaxFloat64, -1e17, -1e300, -math.MaxFloat64} {
		for name, c := range map[string]claim{
			"less": {op: claimLess, name: "a", than: than},
			"more": not(claim{op: claimAtMost, name: "a", than: than}),
		} {
			if _, possible, sure := witness(c, nil); !possible {
				t.Errorf("%s than %g: possible %v (sure %v)", name, than, possible, sure)
			}
		}
	}
}
