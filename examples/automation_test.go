package examples_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modeshift/modeshift/engine/readiness"
	"github.com/modeshift/modeshift/engine/server"
	"github.com/modeshift/modeshift/examples/prometheus"
	"github.com/modeshift/modeshift/rules"
)

func TestTheSnippetsOfBeforeYouTurnItOnAreTheFilesThatItsCommandsUse(t *testing.T) {
	page, err := os.ReadFile("automation/README.md")
	if err != nil {
		t.Fatal(err)
	}
	shownFiles(t, "automation", string(page), "rules/checkout.yaml", "modeshift.yaml")
	checkout, err := os.ReadFile("automation/rules/checkout.yaml")
	if err != nil {
		t.Fatal(err)
	}
	search, err := os.ReadFile("automation/rules/search.yaml")
	if err != nil {
		t.Fatal(err)
	}
	same := strings.NewReplacer("checkout", "search", "CheckoutAvailability", "SearchAvailability", "team-payments", "team-search")
	if same.Replace(string(checkout)) != string(search) {
		t.Error("the page says that the file of search says the same as that of checkout, and it does not")
	}
}

func TestTheLinksOfBeforeYouTurnItOnLeadSomewhere(t *testing.T) {
	linksLead(t, "automation", 10)
}

// What a rule file can do for readiness the examples do: whoever copies them begins with nothing but questions for a server.
func TestTheExamplesLackNothingThatAFileCanSay(t *testing.T) {
	kinds, err := server.FormKinds()
	if err != nil {
		t.Fatal(err)
	}
	for _, folder := range []string{"automation/rules", "checkout/rules"} {
		files, err := rules.ReadFiles(folder)
		if err != nil {
			t.Fatal(err)
		}
		set, err := rules.Load(files, rules.Options{Kinds: kinds})
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range set.Services {
			report := readiness.Judge(readiness.Subject{Policy: &s.Policy, Needs: server.Needs(s), Drills: s.Drills, NoServer: "nobody is asked"})
			for _, row := range report.Rows {
				if row.Answer == readiness.No {
					t.Errorf("%s: %s: %s", s.File, row.Criterion, row.Why)
				}
			}
			if report.Answer != readiness.CannotTell {
				t.Errorf("%s: %s, and nobody was asked", s.File, report.Answer)
			}
		}
	}
}

// traffic is a service as Prometheus sees it: twenty requests a second, and while it is broken many that fail.
type traffic struct {
	mu        sync.Mutex // guards what follows
	good, bad float64
	last      time.Time
	isBroken  bool
}

func (s *traffic) set(broken bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	// So much went well that what failed before is nothing in any window: to wait for hours is not what the test is about.
	if s.isBroken && !broken {
		s.good += 2000 * s.bad
	}
	s.isBroken = broken
}

func (s *traffic) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if !s.last.IsZero() {
		s.good += 20 * now.Sub(s.last).Seconds()
		if s.isBroken { // much at once, for the same reason
			s.bad += 1e4 + 0.1*(s.good+s.bad)
		}
	}
	s.last = now
	_, _ = fmt.Fprintf(w, "http_requests_total{code=\"200\"} %f\nhttp_requests_total{code=\"503\"} %f\n", s.good, s.bad) // the scraper says when it is gone
}

func TestWhatBeforeYouTurnItOnSaysHappens(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("automation/README.md")
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	if said, err := exec.Command("go", "build", "-o", filepath.Join(bin, "modeshift"), "../cmd/modeshift").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, said)
	}
	checkout, search := &traffic{}, &traffic{}
	one, other := httptest.NewServer(checkout), httptest.NewServer(search)
	t.Cleanup(one.Close)
	t.Cleanup(other.Close)
	listen, agent := free(t), free(t)
	var past []prometheus.Past
	for _, job := range []string{"checkout", "search"} {
		past = append(past, prometheus.Past{Labels: map[string]string{"__name__": "http_requests_total", "job": job, "code": "200", "instance": "before"}, PerSecond: 20})
	}
	p, err := prometheus.Start(prometheus.Options{Interval: 500 * time.Millisecond, PastFor: 2 * time.Hour, Past: past, Jobs: []prometheus.Job{
		{Name: "checkout", Targets: []string{strings.TrimPrefix(one.URL, "http://"), agent}},
		{Name: "search", Targets: []string{strings.TrimPrefix(other.URL, "http://")}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	pager := startPager(t)
	w := &walk{t: t, from: "automation", least: 20, dir: t.TempDir(), pager: pager, ids: map[string]string{},
		env: append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "MODESHIFT_SERVER=http://"+listen, "MODESHIFT_TOKEN_FILE=ada.token", "TZ=UTC"),
		swap: strings.NewReplacer("127.0.0.1:8471", agent, "127.0.0.1:8470", listen, "http://127.0.0.1:9090", p.URL(), "interval: 15s", "interval: 1s",
			"routing_key_file: pagerduty-key", "routing_key_file: pagerduty-key, url: "+pager.URL(), "https://tickets.example.com/modeshift", pager.TicketURL()),
		world: map[string]func(){"checkout breaks": func() { checkout.set(true) }, "checkout is mended": func() { checkout.set(false) }},
	}
	w.copies("modeshift.yaml", "rules/checkout.yaml", "rules/search.yaml")
	tokens, err := os.ReadFile(knownTokens(t, "automation/tokens.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	w.write("tokens.yaml", string(tokens))
	w.write("ada.token", tokenOf("ada"))
	w.write("checkout.token", tokenOf("checkout"))
	w.write("pagerduty-key", "0123456789abcdef0123456789abcdef\n")
	w.through(string(page))

	// What is named in passing is not carried out, but is there.
	named := regexp.MustCompile("`modeshift ([a-z]+)[^`]*`").FindAllStringSubmatch(string(page), -1)
	if len(named) < 3 {
		t.Errorf("%d commands are named in passing", len(named))
	}
	for _, m := range named {
		w.command("modeshift "+m[1]+" --help", "Usage: modeshift "+m[1], 0)
	}
}
