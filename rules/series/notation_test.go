package series

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/value"

	"github.com/modeshift/modeshift/test/inputs"
)

func TestPromtoolsNotationIsRead(t *testing.T) {
	for _, c := range []struct{ series, values, want string }{
		{`up`, `1`, `{__name__="up"} 0:1`},
		{`up{job="a", instance='b'}`, `1 2 3`, `{__name__="up", instance="b", job="a"} 0:1 60:2 120:3`},
		{`m`, `0+15x3`, `{__name__="m"} 0:0 60:15 120:30 180:45`},
		{`m`, `10-5x2`, `{__name__="m"} 0:10 60:5 120:0`},
		{`m`, `7x2`, `{__name__="m"} 0:7 60:7 120:7`},
		{`m`, `1 _ _x2 2 stale NaN`, `{__name__="m"} 0:1 240:2 300:stale 360:NaN`},
		{`m`, `-1 .5 1e3 Inf`, `{__name__="m"} 0:-1 60:0.5 120:1000 180:+Inf`},
		{`m`, ``, `{__name__="m"}`},
	} {
		s, err := Parse(c.series, c.values, at(0), time.Minute)
		if err != nil {
			t.Errorf("%s %s: %v", c.series, c.values, err)
			continue
		}
		got := s.Labels.String()
		for _, p := range s.Samples {
			v := fmt.Sprint(p.Value)
			if value.IsStaleNaN(p.Value) {
				v = "stale"
			}
			got += fmt.Sprintf(" %d:%s", p.At/1000, v)
		}
		if got != c.want {
			t.Errorf("%s %s gives\n%s\nwant\n%s", c.series, c.values, got, c.want)
		}
	}
}

func TestNativeHistogramsAreRead(t *testing.T) {
	s, err := Parse(`latency`, `{{schema:0 sum:3 count:4 buckets:[1 2 1]}}x1`, at(0), time.Minute)
	if err != nil || len(s.Samples) != 2 || s.Samples[1].Histogram == nil || s.Samples[1].Histogram.Count != 4 {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestWhatIsNoNotationIsRefusedWithWhatWouldBe(t *testing.T) {
	for _, c := range []struct {
		series, values, want string
	}{
		{`up{`, `1`, `"up{" is no series such as requests_total{job="shop"}: `},
		{`up 1`, `1`, `"up 1" is no series`},
		{``, `1`, `"" is no series`},
		{`up`, `1 two`, `"1 two" are no values such as 0+15x240 or 1 _ stale: `},
		{`up`, `0x99999999999999999999999`, `"0x99999999999999999999999" stands for more than 200000 values`},
		{`up`, `0x120000 0x120000`, `"0x120000" stands for more than 200000 values`},
		{`up`, `_x200001`, `"_x200001" stands for more than 200000 values`},
		{`up`, `{{count:1}}x200001`, `"}x200001" stands for more than 200000 values`},
	} {
		if _, err := Parse(c.series, c.values, at(0), time.Minute); err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%s %s: %v, want %s", c.series, c.values, err, c.want)
		}
	}
	if _, err := Parse(`up`, `1`, at(0), 0); err == nil {
		t.Error("an interval of 0 was accepted")
	}
}

func FuzzParse(f *testing.F) {
	for _, in := range notations {
		f.Add(in[0], in[1])
	}
	f.Fuzz(func(t *testing.T, series, values string) { parses(t, series, values) })
}

func TestManyNotationsAreReadOrRefused(t *testing.T) {
	t.Parallel()
	inputs.Each(t, notations, func(t *testing.T, _ *rand.Rand, in []string) string { return parses(t, in[0], in[1]) })
}

var notations = [][]string{
	{`up{job="a"}`, `0+15x240 _ stale {{count:1 sum:2}}x2`},
	{`h{le="0.1",code=~"5.."}`, `1 2 3 -4 1e9 NaN Inf _x4 5x3 1-2x7`},
	{`{__name__="a_b",x="ü"}`, `{{schema:1 sum:5 count:4 buckets:[1 2 1]}} {{schema:0 z_bucket:3}}+{{count:1}}x3`},
}

// parses reads a series, and returns what was said.
func parses(t *testing.T, series, values string) string {
	t.Helper()
	s, err := Parse(series, values, at(0), time.Minute)
	if err == nil && len(s.Samples) > MaxValues+len(values) {
		t.Errorf("%d samples", len(s.Samples))
	}
	if err != nil {
		return regexp.MustCompile(`"[^"]*"|\d+`).ReplaceAllString(err.Error(), "")
	}
	return ""
}
