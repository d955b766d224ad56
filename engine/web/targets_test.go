package web_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/approval"
)

func TestThePageShowsWhatAStepWouldActOn(t *testing.T) {
	s := open(t, nil)
	s.world.Select(t, 2)
	p := s.world.Propose(t)
	b := s.browser(t).signIn("canary-bob")
	look := func(targets approval.Targets, texts ...string) {
		t.Helper()
		s.targets = targets
		if status := b.get(path(p)); status != http.StatusOK {
			t.Fatalf("%d %s", status, b.page)
		}
		b.shows(texts...)
	}
	look(approval.Targets{Selector: "bad instances", Max: 2, Found: 2, Names: []string{"a:9090", `<script>"'&`}},
		"It would act on 2 now, and may on 2:", "<code>a:9090</code>, <code>&lt;script&gt;&#34;&#39;&amp;</code>.", "At most 2 of <code>bad instances</code>")
	if strings.Contains(b.page, "That is more than it may") {
		t.Error("it says that these are too many")
	}
	look(approval.Targets{Selector: "bad instances", Max: 2, Found: 30, Names: []string{"a:9090"}}, "<code>a:9090</code> and 29 more.", "That is more than it may")
	look(approval.Targets{Selector: "bad instances", Max: 2}, "There is nothing it would act on now")
	look(approval.Targets{Selector: "bad instances", Max: 2, Unknown: "connection refused"}, "cannot be told:</strong> connection refused")
}

func TestThePageAsksAgainWhenAStepIsHeld(t *testing.T) {
	s := open(t, nil)
	s.world.Select(t, 2)
	p := s.world.Propose(t)
	bob, carol := s.browser(t).signIn("canary-bob"), s.browser(t).signIn("canary-carol")
	for _, b := range []*browser{bob, carol} {
		b.get(path(p))
		if status := b.do("POST", path(p), b.form("yes", "two of them"), nil); status != http.StatusSeeOther {
			t.Fatalf("%d %s", status, b.page)
		}
	}
	s.world.Hold(t, 3)
	bob.get("/approvals")
	bob.shows("it has started, and a step of it is held")
	bob.get(path(p))
	bob.shows("and a step of it is held:", "<strong>Held:</strong> it found more targets than were approved", "Missing: 1 × oncall and 1 × lead")
	form := bob.form("yes", "three then")
	s.world.Observe(t, engine.True)
	if status := bob.do("POST", path(p), form, nil); status != http.StatusSeeOther {
		t.Errorf("a yes to what is shown now: %d %s", status, main(bob.page))
	}
	v, _ := s.world.View("checkout")
	if len(v.State.Proposals) != 1 || len(v.State.Proposals[0].Votes) != 1 {
		t.Errorf("%+v", v.State.Proposals)
	}
}
