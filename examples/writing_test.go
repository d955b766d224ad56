package examples_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/modeshift/modeshift/test/promtest"
)

func TestTheSnippetsOfWritingRulesAreTheFilesThatItsCommandsUse(t *testing.T) {
	page, err := os.ReadFile("writing/README.md")
	if err != nil {
		t.Fatal(err)
	}
	shownFiles(t, "writing", string(page), "slos/checkout.yml", "rules/checkout.yaml", "typo.yaml", "tests/checkout.yaml", "incidents.csv")
	now, err := os.ReadFile("writing/rules/checkout.yaml")
	if err != nil {
		t.Fatal(err)
	}
	next, err := os.ReadFile("writing/next/checkout.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Replace(string(now), "for: 10m", "for: 5m", 1) != string(next) {
		t.Error("the page says that the next rules differ in one number, and they do not")
	}
}

func TestTheLinksOfWritingRulesLeadSomewhere(t *testing.T) {
	linksLead(t, "writing", 3)
}

// past is what the page's Prometheus has seen: a hundred requests a second, of which 15 % fail for ten minutes.
func past(begin, at, until, end time.Time) []promtest.Series {
	good := promtest.Series{Metric: `http_requests_total{job="checkout",code="200"}`}
	bad := promtest.Series{Metric: `http_requests_total{job="checkout",code="503"}`}
	const every = 15 * time.Second
	g, b := 0.0, 0.0
	for t := begin; !t.After(end); t = t.Add(every) {
		good.Samples = append(good.Samples, promtest.Sample{At: t, Value: g})
		bad.Samples = append(bad.Samples, promtest.Sample{At: t, Value: b})
		failed := 0.0
		if !t.Before(at) && t.Before(until) {
			failed = 0.15
		}
		g += 100 * every.Seconds() * (1 - failed)
		b += 100 * every.Seconds() * failed
	}
	return []promtest.Series{good, bad}
}

func TestWhatWritingRulesSaysHappens(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("writing/README.md")
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	if said, err := exec.Command("go", "build", "-o", filepath.Join(bin, "modeshift"), "../cmd/modeshift").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, said)
	}
	p := promtest.Start(t, promtest.Options{Config: "storage: {tsdb: {out_of_order_time_window: 40d}}"})
	day := time.Date(2025, 3, 3, 0, 0, 0, 0, time.UTC)
	p.Push(past(day, day.Add(9*time.Hour), day.Add(9*time.Hour+10*time.Minute), day.Add(13*time.Hour))...)
	listen := free(t)
	w := &walk{t: t, from: "writing", least: 12, dir: t.TempDir(), ids: map[string]string{},
		env:  append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "MODESHIFT_SERVER=http://"+listen, "TZ=UTC"),
		swap: strings.NewReplacer("127.0.0.1:8470", listen, "http://127.0.0.1:9090", p.URL),
	}
	w.copies("slos/checkout.yml", "rules/checkout.yaml", "typo.yaml", "tests/checkout.yaml", "next/checkout.yaml", "incidents.csv")
	w.through(string(page))

	// What is named in passing is not carried out, but is there.
	for _, m := range regexp.MustCompile("`modeshift (rules [a-z]+)[^`]*`").FindAllStringSubmatch(string(page), -1) {
		w.command("modeshift "+m[1]+" --help", "Usage: modeshift "+m[1], 0)
	}
}
