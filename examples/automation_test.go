package examples_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modeshift/modeshift/engine/readiness"
	"github.com/modeshift/modeshift/engine/server"
	"github.com/modeshift/modeshift/examples/prometheus"
	"github.com/modeshift/modeshift/rules"
	"github.com/modeshift/modeshift/test/receiver"
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
	page, err := os.ReadFile("automation/README.md")
	if err != nil {
		t.Fatal(err)
	}
	links := regexp.MustCompile(`\]\(([^)#:]+)\)`).FindAllStringSubmatch(string(page), -1)
	if len(links) < 10 {
		t.Fatalf("%d links", len(links))
	}
	for _, l := range links {
		if _, err := os.Stat(filepath.Join("automation", l[1])); err != nil {
			t.Error(err)
		}
	}
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

// walk is a page whose commands are carried out, in a copy of its folder.
type walk struct {
	t     *testing.T
	dir   string
	env   []string
	swap  *strings.Replacer  // addresses of the page for those of the test
	world map[string]func()  // what happens, by the comments of the page
	pager *receiver.Receiver // who is paged
	ids   map[string]string  // of the page, to those of this run
}

// asking are the commands that change nothing: they are repeated until they say what the page says.
var asking = regexp.MustCompile(`^(modeshift (status|history|rules check|evaluate|explain)|cat)( |$)`)

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
	w := &walk{t: t, dir: t.TempDir(), pager: pager, ids: map[string]string{},
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

func (w *walk) write(name, text string) {
	w.t.Helper()
	path := filepath.Join(w.dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
		w.t.Fatal(err)
	}
}

func (w *walk) copies(names ...string) {
	w.t.Helper()
	for _, name := range names {
		text, err := os.ReadFile(filepath.Join("automation", name))
		if err != nil {
			w.t.Fatal(err)
		}
		w.write(name, w.swap.Replace(string(text)))
	}
}

// through carries out what a page says, from its beginning to its end.
func (w *walk) through(page string) {
	w.t.Helper()
	ran, code, paged := 0, 0, false
	for _, m := range regexp.MustCompile("(?ms)^<!-- (world: [^>]+|exits \\d|paged) -->$|^```(console|text)\n(.*?)^```$").FindAllStringSubmatch(page, -1) {
		switch event, known := strings.CutPrefix(m[1], "world: "); {
		case known:
			if w.world[event] == nil {
				w.t.Fatalf("nothing makes %q happen", event)
			}
			w.world[event]()
		case m[1] == "paged":
			paged = true
		case m[1] != "":
			code = int(m[1][len("exits ")] - '0')
		case m[2] == "text" && paged:
			w.paged(m[3])
			paged = false
		case m[2] == "console":
			for _, part := range strings.Split("\n"+m[3], "\n$ ")[1:] {
				command, output, _ := strings.Cut(strings.TrimSuffix(part, "\n"), "\n")
				w.command(command, output, code)
				ran++
			}
			code = 0
		}
	}
	if ran < 20 {
		w.t.Errorf("the page has %d commands", ran)
	}
}

// paged waits until people have been told the lines of a text.
func (w *walk) paged(text string) {
	w.t.Helper()
	for _, line := range strings.Split(strings.TrimSpace(text), "\n") {
		eventually(w.t, "a page says "+line, func() bool {
			return slices.ContainsFunc(w.pager.Events(), func(e receiver.Event) bool { return e.Target == receiver.Pages && e.Summary == line })
		})
	}
}

// command carries out a command, and compares what it says with the page.
func (w *walk) command(command, output string, code int) {
	w.t.Helper()
	w.t.Log("$ " + command)
	shell := func() *exec.Cmd {
		text := w.swap.Replace(command)
		for ours, theirs := range w.ids {
			text = strings.ReplaceAll(text, ours, theirs)
		}
		cmd := exec.Command("sh", "-c", text)
		cmd.Dir, cmd.Env = w.dir, w.env
		return cmd
	}
	if strings.HasPrefix(command, "modeshift run ") || strings.HasPrefix(command, "modeshift agent ") {
		w.background(shell())
		return
	}
	var said bytes.Buffer
	try := func() (missing string, exit int) {
		said.Reset()
		cmd := shell()
		cmd.Stdout, cmd.Stderr = &said, &said
		if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
			w.t.Fatal(err)
		}
		return w.missing(output, said.String()), cmd.ProcessState.ExitCode()
	}
	missing, exit := try()
	for deadline := time.Now().Add(time.Minute); asking.MatchString(command) && (missing != "" || exit != code) && time.Now().Before(deadline); missing, exit = try() {
		time.Sleep(50 * time.Millisecond)
	}
	if missing != "" || exit != code {
		w.t.Fatalf("$ %s\nexits %d, want %d, and does not say %q:\n%s", command, exit, code, missing, said.String())
	}
}

// background starts a command that goes on until the test ends.
func (w *walk) background(cmd *exec.Cmd) {
	w.t.Helper()
	var said bytes.Buffer
	cmd.Args[2] = "exec " + cmd.Args[2] // so that the signal reaches it
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &said, io.Discard, 10*time.Second
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt) // it may have ended by itself, which Wait tells
		if err := cmd.Wait(); err != nil {
			w.t.Errorf("%v: %v\n%s", cmd.Args, err, said.String())
		}
	})
}

var (
	instants = regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d`)
	spans    = regexp.MustCompile(`\b(\d+(h|m|s|ms))+\b`)
	ids      = regexp.MustCompile(`\b(checkout|search)[-/]\d+\b`)
	numbers  = regexp.MustCompile(`directive \d+`)
	blanks   = regexp.MustCompile(` +`)
)

// plainly is a line without what differs from run to run.
func plainly(line string) string {
	line = instants.ReplaceAllString(line, "TIME")
	line = ids.ReplaceAllStringFunc(line, func(id string) string {
		if strings.HasSuffix(id, "-1") { // an instance
			return id
		}
		return "ID"
	})
	line = numbers.ReplaceAllString(line, "directive N")
	return strings.TrimSpace(blanks.ReplaceAllString(spans.ReplaceAllString(line, "SPAN"), " "))
}

// missing is the first line of the page that a command did not say, in the order of the page; empty when it said them all. A line
// may be a part of one that was said; "…" stands for anything. Identities are noted, for the commands that follow.
func (w *walk) missing(want, got string) string {
	lines := strings.Split(got, "\n")
	for _, line := range strings.Split(want, "\n") {
		parts := strings.Split(plainly(line), "…")
		i := slices.IndexFunc(lines, func(said string) bool {
			said = plainly(said)
			for _, part := range parts {
				_, rest, found := strings.Cut(said, strings.TrimSpace(part))
				if !found {
					return false
				}
				said = rest
			}
			return true
		})
		if i < 0 {
			return line
		}
		ours, theirs := ids.FindAllString(line, -1), ids.FindAllString(lines[i], -1)
		for k := range min(len(ours), len(theirs)) {
			if strings.HasPrefix(theirs[len(theirs)-1-k], "checkout-") {
				w.ids[ours[len(ours)-1-k]] = theirs[len(theirs)-1-k]
			}
		}
		lines = lines[i+1:]
	}
	return ""
}
