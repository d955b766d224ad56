package series

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"time"

	"github.com/prometheus/prometheus/promql/parser"
)

// MaxValues is how many values a series may have that is written down: a month of a scrape every 15 s. `0x9999999999` is a
// few characters, and would fill any memory.
const MaxValues = 200_000

// repeated finds the repetitions in a notation: the x240 of `0+15x240`.
var repeated = regexp.MustCompile(`[0-9a-zA-Z_}.]x([0-9]+)`)

// Parse reads a series in promtool's notation: its name and labels, and its values, one each interval from start on, such as
// `0+15x240` (241 values, each 15 more), `1 _ stale` (one, a gap, the end), or native histograms.
func Parse(series, values string, start time.Time, interval time.Duration) (Series, error) {
	if interval < time.Millisecond {
		return Series{}, fmt.Errorf("an interval of %s: samples have whole milliseconds", interval)
	}
	total := uint64(0)
	for _, m := range repeated.FindAllStringSubmatch(values, -1) {
		n, err := strconv.ParseUint(m[1], 10, 63)
		if total += n; err != nil || total > MaxValues {
			return Series{}, fmt.Errorf("%q stands for more than %d values", m[0], MaxValues)
		}
	}
	switch ls, err := parser.NewParser(parser.Options{}).ParseMetric(series); {
	case err == nil && ls.IsEmpty():
		return Series{}, fmt.Errorf("%q is no series such as requests_total{job=\"shop\"}", series)
	case err != nil:
		return Series{}, fmt.Errorf("%q is no series such as requests_total{job=\"shop\"}: %w", series, first(err))
	}
	ls, sequence, err := parser.NewParser(parser.Options{}).ParseSeriesDesc(series + " " + values)
	if err != nil {
		return Series{}, fmt.Errorf("%q are no values such as 0+15x240 or 1 _ stale: %w", values, first(err))
	}
	out := Series{Labels: ls}
	for i, v := range sequence {
		if !v.Omitted {
			out.Samples = append(out.Samples, Sample{At: start.UnixMilli() + int64(i)*interval.Milliseconds(), Value: v.Value, Histogram: v.Histogram})
		}
	}
	return out, nil
}

// first is the first of the errors of a parser: the others follow from it.
func first(err error) error {
	if list := (parser.ParseErrors)(nil); errors.As(err, &list) && len(list) > 0 {
		return list[0].Err
	}
	return err
}
