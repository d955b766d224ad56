package prom

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql/promqltest"
)

// Two services with what it takes to tell each argument's right from its wrong.
const twoServices = `
load 15s
	m{job="a",code="200"} 0+1x40
	m{job="a",code="500"} 0+2x40
	m{job="b",code="200"} 0+5x40
	m{job="b",code="500"} 100x40
	only_a{job="a"}       7x40
	b_bucket{job="a",le="0.1"}  0+1x40
	b_bucket{job="a",le="1"}    0+3x40
	b_bucket{job="a",le="+Inf"} 0+4x40
	b_bucket{job="b",le="0.1"}  0+4x40
	b_bucket{job="b",le="1"}    0+4x40
	b_bucket{job="b",le="+Inf"} 0+9x40
	all{job="a"} 1x40
	all{job="b"} 1x40
	all          5x40`

// Each argument of the algebra by its name: an expression it accepts, or refuses for a reason, and what would be asked if the
// argument were relaxed, which has to be unequal. In both, JOB is the matcher of the label and J the label.
func TestEachArgumentHoldsAndWouldNotIfItWereRelaxed(t *testing.T) {
	store := promqltest.LoadedStorage(t, twoServices)
	defer func() { _ = store.Close() }()
	api := judging(t, store)
	now := time.Unix(600, 0)
	for _, c := range []struct {
		argument, expr string
		why            string // it is refused; empty: it is not
		relaxed        string // empty: there is no other way to ask
		lost           bool   // whether the relaxed answer's label would be taken away
	}{
		{"a selector's series are the union", `m{JOB}`, "", "", false},
		{"and the label stays with them", `m{JOB}`, "", `m{JOB}`, true},
		{"functions of each series keep the label", `rate(m{JOB}[5m])`, "", `rate(m{JOB}[5m])`, true},
		{"a subquery is the same steps for all", `max_over_time(sum(m{JOB})[5m:30s])`, "", `max_over_time(sum(m{JOB})[5m:30s])`, true},
		{"an aggregate loses the label and is grouped by it", `sum(m{JOB})`, "", `sum(m{JOB})`, true},
		{"by others", `sum by (code) (m{JOB})`, "", `sum by (code) (m{JOB})`, true},
		{"by the label it is kept", `sum by (job) (m{JOB})`, "", `sum by (job) (m{JOB})`, true},
		{"unless it was lost before", `sum by (job) (sum(m{JOB}))`, "", `sum by (job) (sum by (job) (m{JOB}))`, false},
		{"without others it is kept", `sum without (code) (m{JOB})`, "", `sum without (code) (m{JOB})`, true},
		{"without the label it is lost", `sum without (job) (m{JOB})`, "", `sum without (job) (m{JOB})`, true},
		{"buckets of two services do not meet", `histogram_quantile(0.5, sum by (le) (rate(b_bucket{JOB}[5m])))`, "",
			`histogram_quantile(0.5, sum by (le) (rate(b_bucket{JOB}[5m])))`, true},
		{"a number is the same for all", `sum(m{JOB}) > 100`, "", "", false},
		{"both sides kept match within a service", `m{JOB} / m{JOB}`, "", `m{JOB} / on (code) m{JOB}`, false},
		{"both sides lost as well", `sum(m{JOB}) / sum(m{JOB})`, "", `sum by (job) (m{JOB}) / on () sum by (job) (m{JOB})`, true},
		{"kept and lost never match by the label", `m{JOB,code="500"} / sum(m{JOB})`, "one side of / has lost the label job",
			`m{JOB,code="500"} / ignoring (code) sum by (job) (m{JOB})`, false},
		{"nor on it", `sum by (job) (m{JOB}) / on (job) sum(m{JOB})`, "one side of / has lost the label job", `sum by (job) (m{JOB}) / on (job) sum by (job) (m{JOB})`, false},
		{"on others, the label joins the key and is lost", `m{JOB} / on (code) m{JOB}`, "", `m{JOB} / on (code, job) m{JOB}`, false},
		{"ignored, the label leaves the list and is lost", `sum by (job) (m{JOB}) / ignoring (job) sum(m{JOB})`, "",
			`sum by (job) (m{JOB}) / sum by (job) (m{JOB})`, false},
		{"of many to one, the label is that of the many", `m{JOB} / on () group_left () sum(m{JOB})`, "", `m{JOB} / on (job) group_left () sum by (job) (m{JOB})`, true},
		{"also of one to many", `sum(m{JOB}) / on () group_right () m{JOB}`, "", `sum by (job) (m{JOB}) / on (job) group_right () m{JOB}`, true},
		{"a label that is copied is not followed", `sum by (code) (m{JOB}) * ignoring (code, job) group_left (job) sum by (job) (m{JOB})`, "the label job is copied",
			`sum by (code, job) (m{JOB}) * ignoring (code) group_left (job) sum by (job) (m{JOB})`, true},
		{"and gives the left side's elements", `m{JOB} and on (code) only_a{JOB}`, "", "", false},
		{"by a key that includes the label", `m{JOB} and on () (only_a{JOB} > 3)`, "", `m{JOB} and on () (only_a{JOB} > 3)`, false},
		{"so does unless", `sum(m{JOB}) unless on () only_a{JOB}`, "", `sum by (job) (m{JOB}) unless on () only_a{JOB}`, true},
		{"and of kept and lost is never anything", `m{JOB,code="500"} and sum by (code) (m{JOB})`, "one side of and has lost the label job", `m{JOB,code="500"} and sum by (code, job) (m{JOB})`, false},
		{"or gives what is missing on the left, service by service", `sum(only_a{JOB}) or sum(m{JOB})`, "", `sum by (job) (only_a{JOB}) or on () sum by (job) (m{JOB})`, true},
		{"or of kept and lost is neither", `m{JOB} or on (code) sum by (code) (only_a{JOB})`, "one side of or has lost the label job", `m{JOB} or on (code, job) sum by (code, job) (only_a{JOB})`, false},
		{"a label replaced from others", `label_replace(m{JOB}, "foo", "$1", "code", "(.).*")`, "", "", false},
		{"but not from the label itself where it is lost", `label_replace(sum(m{JOB}), "foo", "<$1>", "job", "(.*)")`, "reads or writes the label job", `label_replace(sum by (job) (m{JOB}), "foo", "<$1>", "job", "(.*)")`, true},
		{"nor into it", `label_replace(sum(m{JOB}), "job", "x", "", "")`, "reads or writes the label job", `label_replace(sum by (job) (m{JOB}), "job", "x", "", "")`, true},
		{"what lacks is the constant", `sum(only_a{JOB}) or vector(3)`, "", `sum by (job) (only_a{JOB}) or vector(3)`, true},
		{"also beside elements with labels", `sum by (code) (m{JOB}) or vector(3)`, "", `sum by (code, job) (m{JOB}) or vector(3)`, true},
		{"only at the top", `sum(m{JOB}) + (sum(only_a{JOB}) or vector(0))`, "vector() is one element", `sum by (job) (m{JOB}) + (sum by (job) (only_a{JOB}) or vector(0))`, true},
		{"and only a number", `sum(only_a{JOB}) or vector(time())`, "vector() is one element", "", false},
		{"a scalar is not each service's", `m{JOB} / scalar(sum(m{JOB}))`, "scalar() of many", `m{JOB} / scalar(sum by (job) (m{JOB}))`, false},
		{"what is absent is not each service's", `absent(only_a{JOB})`, "absent() makes", `absent(only_a{JOB})`, false},
		{"the most are not each service's", `topk(1, m{JOB})`, "topk picks from all", `topk(1, m{JOB})`, false},
		{"a selector without the label is everybody's", `sum(m{JOB}) / sum(m)`, "no label has one and the same value", "", false},
		{"another matcher of the label decides too", `m{JOB,job!="a"}`, "no label has one and the same value", `m{JOB}`, false},
		{"an empty value is those without the label", `all{job=""}`, "no label has one and the same value", `all{JOB}`, false},
		{"the name is no label", `{__name__="all",code=""}`, "no label has one and the same value", "", false},
		{"a number reads no series", `vector(1)`, "it reads no series", "", false},
		{"a scalar has no labels", `scalar(all{JOB})`, "it gives a scalar", "", false},
		{"instants by the clock are one element", `sum(m{JOB}) + on () hour()`, "hour() of no series is one element", "", false},
		{"experimental functions are not looked into", `mad_over_time(m{JOB}[5m])`, "mad_over_time() is not known", "", false},
		{"nor are modifiers", `rate(m{JOB}[5m] smoothed)`, "experimental", "", false},
		{"nor is fill", `sum(m{JOB}) + fill (0) sum(only_a{JOB})`, "experimental", "", false},
		{"what is no text is no value", "m{job=\"\\xff\"}", "no label has one and the same value", "", false},
	} {
		t.Run(c.argument, func(t *testing.T) {
			single := map[string]answer{}
			var texts []string
			for _, job := range []string{"a", "b"} {
				text := strings.ReplaceAll(c.expr, "JOB", `job=`+strconv.Quote(job))
				texts = append(texts, text)
				if !strings.Contains(text, " smoothed") && !strings.Contains(text, " fill ") && !strings.Contains(text, "mad_") { // the engine was not told to
					single[text] = send(t.Context(), api, text, now, time.Minute)
				}
			}
			api.queried()
			if c.why == "" {
				for text, a := range asked(t, newFusion(), api, now, texts...) {
					if d := difference(a, single[text]); d != "" {
						t.Errorf("%s, sent as %s, is %s", text, a.sent, d)
					}
				}
				if n := len(api.queried()); n != 1 {
					t.Errorf("%d requests were sent", n)
				}
			} else if _, why := fusedBy(t, texts[0], "job"); !strings.Contains(why, c.why) {
				t.Errorf("%s is refused because %q, want %q", c.expr, why, c.why)
			}
			if c.relaxed == "" {
				return
			}
			s := &shape{label: "job", fused: strings.Split(strings.ReplaceAll(c.relaxed, "JOB", "job=~"+strconv.Quote(hole)), strconv.Quote(hole)), lost: c.lost}
			f := fetch{query: query{text: s.text([]string{"a", "b"}), at: now.UnixMilli()}, shape: s, values: []string{"a", "b"},
				asked: map[string][]query{"a": {{text: texts[0]}}, "b": {{text: texts[len(texts)-1]}}}}
			differ := false
			f.share(send(t.Context(), api, f.text, now, time.Minute), func(q query, a answer) {
				differ = differ || difference(a, single[q.text]) != ""
			})
			if !differ {
				t.Errorf("%s asked as %s is the same: the argument is not needed, or the data does not show it", c.expr, f.text)
			}
		})
	}
}

func TestEveryElementwiseFunctionIsOneWherePrometheusHasIt(t *testing.T) {
	store := promqltest.LoadedStorage(t, twoServices)
	defer func() { _ = store.Close() }()
	api := judging(t, store)
	now := time.Unix(600, 0)
	more := map[string]string{"quantile_over_time": "0.5, %", "predict_linear": "%, 60", "clamp": "%, 1, 2", "clamp_min": "%, 1", "clamp_max": "%, 1"}
	none := []string{"histogram_avg", "histogram_count", "histogram_stddev", "histogram_stdvar", "histogram_sum"}
	for _, name := range slices.Sorted(maps.Keys(elementwise)) {
		t.Run(name, func(t *testing.T) {
			args := more[name]
			if args == "" {
				args = "%"
			}
			call := func(job, window string) string {
				return name + "(" + strings.ReplaceAll(args, "%", `m{job="`+job+`"}`+window) + ")"
			}
			window := ""
			if _, err := promQL.ParseExpr(call("a", "")); err != nil {
				window = "[5m]"
			}
			a, b := call("a", window), call("b", window)
			answers := asked(t, newFusion(), api, now, a, b)
			if n := len(api.queried()); n != 1 {
				t.Errorf("%d requests were sent", n)
			}
			for _, text := range []string{a, b} {
				want := send(t.Context(), api, text, now, time.Minute)
				if d := difference(answers[text], want); d != "" {
					t.Errorf("%s is %s", text, d)
				}
				if v, _ := want.value.(model.Vector); len(v) == 0 && !slices.Contains(none, name) {
					t.Errorf("%s is empty: %v", text, want)
				}
			}
			api.queried()
		})
	}
}
