package convert

import (
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/template"
	"time"

	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v3"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/rules"
)

// spec is a Sloth file as Sloth reads it, for a second reading that knows nothing of ours.
type spec struct{ SLOs []specSLO }

type specSLO struct {
	Name string
	SLI  struct {
		Events struct {
			Error string `yaml:"error_query"`
			Total string `yaml:"total_query"`
		}
		Raw struct {
			Ratio string `yaml:"error_ratio_query"`
		}
	}
}

// render fills a template as Sloth does.
func render(t *testing.T, text string, w time.Duration) string {
	t.Helper()
	tmpl, err := template.New("").Option("missingkey=error").Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := tmpl.Execute(&b, map[string]string{"window": model.Duration(w).String()}); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// slothWindows are those of the SLI's recording rules.
var slothWindows = []time.Duration{5 * time.Minute, 30 * time.Minute, time.Hour, 2 * time.Hour, 6 * time.Hour, 24 * time.Hour, 72 * time.Hour}

// What is imported asks at each window, PromQL's spaces apart, what Sloth would have asked.
func TestAnImportedSLOAsksWhatSlothWouldHaveAsked(t *testing.T) {
	sources(t, "good", 1, func(t *testing.T, _ string, tool Tool, f rules.File, opts Options) {
		var theirs spec
		if tool != Sloth || strings.Contains(string(f.Data), "PrometheusServiceLevel") || strings.Contains(string(f.Data), "\n---") {
			return // another form
		}
		if err := yaml.Unmarshal(f.Data, &theirs); err != nil {
			t.Fatal(err)
		}
		result, err := Import(tool, []rules.File{f}, opts)
		if err != nil {
			t.Fatal(err)
		}
		for was, slo := range loaded(t, result) {
			i := slices.IndexFunc(theirs.SLOs, func(s specSLO) bool { return s.Name == was.name })
			sli := theirs.SLOs[i].SLI
			for _, w := range slothWindows {
				wantErrors, wantTotal := sli.Events.Error, sli.Events.Total
				whole := "(" + render(t, sli.Events.Error, w) + ")\n/\n(" + render(t, sli.Events.Total, w) + ")"
				if sli.Raw.Ratio != "" {
					wantErrors, wantTotal = sli.Raw.Ratio, ""
					whole = "(" + render(t, sli.Raw.Ratio, w) + ")"
				}
				if got := was.was.ratio(w); canonical(t, got) != canonical(t, whole) {
					t.Errorf("%s over %s: Sloth is said to ask\n%s\nand asks\n%s", was.name, w, got, whole)
				}
				if slices.ContainsFunc(result.Differences, func(d Difference) bool { return d.Code == "groups" && d.SLO == was.name && d.Kind == Changed }) {
					continue // added up: not what Sloth asks, and said
				}
				errors, total := slo.Queries(w)
				if canonical(t, errors) != canonical(t, render(t, wantErrors, w)) {
					t.Errorf("%s over %s: errors are\n%s\nwant\n%s", was.name, w, errors, render(t, wantErrors, w))
				}
				if wantTotal != "" && canonical(t, total) != canonical(t, render(t, wantTotal, w)) {
					t.Errorf("%s over %s: total is\n%s\nwant\n%s", was.name, w, total, render(t, wantTotal, w))
				}
			}
		}
	})
}

// slothRules is a file that Sloth wrote: what it records by SLO and window, and its alerts by SLO and severity.
func slothRules(t *testing.T, path string) (recorded, alerts map[[2]string]string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	recorded, alerts = map[[2]string]string{}, map[[2]string]string{}
	for dec := yaml.NewDecoder(f); ; {
		type group struct {
			Rules []struct {
				Record, Alert, Expr string
				Labels              map[string]string
			}
		}
		var made struct {
			Groups []group
			Spec   struct{ Groups []group } // of a manifest
		}
		if err := dec.Decode(&made); errors.Is(err, io.EOF) {
			return recorded, alerts
		} else if err != nil {
			t.Fatal(err)
		}
		for _, g := range append(made.Groups, made.Spec.Groups...) {
			for _, r := range g.Rules {
				id := r.Labels["sloth_id"]
				if strings.HasPrefix(r.Record, "slo:sli_error:ratio_rate") {
					recorded[[2]string{id, r.Labels["sloth_window"]}] = r.Expr
				}
				if r.Alert != "" { // names its SLO in its expression alone
					id = regexp.MustCompile(`sloth_id="([^"]*)"`).FindStringSubmatch(r.Expr)[1]
					alerts[[2]string{id, r.Labels["sloth_severity"]}] = r.Expr
				}
			}
		}
	}
}

// What the real Sloth 0.12.0 made of the files is in testdata. Its recording rules are what we say that it asks, and the limits in
// its alerts are ours, to the last bit of its noise.
func TestTheRulesOfTheRealSlothAreWhatWeSayItAsks(t *testing.T) {
	files, err := filepath.Glob("testdata/sloth-v0.12.0/*.yaml")
	if err != nil || len(files) != 5 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	windows, limits := 0, 0
	sources(t, "good", 1, func(t *testing.T, name string, tool Tool, f rules.File, opts Options) {
		path := filepath.Join("testdata/sloth-v0.12.0", filepath.Base(name)+".yaml")
		if !slices.Contains(files, path) {
			return // not a file of Sloth's
		}
		result, err := Import(tool, []rules.File{f}, opts)
		if err != nil {
			t.Fatal(err)
		}
		recorded, alerts := slothRules(t, path)
		for _, service := range result.Services {
			for _, s := range service.slos {
				id := s.service + "-" + s.name
				for _, w := range slothWindows {
					theirs := recorded[[2]string{id, model.Duration(w).String()}]
					if theirs == "" || canonical(t, theirs) != canonical(t, s.was.ratio(w)) {
						t.Errorf("%s over %s: we say\n%s\nand Sloth records\n%s", id, w, s.was.ratio(w), theirs)
					}
					windows++
				}
				for _, a := range s.was.alerts {
					expr := alerts[[2]string{id, string(a.severity)}]
					for _, p := range a.pairs {
						for _, w := range []time.Duration{p.short, p.long} {
							m := regexp.MustCompile(`ratio_rate`+model.Duration(w).String()+`\{[^}]*\} > \(([0-9.]+) \* ([0-9.]+)\)`).FindAllStringSubmatch(expr, -1)
							if len(m) != 1 {
								t.Fatalf("%s %s: %d times over %s in\n%s", id, a.severity, len(m), w, expr)
							}
							factor, err := strconv.ParseFloat(m[0][1], 64)
							budget, err2 := strconv.ParseFloat(m[0][2], 64)
							if want := factor * budget; err != nil || err2 != nil || math.Abs(p.limit-want) > 1e-12*want {
								t.Errorf("%s over %s: we say a limit of %v, Sloth's is %s × %s (%v, %v)", id, w, p.limit, m[0][1], m[0][2], err, err2)
							}
							limits++
						}
					}
					delete(alerts, [2]string{id, string(a.severity)})
				}
			}
		}
		for key := range alerts {
			t.Errorf("Sloth has an alert that we do not: %v", key)
		}
	})
	if windows != 7*9 || limits < 40 {
		t.Errorf("%d windows and %d limits compared", windows, limits)
	}
}

// The alert that the real Sloth wrote fires in the very minutes in which we say that Sloth's would have.
func TestTheAlertOfTheRealSlothFiresWhenWeSayItWould(t *testing.T) {
	recorded, alerts := slothRules(t, filepath.Join("..", "..", "test", "bench", "testdata", "sloth-v0.12.0.yaml"))
	const id = "service-0000-availability"
	page := alerts[[2]string{id, "page"}]
	// From the raw series, as nothing was recorded in this past, and of the job that is there.
	raw := regexp.MustCompile(`slo:sli_error:ratio_rate(\w+)\{[^}]*\}`).ReplaceAllStringFunc(page, func(s string) string {
		name, _, _ := strings.Cut(s, "{")
		return "(" + recorded[[2]string{id, strings.TrimPrefix(name, "slo:sli_error:ratio_rate")}] + ")"
	})
	raw = strings.NewReplacer(`job="service-0000"`, `job="a"`, "http_requests_total", "requests_total").Replace(raw)
	api := traffic(t, steady, outage{time.Hour, 80 * time.Minute, 1}, outage{3 * time.Hour, 5 * time.Hour, 0.01}, outage{7 * time.Hour, 7*time.Hour + 10*time.Minute, 0.15})
	const hours = 9
	fired := time.Duration(0)
	for at := noon; !at.After(noon.Add(hours * time.Hour)); at = at.Add(time.Minute) {
		v, _, _, err := api.Query(t.Context(), raw, at)
		if err != nil {
			t.Fatal(err)
		}
		if len(v.(model.Vector)) > 0 {
			fired += time.Minute
		}
	}
	v := verified(t, api, imported(t, Sloth, slothFile), hours)
	tier := v.tier(t, engine.SeverityPage)
	if fired == 0 || tier.Both+tier.OnlyTheirs != fired || tier.OnlyOurs > 0 {
		t.Errorf("Sloth's alert fired for %s, and we say %+v", fired, tier)
	}
}
