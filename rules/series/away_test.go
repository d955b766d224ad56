package series

import (
	"errors"
	"testing"

	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
)

func TestAnAPIIsAwayFromTheBeginningOfASpanUntilItsEnd(t *testing.T) {
	api := NewAway(store(t, steady(3, func(int) float64 { return 1 }, "__name__", "up")).API(), Span{at(10), at(20)}, Span{at(40), at(50)})
	for _, c := range []struct {
		now  float64
		away bool
	}{{9.999, false}, {10, true}, {19.999, true}, {20, false}, {45, true}, {50, false}} {
		api.Now(at(c.now))
		_, _, _, err := api.Query(t.Context(), "up", at(15))
		if errors.Is(err, ErrAway) != c.away {
			t.Errorf("Query at %v: %v", c.now, err)
		}
		_, _, _, err = api.QueryRange(t.Context(), "up", v1.Range{Start: at(0), End: at(5), Step: 5e9})
		if errors.Is(err, ErrAway) != c.away {
			t.Errorf("QueryRange at %v: %v", c.now, err)
		}
		_, _, _, err = api.Series(t.Context(), []string{"up"}, at(0), at(5))
		if errors.Is(err, ErrAway) != c.away {
			t.Errorf("Series at %v: %v", c.now, err)
		}
	}
}
