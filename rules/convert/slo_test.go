package convert

import (
	"testing"

	"github.com/prometheus/prometheus/promql/parser"
)

// What may have several series is added up or told of; what is taken for one by mistake would be unknown for ever.
func TestAnExpressionIsSingleOnlyIfNothingMakesItSeveral(t *testing.T) {
	for _, c := range []struct {
		text string
		want bool
	}{
		{"a", false},
		{"sum(a)", true},
		{"sum by (job) (a)", false},
		{"sum(a) / b", true},
		{"a / on (job) sum(b)", true},
		{"a / on (job) group_left () sum(b)", false},
		{"sum(a) / on (job) group_right () b", false},
		{"sum(a) / on (job) group_left () b", true},
		{"a / on (job) group_right () sum(b)", true},
		{"sum(a) or vector(0)", true},
		{"sum(a) or b", false},
		{"sum(a) unless b", true},
	} {
		e, err := parser.NewParser(parser.Options{}).ParseExpr(c.text)
		if err != nil {
			t.Fatal(err)
		}
		if got := single(e); got != c.want {
			t.Errorf("%s: single is %v", c.text, got)
		}
	}
}
