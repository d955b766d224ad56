package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/api"
	"github.com/modeshift/modeshift/engine/approval"
	"github.com/modeshift/modeshift/engine/approval/approvaltest"
	"github.com/modeshift/modeshift/engine/secret"
)

// keyboard is a terminal at which somebody types.
type keyboard struct{ io.Reader }

func (keyboard) Terminal() bool { return true }

// line is a command line over a server with a gate.
type line struct {
	t        *testing.T
	world    *approvaltest.World
	url, dir string
	in       io.Reader
	out, err string // of the last call
}

func newLine(t *testing.T) *line {
	t.Helper()
	l := &line{t: t, world: approvaltest.New(t), dir: t.TempDir(), in: strings.NewReader("")}
	var list []api.Token
	for name, roles := range map[string][]api.Role{
		"bob": {"oncall"}, "carol": {"lead"}, "dave": {api.RoleOperator, "oncall"}, "glass": {api.RoleOperator, "break-glass"}, "viewer": {api.RoleViewer},
	} {
		list = append(list, api.Token{SHA256: api.HashToken(secret.New("token-of-" + name)), Principal: name, Roles: roles, Scopes: []engine.Scope{"*"}})
		if err := os.WriteFile(filepath.Join(l.dir, name), []byte("token-of-"+name+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	tokens, err := api.NewTokens(list...)
	if err != nil {
		t.Fatal(err)
	}
	a, err := api.New(api.Options{Loop: l.world, Log: l.world, Tokens: tokens, Logger: slog.New(slog.DiscardHandler),
		Desk: approval.New(approval.Options{Loop: l.world, Log: l.world, Describe: approvaltest.Describe, Now: l.world.Now})})
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(a.Handler())
	t.Cleanup(func() {
		a.Close()
		s.Close()
	})
	l.url = s.URL
	return l
}

// run calls modeshift as somebody and checks the exit code.
func (l *line) run(who string, code int, args ...string) {
	l.t.Helper()
	var out, err bytes.Buffer
	args = append([]string{"--server", l.url, "--token-file", filepath.Join(l.dir, who)}, args...)
	got := run(args, &streams{l.in, &out, &err})
	l.out, l.err = out.String(), err.String()
	if got != code {
		l.t.Errorf("%s: %q: exit %d, want %d\n%s%s", who, args[4:], got, code, l.out, l.err)
	}
}

func (l *line) says(where string, texts ...string) {
	l.t.Helper()
	for _, text := range texts {
		if !strings.Contains(where, text) {
			l.t.Errorf("%q is missing in:\n%s", text, where)
		}
	}
}

func TestAProposalIsListedShownAndApprovedByItsDigest(t *testing.T) {
	l := newLine(t)
	l.run("bob", exitYes, "approvals")
	l.says(l.err, "nothing waits")
	p := l.world.Propose(t)
	l.run("bob", exitYes, "approvals")
	l.says(l.out, string(p.ID), "checkout: degraded → failover", "oncall:1, lead:1", "15m")
	l.run("bob", exitYes, "approvals", string(p.ID))
	l.says(l.out, "POST https://dns.internal/repoint to=eu-2", "undo: POST https://dns.internal/repoint to=eu-1", "CANNOT BE UNDONE", string(p.Digest), "checkout.yaml:41:5", "= 21.5")
	l.run("bob", exitYes, "approvals", string(p.ID), "-o", "json")
	var shown api.Approval
	if err := json.Unmarshal([]byte(l.out), &shown); err != nil || shown.Digest != p.Digest || len(shown.Steps) != 2 {
		t.Errorf("%v: %s", err, l.out)
	}
	l.run("bob", exitYes, "approve", string(p.ID), "--reason", "region is down", "--digest", string(p.Digest[:8]))
	l.says(l.out, "yes of bob (oncall), missing lead:1", "region is down")
	l.run("bob", exitNo, "approve", string(p.ID), "--reason", "again", "--digest", string(p.Digest[:8]))
	l.says(l.err, "said yes already")
	l.run("viewer", exitNo, "approve", string(p.ID), "--reason", "me too", "--digest", string(p.Digest[:8]))
	l.run("carol", exitNo, "approve", string(p.ID), "--reason", "agreed", "--digest", "00000000")
	l.says(l.err, "another one now")
	l.run("carol", exitYes, "approve", string(p.ID), "--reason", "agreed", "--digest", string(p.Digest[:8]), "-o", "json")
	l.says(l.out, `"kind": "ChangeStarted"`)
	l.run("carol", exitYes, "approvals", string(p.ID))
	l.says(l.out, "started as checkout-")
	l.run("carol", exitNo, "approve", string(p.ID), "--reason", "late", "--digest", string(p.Digest[:8]))
	l.says(l.err, "was approved")
	l.run("carol", exitUsage, "approve", "checkout-1", "--reason", "x", "--digest", "00000000")
	l.run("carol", exitUsage, "approve", string(p.ID))
	l.says(l.err, "--reason")
}

func TestABlindYesFromTheCommandLineStartsWhatCannotBeSeen(t *testing.T) {
	l := newLine(t)
	p := l.world.Propose(t)
	digest := string(p.Digest[:8])
	l.run("bob", exitYes, "approve", string(p.ID), "--reason", "whatever comes", "--digest", digest, "--blind")
	l.says(l.out, "like any other")
	l.world.Observe(t, engine.Unknown)
	l.run("carol", exitYes, "approve", string(p.ID), "--reason", "agreed", "--digest", digest)
	l.says(l.out, "cannot be seen")
	if strings.Contains(l.out, "started") {
		t.Errorf("it started unseen:\n%s", l.out)
	}
	l.run("carol", exitYes, "approve", string(p.ID), "--reason", "I see the smoke", "--digest", digest, "--blind")
	l.says(l.out, "also to starting without sight", "started: degraded → failover")
}

func TestNobodyApprovesWhatTheyDidNotSee(t *testing.T) {
	l := newLine(t)
	p := l.world.Propose(t)
	before := l.world.Version()
	l.run("bob", exitUsage, "approve", string(p.ID), "--reason", "it's down", "--blind")
	command := fmt.Sprintf(`modeshift approve %s --digest %s --reason 'it'\''s down' --blind`, p.ID, p.Digest.Short())
	l.says(l.err, "no terminal", command, "POST https://dns.internal/repoint")
	if l.out != "" {
		t.Errorf("a result without a decision: %s", l.out)
	}
	for _, typed := range []string{"", "\n", "y\n", "no\n", "yes please\n"} {
		l.in = keyboard{strings.NewReader(typed)}
		l.run("bob", exitNo, "approve", string(p.ID), "--reason", "x")
		l.says(l.err, "Type yes", "nothing was recorded")
	}
	if l.world.Version() != before {
		t.Errorf("something was recorded: %s", l.world.Kinds(before))
	}
	// What changes while somebody reads is not what they say yes to.
	l.in = keyboard{readerFunc(func(b []byte) (int, error) {
		l.world.Change(t, func(p *engine.Policy) { p.Transitions[0].Digest = "t1-new" })
		return copy(b, "yes\n"), nil
	})}
	l.run("bob", exitNo, "approve", string(p.ID), "--reason", "x")
	l.says(l.err, "another one now")
	l.in = keyboard{strings.NewReader("yes\n")}
	l.run("bob", exitYes, "approve", string(p.ID), "--reason", "x")
	l.says(l.out, "yes of bob")
}

func TestTheNullDeviceIsNoTerminal(t *testing.T) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = null.Close() }() // read only
	if terminal(null) || terminal(strings.NewReader("yes\n")) || !terminal(keyboard{strings.NewReader("")}) {
		t.Error("somebody is taken to sit where nobody does, or the other way round")
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

func TestARejectionEndsAProposal(t *testing.T) {
	l := newLine(t)
	p := l.world.Propose(t)
	l.run("bob", exitYes, "reject", string(p.ID), "--reason", "a drill")
	l.says(l.out, "denied by bob", "a drill")
	l.run("carol", exitNo, "reject", string(p.ID), "--reason", "me too")
	l.run("carol", exitNo, "approve", string(p.ID), "--reason", "x")
	l.says(l.err, "has ended")
}

func TestAChangeIsForcedCancelledAndUndoneFromTheCommandLine(t *testing.T) {
	l := newLine(t)
	l.run("dave", exitYes, "set", "checkout", "failover", "--reason", "drill")
	l.says(l.err, "waits for oncall:1, lead:1: modeshift approve checkout-")
	v, _ := l.world.View("checkout")
	p := v.State.Proposals[0]
	l.run("dave", exitNo, "approve", string(p.ID), "--reason", "x", "--digest", string(p.Digest[:8]))
	l.says(l.err, "asked for it")
	l.run("dave", exitYes, "status", "checkout")
	l.says(l.out, "waits for a yes: modeshift approvals "+string(p.ID))
	l.run("dave", exitYes, "cancel", string(p.ID), "--reason", "drill over")
	l.says(l.out, "withdrawn")
	l.run("dave", exitUsage, "set", "checkout", "failover", "--reason", "x", "--force")
	l.says(l.err, "break-glass")
	l.run("glass", exitYes, "set", "checkout", "failover", "--reason", "now", "--force")
	l.says(l.out, "BREAK-GLASS")
	v, _ = l.world.View("checkout")
	change := string(v.State.Change.ID)
	l.run("dave", exitNo, "settle", change, "--as", "done", "--reason", "x")
	l.run("dave", exitUsage, "settle", change, "--as", "perhaps", "--reason", "x")
	l.run("bob", exitUsage, "cancel", change, "--reason", "x")
	for _, step := range []string{"repoint", "drain"} {
		l.world.Do(t, engine.Actor{}, &engine.StepReported{Step: step, Outcome: engine.OutcomeDone})
	}
	l.run("dave", exitNo, "cancel", change, "--reason", "x")
	l.says(l.err, "undo")
	l.run("dave", exitYes, "undo", change, "--reason", "the primary is back")
	l.says(l.out, "is being undone", "undo of repoint started")
	l.world.Do(t, engine.Actor{}, &engine.StepReported{Step: "repoint", Undo: true, Outcome: engine.OutcomeFailed, Detail: "refused"})
	l.run("dave", exitYes, "settle", change, "--as", "undone", "--reason", "by hand")
	l.says(l.out, "settled as undone by dave")
	for _, wrong := range []string{"nonsense", "nobody-7", "-7"} {
		l.run("dave", exitUsage, "undo", "--reason", "x", "--", wrong)
	}
}

func TestWithoutAServerNobodyCanTell(t *testing.T) {
	l := newLine(t)
	l.url = "http://127.0.0.1:1"
	for _, args := range [][]string{{"approvals"}, {"approve", "x-1", "-r", "x"}, {"reject", "x-1", "-r", "x"}, {"cancel", "x-1", "-r", "x"},
		{"undo", "x-1", "-r", "x"}, {"settle", "x-1", "-r", "x", "--as", "done"}} {
		l.run("bob", exitCannotTell, args...)
	}
}

func TestEveryVerbOfPeopleHasHelpWithAnExample(t *testing.T) {
	for _, verb := range []string{"approvals", "approve", "reject", "cancel", "undo", "settle", "set"} {
		var out, err bytes.Buffer
		if code := run([]string{verb, "--help"}, &streams{strings.NewReader(""), &out, &err}); code != exitYes || !strings.Contains(out.String(), "Example:") || !strings.Contains(out.String(), "  modeshift "+verb) {
			t.Errorf("%s: exit %d\n%s%s", verb, code, out.String(), err.String())
		}
	}
}

func TestABudgetIsToldInWords(t *testing.T) {
	for want, b := range map[string]api.ApprovalBudget{
		"a: lasts 14h4m; 42.0 % left, burning 21.5 times as fast as it may": {SLO: "a", Remaining: 0.42, Burn: 21.5, Lasts: api.Duration(14*time.Hour + 4*time.Minute)},
		"a: spent (-10.0 %), burning 2 times as fast as it may":             {SLO: "a", Remaining: -0.1, Burn: 2},
		"a: 50.0 % left, not being spent now":                               {SLO: "a", Remaining: 0.5},
		"a: cannot tell: no traffic":                                        {SLO: "a", Unknown: "no traffic"},
	} {
		if got := budget(b); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
