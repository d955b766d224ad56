package web_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/modeshift/modeshift/engine/web"
)

func TestWhoeverAsksTooOftenIsToldHowLongToWaitAndNothingIsRecorded(t *testing.T) {
	type question struct {
		who     string
		answers bool
	}
	var asked question
	var wait time.Duration
	s := open(t, func(o *web.Options) {
		o.Admit = func(_ *http.Request, v *web.Visitor, answers bool) time.Duration {
			asked = question{"", answers}
			if v != nil {
				asked.who = v.Actor.Principal
			}
			return wait
		}
	})
	p := s.world.Propose(t)
	b := s.browser(t)
	b.get("/approvals")
	if asked != (question{}) {
		t.Errorf("a stranger's reading is %+v", asked)
	}
	b.signIn("canary-bob").get(path(p))
	if want := (question{"bob-laptop", false}); asked != want {
		t.Errorf("a reading is %+v, want %+v", asked, want)
	}
	form := b.form("yes", "go")
	wait = 1500 * time.Millisecond
	if got := b.do("POST", path(p), form, nil); got != http.StatusTooManyRequests || b.resp.Header.Get("Retry-After") != "2" {
		t.Errorf("one too many is answered %d, after %q", got, b.resp.Header.Get("Retry-After"))
	}
	if want := (question{"bob-laptop", true}); asked != want {
		t.Errorf("an answer is %+v, want %+v", asked, want)
	}
	b.shows("Too many requests came from you", "Nothing was recorded: wait 2 s and try again")
	wait = 0
	if b.get(path(p)); len(b.resp.Header.Get("Retry-After")) > 0 {
		t.Error("and then it is still to wait")
	}
	b.shows("1 × oncall and 1 × lead")
	if got := b.do("POST", path(p), b.form("yes", "go"), nil); got != http.StatusSeeOther {
		t.Errorf("the same answer a little later is answered %d: it had been recorded", got)
	}
}
