package demo

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/modeshift/modeshift/engine/server"
	"github.com/modeshift/modeshift/examples/prometheus"
	"github.com/modeshift/modeshift/examples/shop"
	"github.com/modeshift/modeshift/rules"
	"github.com/modeshift/modeshift/test/promtest"
)

// running is the real program in this process.
type running struct {
	*server.Server
	ended chan error
}

func (r *running) Stop(context.Context) error {
	return errors.Join(r.Server.Stop(), <-r.ended)
}

func startReal(t *testing.T) func(context.Context, string) (Modeshift, error) {
	return func(ctx context.Context, file string) (Modeshift, error) {
		cfg, err := server.LoadConfig(file)
		if err != nil {
			return nil, err
		}
		log := slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
		s, err := server.New(ctx, server.Options{Config: cfg, Logger: log, Version: "test"})
		if err != nil {
			return nil, err
		}
		r := &running{s, make(chan error, 1)}
		go func() { r.ended <- s.Run(context.WithoutCancel(ctx)) }()
		return r, nil
	}
}

func TestTheStoryHappensOnTheEmbeddedPrometheus(t *testing.T) {
	t.Parallel()
	out, err := tell(t, Options{Start: startReal(t), JSON: true})
	if err != nil {
		t.Fatal(err)
	}
	expectStory(t, out)
}

// program builds the command line.
func program(t *testing.T) string {
	t.Helper()
	command := filepath.Join(t.TempDir(), "modeshift")
	if said, err := exec.Command("go", "build", "-o", command, "github.com/modeshift/modeshift/cmd/modeshift").CombinedOutput(); err != nil {
		t.Fatalf("build the program: %v\n%s", err, said)
	}
	return command
}

// What the demo asks of people is done as they would do it: the lines it prints are run by a shell.
func TestPeopleApproveAndUndoByTheCommandsThatTheDemoPrints(t *testing.T) {
	t.Parallel()
	command := program(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var out screen
	done := make(chan error, 1)
	go func() { done <- Run(ctx, Options{Start: startReal(t), Command: command, Out: &out, act: 2}) }()
	verbs := []string{"approve", "undo"}
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for !strings.Contains(out.text(), "Ctrl-C ends it") {
		select {
		case err := <-done:
			t.Fatalf("it ended by itself: %v\n%s", err, out.text())
		case <-poll.C:
		}
		if len(verbs) == 0 {
			continue
		}
		line := regexp.MustCompile(`(?m)^ *` + regexp.QuoteMeta(command+" "+verbs[0]) + ` .*$`).FindString(out.text())
		if line == "" || !strings.Contains(out.text()[strings.Index(out.text(), line)+len(line):], "\n") {
			continue
		}
		if verbs[0] == "approve" && !strings.Contains(line, " --digest ") {
			t.Fatalf("%s approves what nobody has to have looked at", line)
		}
		if said, err := exec.Command("sh", "-c", line).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", line, err, said)
		}
		verbs = verbs[1:]
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	text := out.text()
	t.Logf("the story:\n%s", text)
	for _, want := range []string{"carol, who is oncall, said yes: the primary is dead", "olga asked for it"} {
		if !strings.Contains(text, want) {
			t.Errorf("the story does not say %q", want)
		}
	}
}

func TestTheStoryHappensOnARealPrometheusServer(t *testing.T) {
	t.Parallel()
	out, err := tell(t, Options{Start: startReal(t), JSON: true, Prometheus: func(jobs []prometheus.Job) (string, func(context.Context) error, error) {
		p := promtest.Start(t, promtest.Options{Config: scrapeConfig(jobs)})
		return p.URL, func(context.Context) error { p.Stop(); return nil }, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	expectStory(t, out)
}

// scrapeConfig writes jobs as Prometheus's own configuration. Names and addresses need no quotes.
func scrapeConfig(jobs []prometheus.Job) string {
	var b strings.Builder
	fmt.Fprintf(&b, "global: {scrape_interval: %s, scrape_timeout: %[1]s}\nscrape_configs:\n", scrapeEvery)
	for _, j := range jobs {
		fmt.Fprintf(&b, "  - job_name: %s\n    static_configs:\n", j.Name)
		for i, t := range j.Targets {
			fmt.Fprintf(&b, "      - targets: [%q]\n", t)
			if i < len(j.Names) {
				fmt.Fprintf(&b, "        labels: {instance: %q}\n", j.Names[i])
			}
		}
	}
	return b.String()
}

func TestTheStoryMeasuresWithTheObjectiveOfTheRules(t *testing.T) {
	kinds, err := server.FormKinds()
	if err != nil {
		t.Fatal(err)
	}
	set, err := rules.Load([]rules.File{{Name: "shop.rules.yaml", Data: shop.Rules}}, rules.Options{Kinds: kinds})
	if err != nil {
		t.Fatal(err)
	}
	for _, slo := range []string{"availability", "payments"} {
		if got := set.Service(scope).SLO(slo).Budget; got != budget {
			t.Errorf("the rules leave %s a budget of %g, the story reckons with %g", slo, got, budget)
		}
	}
}
