package rules

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/modeshift/modeshift/engine/outline"
)

// named checks that an edit which changes a digest has a name in the outline: a reviewer must not read only that something differs.
func named(t *testing.T, opts Options, text, old, new string) {
	t.Helper()
	before := mustLoad(t, opts, text).Services[0].Outline()
	after := mustLoad(t, opts, strings.Replace(text, old, new, 1)).Services[0].Outline()
	for _, d := range outline.Compare(before, after) {
		if slices.ContainsFunc(d.Loosens, func(m outline.Mark) bool { return m.Code == "unnamed" }) {
			t.Errorf("%q for %q has no name in the outline", new, old)
		}
	}
}

func TestOneShapeIsComparedNumberByNumber(t *testing.T) {
	shape := func(when string) outline.Form {
		t.Helper()
		set := mustLoad(t, Options{}, strings.Replace(serviceText, `burning("availability", "page") && sli("p99") > 0.5`, "|-\n      "+when, 1))
		for _, c := range set.Services[0].Conditions {
			if c.Name == "shed.when" {
				return c.shape
			}
		}
		t.Fatal("no shed.when")
		return outline.Form{}
	}
	easier := func(c outline.Form) (out []int) {
		for _, n := range c.Numbers {
			out = append(out, n.Easier)
		}
		return out
	}
	for when, want := range map[string][]int{
		`sli("p99") > 0.5`:                        {-1},
		`sli("p99") <= 0.5`:                       {1},
		`0.5 < sli("p99")`:                        {-1},
		`!(sli("p99") > 0.5)`:                     {1},
		`!(sli("p99") > 0.5 || 2.0 > sli("p99"))`: {1, -1},
		`sli("p99") == 0.5`:                       {0},
		`sli("p99") - 1.0 > 2.0`:                  {-1, -1},
		`sli("p99") * 1.5 > 2.0`:                  {0, -1},
		`dwell() > duration("10m")`:               {-1},
		`error_ratio("availability", "1h") > 0.1`: {0, -1},
		`sli("p99") > 1.0 ? sli("p99") > 2.0 : 3.0 > 1.0 * sli("p99")`: {0, -1, 1, 0},
	} {
		if got := easier(shape(when)); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", when, got, want)
		}
	}
	if a, b := shape(`error_ratio("availability", "1h") > 0.1`), shape("error_ratio('availability',\n        '60m') >  0.1"); a.Shape != b.Shape || a.Numbers[0].Value != b.Numbers[0].Value || !a.Numbers[0].Window {
		t.Errorf("two ways to write one condition: %+v and %+v", a, b)
	}
	if a, b := shape(`sli("p99") > 0.5`), shape(`sli("p99") >= 0.5`); a.Shape == b.Shape {
		t.Errorf("two conditions have one shape: %s", a.Shape)
	}
	// A list of cases has no shape here: it is the same or it is not.
	if c := shape(`sli("p99") in [1.0, 2.0]`); len(c.Numbers) > 0 || !strings.Contains(c.Shape, "[1.0, 2.0]") {
		t.Errorf("a list: %+v", c)
	}
}

func TestAnOutlineShowsNoSecrets(t *testing.T) {
	for spec, want := range map[string]string{
		`{"url":"https://hooks.chat.example/services/T0123ABC/B0456DEF/x8Yt2LkQ93mmVa71hjQw"}`: `{"url":"https://hooks.chat.example/services/T0123ABC/B0456DEF/…"}`,
		`{"url":"https://ann:pass@dns.internal/repoint?key=abc"}`:                              `{"url":"https://dns.internal/repoint?…"}`,
		`{"headers":{"X-Api":"abc"},"url":"https://dns.internal/a"}`:                           `{"headers":{"X-Api":"…"},"url":"https://dns.internal/a"}`,
		`{"bearer_file":"dns.token","json":{"password":"hunter2","to":"eu-2"}}`:                `{"bearer_file":"dns.token","json":{"password":"…","to":"eu-2"}}`,
		`{"args":["--to","eu-2","--token=ghp4f9a8b7c6d5e4f3a2b1"],"env":{"REGION":"eu"}}`:      `{"args":["--to","eu-2","--token=…"],"env":{"REGION":"…"}}`,
		`{"program":"fail-over-checkout-database","timeout":"30s"}`:                            `{"program":"fail-over-checkout-database","timeout":"30s"}`,
	} {
		got := shown(spec)
		text, digest, _ := strings.Cut(got, " #")
		if text != want || len(digest) != 8 {
			t.Errorf("%s\n is shown as %s\n want %s", spec, got, want)
		}
		if !json.Valid([]byte(text)) {
			t.Errorf("%s is no JSON", text)
		}
	}
	if a, b := shown(`{"headers":{"X":"1"}}`), shown(`{"headers":{"X":"2"}}`); a == b {
		t.Error("another secret looks the same")
	}
}
