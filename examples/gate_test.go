package examples_test

import (
	"bytes"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/modeshift/modeshift/engine/server"
	"github.com/modeshift/modeshift/test/promtest"
)

func TestTheSnippetsOfThePipelinePageAreItsTestedFiles(t *testing.T) {
	page, err := os.ReadFile("gate/README.md")
	if err != nil {
		t.Fatal(err)
	}
	shownFiles(t, "gate", string(page), "tokens.yaml", "github.yaml", "gitlab-ci.yml", "Makefile")
}

// pipeline runs the step of a pipeline that asks, and what comes after it.
type pipeline struct {
	t      *testing.T
	server string
	token  string // file with the pipeline's token
	path   string // with the program
}

// run runs a command line in an empty folder beside a deploy.sh, and returns what it printed and its exit code.
func (p *pipeline) run(env []string, command ...string) (code int, out string, deployed bool) {
	p.t.Helper()
	dir := p.t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "deploy.sh"), []byte("#!/bin/sh\ntouch deployed\n"), 0o700); err != nil {
		p.t.Fatal(err)
	}
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Dir = dir
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.Env = append(os.Environ(), append(env, "PATH="+p.path+":"+os.Getenv("PATH"), "RUNNER_TEMP="+p.t.TempDir())...)
	var exit *exec.ExitError
	if err := cmd.Run(); errors.As(err, &exit) {
		code = exit.ExitCode()
	} else if err != nil {
		p.t.Fatal(err)
	}
	_, err := os.Stat(filepath.Join(dir, "deployed"))
	return code, said.String(), err == nil
}

// github runs the steps of the workflow's job that run a command, as GitHub does: each by bash -e, until one fails.
func (p *pipeline) github(wait string) (code int, out string, deployed bool) {
	var workflow struct {
		Jobs map[string]struct {
			Steps []struct {
				Run string
				Env map[string]string
			}
		}
	}
	p.parse("gate/github.yaml", &workflow)
	for _, step := range workflow.Jobs["deploy"].Steps {
		if step.Run == "" {
			continue
		}
		var env []string
		for name, value := range step.Env {
			value = strings.NewReplacer("${{ vars.MODESHIFT_SERVER }}", p.server, "${{ secrets.MODESHIFT_TOKEN }}", tokenOf("checkout-pipeline")).Replace(value)
			env = append(env, name+"="+value)
		}
		var said string
		code, said, deployed = p.run(env, "bash", "-e", "-c", strings.ReplaceAll(step.Run, "--wait 10m", wait))
		if out += said; code != 0 {
			break
		}
	}
	return code, out, deployed
}

// gitlab runs the job's script, as GitLab does: line by line, until one fails.
func (p *pipeline) gitlab(wait string) (code int, out string, deployed bool) {
	var jobs map[string]struct {
		Variables map[string]string
		Script    []string
	}
	p.parse("gate/gitlab-ci.yml", &jobs)
	job := jobs["deploy"]
	if job.Variables["MODESHIFT_SERVER"] == "" {
		p.t.Error("gitlab-ci.yml does not say where the server is")
	}
	script := "set -eo pipefail\n" + strings.Join(job.Script, "\n")
	return p.run([]string{"MODESHIFT_SERVER=" + p.server, "MODESHIFT_TOKEN_FILE=" + p.token}, "bash", "-c", strings.ReplaceAll(script, "--wait 10m", wait))
}

func (p *pipeline) make(string) (code int, out string, deployed bool) {
	makefile, err := filepath.Abs("gate/Makefile")
	if err != nil {
		p.t.Fatal(err)
	}
	// As from a shell, also where this test itself was started by make.
	return p.run([]string{"MODESHIFT_SERVER=" + p.server, "MODESHIFT_TOKEN_FILE=" + p.token, "MAKELEVEL=", "MAKEFLAGS="}, "make", "-f", makefile, "deploy")
}

func (p *pipeline) parse(file string, into any) {
	p.t.Helper()
	text, err := os.ReadFile(file)
	if err == nil {
		err = yaml.Unmarshal(text, into)
	}
	if err != nil {
		p.t.Fatal(err)
	}
}

// gated is a service that is deployed to.
const gated = `version: modeshift/v1
service: checkout
slos:
  - name: availability
    objective: 99.9
    sli:
      events:
        error_query: sum(rate(http_requests_total{job="checkout",code=~"5.."}[{{.window}}]))
        total_query: sum(rate(http_requests_total{job="checkout"}[{{.window}}]))
    alerting: {name: CheckoutAvailability, page_alert: {}, ticket_alert: {}}
modes: [{name: normal}, {name: degraded}]
transitions:
  - {name: shed, from: [normal], to: degraded, when: 'burning("availability", "page")', severity: page}
  - {name: recover, from: [degraded], to: normal, when: '!burning("availability", "page")', for: 10m}
`

func TestEachPipelineOfThePageDeploysForAYesAndForNothingElse(t *testing.T) {
	t.Parallel()
	now := time.Now()
	prometheus := promtest.Start(t, promtest.Options{})
	prometheus.Push(promtest.Counter(`http_requests_total{job="checkout",code="200",instance="of last month"}`, now.Add(-30*24*time.Hour), now.Add(-2*time.Hour), 10*time.Minute, 0, 40_000))
	prometheus.Push(promtest.Counter(`http_requests_total{job="checkout",code="200"}`, now.Add(-2*time.Hour), now.Add(9*time.Minute), 15*time.Second, 0, 1000))
	rules := filepath.Join(t.TempDir(), "checkout.yaml")
	if err := os.WriteFile(rules, []byte(gated), 0o600); err != nil {
		t.Fatal(err)
	}
	checkout := run(t, "checkout", prometheus.URL, startPager(t), func(c *server.Config) {
		c.Rules, c.TokensFile = []string{rules}, knownTokens(t, "gate/tokens.yaml")
	})
	p := &pipeline{t: t, server: checkout.url, path: t.TempDir(), token: filepath.Join(t.TempDir(), "token")}
	if err := os.WriteFile(p.token, []byte(tokenOf("checkout-pipeline")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if said, err := exec.Command("go", "build", "-o", filepath.Join(p.path, "modeshift"), "../cmd/modeshift").CombinedOutput(); err != nil {
		t.Fatalf("build modeshift: %v\n%s", err, said)
	}
	tools := map[string]func(wait string) (int, string, bool){"github.yaml": p.github, "gitlab-ci.yml": p.gitlab, "Makefile": p.make}
	exits := func(what string, want int, says string) {
		t.Helper()
		for name, run := range tools {
			code, out, deployed := run("--wait 1s")
			if name == "Makefile" && want != 0 { // make's own
				want := regexp.MustCompile(`make: \*\*\* .* Error ` + string(rune('0'+want)))
				if code != 2 || deployed || !want.MatchString(out) || !strings.Contains(out, says) {
					t.Errorf("%s: %s exits %d, deployed: %v; it says\n%s", what, name, code, deployed, out)
				}
			} else if code != want || deployed != (want == 0) || !strings.Contains(out, says) {
				t.Errorf("%s: %s exits %d, deployed: %v; it says\n%s", what, name, code, deployed, out)
			}
			if strings.Contains(out, tokenOf("checkout-pipeline")) {
				t.Errorf("%s: %s prints the token:\n%s", what, name, out)
			}
		}
	}
	if code, out, deployed := p.gitlab("--wait 1m"); code != 0 || !deployed { // until the ledger has read the month
		t.Fatalf("all is well, and it exits %d, deployed: %v; it says\n%s", code, deployed, out)
	}
	exits("all is well", 0, "")

	freeze := func(what string) {
		t.Helper()
		if code, text := checkout.call(http.MethodPost, checkout.admin, "/api/v1/scopes/fleet/"+what, map[string]any{"reason": "big sale"}, nil); code != http.StatusOK {
			t.Fatalf("%s answers %d: %s", what, code, text)
		}
	}
	freeze("freeze")
	exits("everything is frozen", 1, "all automation is frozen until it is released, by ada: big sale")
	freeze("unfreeze")
	exits("the freeze is over", 0, "")

	p.server = "http://127.0.0.1:1"
	exits("no server answers", 3, "no modeshift server answers")
}
