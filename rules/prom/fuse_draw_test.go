package prom

import (
	"fmt"
	"strings"

	"pgregory.net/rapid"
)

// drawn draws PromQL expressions in which each selector has the matcher JOB.
type drawn struct{ r *rapid.T }

func (d *drawn) pick(of ...string) string { return rapid.SampledFrom(of).Draw(d.r, "pick") }

// kinds are the cases of the algebra, each by a pattern at the top of an expression. In a pattern $v stands for any vector,
// $a for one of a single element (in most services), $b for buckets, $r for a range, $s for a selector, $c for a number.
var kinds = map[string][]string{
	"a selector":                  {`$s`},
	"an offset":                   {`m{JOB} offset 1m`, `m{JOB} offset -30s`, `sum(rate(m{JOB}[2m] offset 1m))`},
	"an instant":                  {`m{JOB} @ 3500`, `m{JOB} @ end()`, `sum(rate(m{JOB}[2m] @ 3500 offset 30s))`},
	"a subquery":                  {`max_over_time($v[2m:30s])`, `sum(max_over_time($a[2m:30s] offset 30s))`, `min_over_time((m{JOB})[3m:20s] @ 3550)`},
	"a subquery of what was lost": {`avg_over_time($a[2m:30s])`, `last_over_time(sum by (code) (m{JOB})[2m:])`},
	"parentheses":                 {`($v)`},
	"minus":                       {`-$v`, `-($a) ^ 2`, `+$v`},

	"of a range": {`rate($r)`, `increase($r)`, `delta($r)`, `irate($r)`, `idelta($r)`, `changes($r)`, `resets($r)`, `deriv($r)`},
	"over time": {`avg_over_time($r)`, `sum_over_time($r)`, `count_over_time($r)`, `min_over_time($r)`, `max_over_time($r)`, `last_over_time($r)`,
		`present_over_time($r)`, `stddev_over_time($r)`, `stdvar_over_time($r)`},
	"of a range, with a number":   {`quantile_over_time(0.5, $r)`, `predict_linear($r, 60)`},
	"of an instant":               {`abs($v)`, `ceil($v)`, `floor($v)`, `exp($v)`, `ln($v)`, `log2($v)`, `log10($v)`, `sqrt($v)`, `sgn($v)`, `deg($v)`, `rad($v)`},
	"trigonometry":                {`sin($v)`, `cos($v)`, `tan($v)`, `asin($v)`, `acos($v)`, `atan($v)`, `sinh($v)`, `cosh($v)`, `tanh($v)`, `asinh($v)`, `acosh($v)`, `atanh($v)`},
	"of an instant, with numbers": {`clamp($v, 1, 2 + 3)`, `clamp_min($v, -1)`, `clamp_max($v, time() / 1000)`, `round($v)`, `round($v, 0.5)`},
	"dates":                       {`hour($v)`, `minute(timestamp(m{JOB}))`, `day_of_week($v)`, `day_of_month($v)`, `day_of_year($v)`, `days_in_month($v)`, `month($v)`, `year($v)`},
	"time":                        {`time() - max(timestamp(m{JOB}))`, `timestamp($s)`, `timestamp($v)`, `max(timestamp(m{JOB})) + pi()`},
	"native histograms, of which there are none": {`$a or histogram_count($a) or histogram_sum($a)`, `$a or histogram_avg($a) or histogram_stddev($a) or histogram_stdvar($a)`},

	"a sum of all":            {`sum($v)`, `avg($v)`, `min($v)`, `max($v)`, `count($v)`, `group($v)`, `stddev($v)`, `stdvar($v)`, `quantile(0.5, $v)`},
	"a sum by others":         {`sum by (code) ($v)`, `max by (code, inst) ($v)`, `count by () ($v)`, `quantile by (inst) (0.9, $v)`},
	"a sum by the label":      {`sum by (job) ($v)`, `min by (code, job) ($v)`, `group by (job) ($a)`},
	"a sum without others":    {`sum without (inst) ($v)`, `avg without (code, inst) ($v)`, `max without () ($v)`, `min without (code) ($a)`},
	"a sum without the label": {`sum without (job) ($v)`, `max without (job, inst) ($v)`, `count without (job) ($a)`},

	"with a number":            {`$v + 1`, `2 * $v`, `$v / 3`, `100 - $v`, `$v % 2`, `$v ^ 2`, `$v atan2 2`, `1 - $a / $a`},
	"compared with a number":   {`$v > 1`, `0 <= $v`, `$v != 2`, `$v == 0`, `$v < 5`, `$v >= 0`},
	"is it more than a number": {`$v > bool 1`, `2 > bool $v`, `$a == bool 0`},

	"of two aggregates":  {`$a / $a`, `$a - $a`, `$a * $a`, `$a > $a`, `$a <= bool $a`, `$a ^ $a`, `$a % $a`, `$a atan2 $a`},
	"of two vectors":     {`$k + $k`, `$k / ignoring (foo) $k`, `$k > $k`, `$k == bool $k`},
	"on others":          {`$k * on (code, inst) $k`, `$a / on () $a`, `sum by (code) ($v) - on (code) sum by (code, job) ($v)`, `$k > on (code, inst) $k`},
	"on the label":       {`sum by (job) ($v) / on (job) sum by (job) ($v)`, `$a + on (job) $a`},
	"ignoring others":    {`sum by (code, job) ($v) - ignoring (code) sum by (job) ($v)`, `$k / ignoring (foo, le) $k`, `sum by (code) (m{JOB,code="500"}) / ignoring (code) $a`},
	"ignoring the label": {`$k / ignoring (job) $k`, `sum by (code, job) (m{JOB}) / ignoring (job) sum by (code) (m{JOB})`, `$a > ignoring (job) $a`},
	"many to one": {`$k / on (job) group_left () sum by (job) ($v)`, `$k / ignoring (code, inst) group_left () sum by (job) ($v)`,
		`$k * on () group_left () $a`, `$k - ignoring (job, code, inst) group_left () $a`, `sum by (code) ($v) / on () group_left () $a`, `$k * on (job) group_left (version) info{JOB}`},
	"one to many": {`sum by (job) ($v) / on (job) group_right () $k`, `$a * on () group_right () $k`, `info{JOB} * on () group_right (version) sum by (code) ($v)`,
		`$a - ignoring (job, code, inst) group_right () $k`},

	"and":    {`$k and $k`, `$a and $a`, `$k and on () $a`, `$k and on (code) sum by (code) ($v)`, `$k and ignoring (job, code, inst) $a`, `$k and on (job) sum by (job) ($v)`},
	"unless": {`$k unless $k`, `$a unless ($a > 3)`, `$k unless on () ($a > 3)`, `$k unless on (code) (sum by (code) ($v) > 2)`, `$k unless ignoring (job) $k`},
	"or":     {`$k or $k`, `$a or $a`, `$k or on (code) n{JOB}`, `($a > 100) or on (job) $a`, `sum by (code) ($v) or ignoring (job) max by (inst) ($v)`},
	"or a constant": {`$a or vector(0)`, `($a or vector(-1.5))`, `$v or vector(7)`, `sum by (code) ($v) or on () vector(0)`, `(($a > 3)) or on (code) (vector((2)))`,
		`$k or ignoring (job, code, inst) vector(1)`, `$k or on (foo) vector(NaN)`, `$s or on (__name__) vector(1)`, `$s or ignoring (job, code, inst, le) vector(1)`},

	"a quantile of buckets": {`histogram_quantile(0.9, $b)`, `histogram_quantile(0.5, sum by (le, job) (rate(h_bucket{JOB}[3m])))`, `histogram_quantile(0.5, rate(h_bucket{JOB}[3m]))`},
	"a share of buckets":    {`histogram_fraction(0, 0.3, $b)`},
	"a label replaced":      {`label_replace($v, "foo", "$1", "code", "(.).*")`, `label_replace($a, "of", "1", "", "")`, `max($a or label_replace($a, "of", "1", "", ""))`, `label_replace($v, "code", "x", "inst", "1")`},

	"refused: the label replaced": {`label_replace($v, "job", "x", "", "")`, `label_replace($v, "foo", "$1", "job", "(.*)")`},
	"refused: picks":              {`topk(1, $v)`, `bottomk(2, $v)`, `topk by (job) (1, $v)`},
	"refused: sorts":              {`sort($v)`, `sort_desc($v)`},
	"refused: makes up":           {`absent($v)`, `absent_over_time($r)`, `vector(scalar($a))`, `vector(1) or $a`, `$a + (vector(0) or $a)`, `hour() + on () $a`, `count_values("x", $v)`, `label_join($v, "foo", "-", "code")`},
	"refused: scalars":            {`$v / scalar($a)`, `$v > scalar($a)`, `clamp_max($v, scalar($a))`, `quantile(scalar($a), $v)`},
	"refused: the fates differ": {`m{JOB} / sum(m{JOB})`, `m{JOB} and sum(m{JOB})`, `m{JOB} or sum(m{JOB})`, `sum by (job) (m{JOB}) - on (job) sum(m{JOB})`, `sum by (job) (m{JOB}) unless sum(m{JOB})`,
		`$k or on (code) sum by (code) (m{JOB})`},
	"refused: the label copied": {`sum by (code) (m{JOB}) * ignoring (code, job) group_left (job) sum by (job) (m{JOB})`, `sum by (job) (m{JOB}) * on () group_right (job) $a`},
	"refused: another matcher":  {`m{JOB,job=~".+"}`, `sum(m{JOB}) / sum(m{JOB,job!="x"})`, `m{JOB,JOB}`},
	"refused: not in all":       {`sum(m{JOB}) / sum(m)`, `m{JOB} * on (code, inst) group_left () sum by (code, inst) (n)`},
}

// of draws an expression of a kind.
func (d *drawn) of(kind string) string { return d.fill(d.pick(kinds[kind]...), 2) }

// fill draws what stands for the signs in a pattern.
func (d *drawn) fill(pattern string, depth int) string {
	var out strings.Builder
	for i := 0; i < len(pattern); i++ {
		if pattern[i] != '$' || i+1 == len(pattern) || !strings.ContainsRune("vabrsk", rune(pattern[i+1])) {
			out.WriteByte(pattern[i])
			continue
		}
		i++
		out.WriteString(d.sign(pattern[i], depth))
	}
	return out.String()
}

func (d *drawn) sign(sign byte, depth int) string {
	one := func(patterns ...string) string { return d.fill(d.pick(patterns...), depth-1) }
	window := d.pick("1m", "2m", "5m")
	switch sign {
	case 's':
		return d.pick(`m{JOB}`, `n{JOB}`, `m{JOB,code="500"}`, `n{JOB,code=~"5.."}`, `{__name__=~"h_.*",JOB}`)
	case 'r':
		return d.pick(`m{JOB}`, `n{JOB}`, `m{JOB,code="500"}`, `h_bucket{JOB}`) + "[" + window + "]"
	case 'b':
		return fmt.Sprintf(`sum by (le) (rate(h_bucket{JOB}[%s]))`, window)
	case 'k': // has code, inst and job
		if depth <= 0 {
			return `m{JOB}`
		}
		return one(`m{JOB}`, `rate(m{JOB}[5m])`, `(n{JOB} > 0)`, `sum by (code, inst, job) ($k)`, `max without (foo) ($k)`, `abs($k)`)
	case 'a': // has no labels
		if depth <= 0 {
			return d.pick(`sum(m{JOB})`, `sum(rate(m{JOB}[5m]))`)
		}
		return one(`sum(rate(m{JOB,code="500"}[5m]))`, `sum(rate(m{JOB}[2m]))`, `max($v)`, `count($v)`, `(sum($v) / sum($v))`, `(1 - $a)`,
			`histogram_quantile(0.9, $b)`, `sum without (job, inst, code, le) (m{JOB})`, `(sum(increase($r)) - avg(increase($r)))`)
	default:
		if depth <= 0 {
			return d.pick(`m{JOB}`, `n{JOB}`, `rate(m{JOB}[2m])`, `sum(n{JOB})`)
		}
		return one(`$s`, `$k`, `$a`, `rate($r)`, `avg_over_time($r)`, `sum by (code) ($v)`, `max without (job) ($v)`, `min by (job) ($v)`, `($v * 2)`, `($v > 1)`,
			`label_replace($v, "foo", "$1", "code", "(.).*")`, `($a or $a)`, `($k unless $k)`)
	}
}
