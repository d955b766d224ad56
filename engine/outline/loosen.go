package outline

import (
	"cmp"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Rule is one way in which a difference loosens something.
type Rule struct {
	Code string
	Kind Kind
	Key  string // of the field, as path.Match has it; empty: it is about whole entries
	Why  string // as a reviewer reads it

	looser func(c *change) bool // of a difference of that kind and key
}

// change is a difference as a rule judges it.
type change struct {
	before, after *Service // nil: there are no such rules
	old, new      *Entry   // nil: it was added, or removed
	renamed       renames
	kind          Kind
	key           string
	was, is       *Field // of the key; nil where it is not said
}

// marks are the rules by which a difference loosens something.
func marks(c *change) (out []Mark) {
	for i := range Rules {
		r := &Rules[i]
		if r.Kind != c.kind || (r.Key == "") != (c.key == "") {
			continue
		}
		if fits, err := path.Match(r.Key, c.key); err == nil && fits && r.looser(c) {
			out = append(out, Mark{r.Code, r.Why})
		}
	}
	return out
}

// Rules is the list of what loosens, a row each. A test holds every row to both directions: there, it is marked by this row, and
// back again it is not.
var Rules = []Rule{
	{"service-removed", KindService, "", "nobody watches the service or may shift it any more; its instances keep their last directive", removed},
	{"automation", KindService, "automation", "automation does more by itself", higher("off", "suggest", "on")},
	{"owner-gone", KindService, "owner", "nobody owns it", gone},
	{"runbook-gone", KindService, "runbook", "whoever is paged has no runbook", gone},
	{"alerts-source", KindService, "source", "another Prometheus is asked for the alerts that conditions mention", both(always)},
	{"finding-allowed", KindService, "allow.*", "rules check is silent about it", came},
	{"parent", KindService, "parent", "what the scope above imposes does not hold here any more", lost},
	{"modes-rank", KindService, "modes", "which of two modes protects more is turned around", always},
	{"transitions-order", KindService, "transitions", "of two that are ready at once the other one goes first", reordered},
	{"flapping-more", KindService, "flapping.changes", "it may move to and fro more often", inModes(rises(math.Inf(1)))},
	{"flapping-shorter", KindService, "flapping.within", "moves to and fro are forgotten sooner", both(falls(0))},
	{"stuck-later", KindService, "stuck_after", "nobody hears as soon of a mode that is not needed any more", inModes(rises(0))},
	{"min-applied", KindService, "instances.min_applied", "a change is done with fewer instances", inModes(falls(0))},
	{"grace", KindService, "instances.grace", "instances may lag behind for longer", inModes(rises(0))},
	{"page-above", KindService, "instances.page_above", "more instances may diverge before somebody is paged", inModes(rises(0))},
	{"lease", KindService, "lease", "instances trust for longer what they heard last", inModes(rises(math.Inf(1)))},
	{"on-loss", KindService, "on_loss", "instances without a server do something else", func(c *change) bool { return c.before.hasModes() }},

	{"slo-removed", KindSLO, "", "nobody watches the objective any more", removed},
	{"objective", KindSLO, "objective", "the objective is lower: more may fail", falls(0)},
	{"objective-higher", KindSLO, "objective", "what its burn moves aside, or destroys, does so sooner", func(c *change) bool {
		return both(rises(0))(c) && c.after.strikesBy(c.new.Name, "burning", "burn_rate", "budget_remaining")
	}},
	{"period", KindSLO, "period", "the error budget is for longer: more may fail before it is spent", rises(0)},
	{"calendar", KindSLO, "calendar", "the error budget is for another piece of the calendar, which cannot be compared", always},
	{"slo-query", KindSLO, "*_query", "it measures something else, which cannot be compared", always},
	{"slo-recorded", KindSLO, "evaluate", "it is read from other series, which cannot be compared", always},
	{"slo-source", KindSLO, "source", "another Prometheus is asked", always},
	{"min-events", KindSLO, "min_events", "with more traffic than before it is still unknown", rises(0)},
	{"min-events-fewer", KindSLO, "min_events", "it rests on less: fewer events are enough", falls(0)},
	{"no-traffic", KindSLO, "no_traffic", "no traffic counts as good", is("good")},
	{"slo-max-age", KindSLO, "max_age", "older samples count", rises(0)},
	{"slo-agree", KindSLO, "agree", "fewer replicas have to agree", falls(1)},

	{"tier-removed", KindAlert, "", "nobody is told any more", removed},
	{"pair-removed", KindAlert, "windows.*.factor", "one way to notice is gone", gone},
	{"factor", KindAlert, "windows.*.factor", "it has to burn faster before somebody is told", both(rises(0))},
	{"factor-lower", KindAlert, "windows.*.factor", "what its burn moves aside, or destroys, does so sooner", func(c *change) bool {
		slo, _, _ := strings.Cut(c.new.Name, "/")
		return c.is != nil && number(c.is, 0) < number(c.was, math.Inf(1)) && c.after.strikesBy(slo, "burning")
	}},
	{"window-long", KindAlert, "windows.*.long", "a shorter window: it rests on less", both(falls(0))},
	{"window-later", KindAlert, "windows.*.long", "a longer window: somebody is told later", both(rises(0))},
	{"window-short", KindAlert, "windows.*.short", "a shorter window: it rests on less", both(falls(0))},
	{"cadence", KindAlert, "windows.*.every", "it is looked at less often", rises(0)},
	{"escalation-gone", KindAlert, "escalation.when", "nobody is told further when it burns on", gone},
	{"escalation-when", KindAlert, "escalation.when", "it is told further later, or cannot be compared", verdict(func(v compared) bool { return v.harder || v.longer || v.rewritten })},
	{"escalation-for", KindAlert, "escalation.for", "it is told further later", both(rises(0))},

	{"tier-label", KindAlert, "labels.*", "whoever tells people by its labels may tell others", func(c *change) bool { return c.was != nil || c.key == severityLabel }},

	{"sli-query", KindSLI, "query", "it measures something else, which cannot be compared", always},
	{"sli-source", KindSLI, "source", "another Prometheus is asked", always},
	{"sli-max-age", KindSLI, "max_age", "older samples count", rises(0)},
	{"sli-agree", KindSLI, "agree", "fewer replicas have to agree", falls(1)},

	{"schedule-longer", KindSchedule, "duration", "the window is open for longer", rises(0)},
	{"schedule-shorter", KindSchedule, "duration", "what protects while it is open does so for a shorter time", func(c *change) bool {
		return falls(0)(c) && slices.ContainsFunc(c.after.mentioning(c.new.Name, "schedule"), func(t *Entry) bool { return c.after.course(t).protects })
	}},
	{"schedule-cron", KindSchedule, "cron", "the window opens at other times", always},
	{"schedule-timezone", KindSchedule, "timezone", "the window opens at other times", always},

	{"mode-quiet", KindMode, "", "a mode that keeps pages quiet, or pauses SLOs, is new", func(c *change) bool { return c.old == nil && c.after.quiets(c.new.Name) }},
	{"mode-removed", KindMode, "", "nobody can shift to that protection any more", func(c *change) bool {
		return c.new == nil && c.after.hasModes() && c.before.of(KindMode)[0] != c.old
	}},
	{"pause", KindMode, "pauses", "more SLOs are paused: their time is in no budget, and nobody is told", wider},
	{"suppress", KindMode, "suppress", "more is kept quiet", wider},
	{"imposes", KindMode, "imposes", "it imposes nothing, or something else, on the scopes below", lost},
	{"min-duration", KindMode, "min_duration", "it may be left sooner", falls(0)},
	{"max-duration", KindMode, "max_duration", "it may last longer before somebody hears of it", rises(math.Inf(1))},
	{"on-expiry", KindMode, "on_expiry", "people are not asked about the same way out when it lasts too long", lost},
	{"mode-stuck-later", KindMode, "stuck_after", "nobody hears as soon that it is not needed any more", stuckLater},
	{"drill-rarer", KindMode, "drill_every", "its way back is used less often", rises(math.Inf(1))},
	{"beside", KindMode, "beside", "it has no rank any more: it overtakes nothing and wins no tie", came},
	{"ranked", KindMode, "beside", "it has a rank now: a move there overtakes what is under way, and wins ties", gone},
	{"unavailable", KindMode, "unavailable", "the service does not answer in it any more", came},
	{"unavailable-gone", KindMode, "unavailable", "the service goes on answering where it was kept from it", gone},
	{"flag", KindMode, "flags.*", "instances are told something else, or nothing, where they were told to protect", func(c *change) bool {
		return c.was != nil && c.after.of(KindMode)[0].Name != c.new.Name
	}},

	{"transition-added", KindTransition, "", "protection may be given up, or the service moved aside, by itself", func(c *change) bool {
		if c.old != nil || c.new.Field(gateKey) != nil {
			return false
		}
		way := c.after.course(c.new)
		if !c.before.hasModes() { // nothing protected it that could be given up
			return way.aside
		}
		return !onlyProtects(way)
	}},
	{"transition-quiet", KindTransition, "", "a new way into a mode that keeps pages quiet, or pauses SLOs", func(c *change) bool {
		return c.old == nil && c.after.quiets(c.new.Text("to"))
	}},
	{"transition-removed", KindTransition, "", "nothing leads to that protection in this way any more", func(c *change) bool {
		return c.new == nil && c.before.course(c.old).protects
	}},
	{"from-wider", KindTransition, "from", "it starts from more modes", wider},
	{"from-narrower", KindTransition, "from", "it protects from fewer modes", func(c *change) bool {
		return narrower(c) && c.before.course(c.old).protects
	}},
	{"to", KindTransition, "to", "it leads elsewhere", always},
	{"when-window", KindTransition, "when", "a shorter window: it rests on less", verdict(func(v compared) bool { return v.window })},
	{"when-rewritten", KindTransition, "when", "the condition is another one, which cannot be compared", verdict(func(v compared) bool { return v.rewritten })},
	{"when-sooner", KindTransition, "when", "it gives protection up, destroys or moves aside sooner", func(c *change) bool {
		return compareConditions(c).easier && (!onlyProtects(c.course()) || c.after.destructive(c.new))
	}},
	{"when-later", KindTransition, "when", "it protects later", func(c *change) bool {
		way := c.course()
		return compareConditions(c).harder && (way.protects || way.aside)
	}},
	{"when-longer", KindTransition, "when", "a longer window: it protects later", func(c *change) bool {
		way := c.course()
		return compareConditions(c).longer && (way.protects || way.aside)
	}},
	{"for-shorter", KindTransition, "for", "it rests on less: the condition has to hold for a shorter time", falls(0)},
	{"for-longer", KindTransition, "for", "it protects later", func(c *change) bool { return rises(0)(c) && c.course().protects }},
	{"severity", KindTransition, "severity", "fewer people hear of it, or later", func(c *change) bool { return higher("page", "ticket", "info")(c) }},
	{"gate-new", KindTransition, gateKey, "it protects no sooner than people have said yes", func(c *change) bool { return came(c) && c.course().protects }},
	{"gate-removed", KindTransition, gateKey, "nobody is asked any more", gone},
	{"gate-around", KindTransition, "", "a new way there asks fewer people than one that was there", around("approval.groups.*", falls(0))},
	{"gate-around-within", KindTransition, "", "a yes counts for longer than on a way there that was there", around(gateKey, both(rises(0)))},
	{"gate-around-otherwise", KindTransition, "", "it goes on after its time, where on a way there that was there it is denied", around("approval.otherwise", both(otherwise))},
	{"gate-around-to", KindTransition, "", "fewer people are asked after its time than on a way there that was there", around("approval.to.*", fewerAfter)},
	{"gate-within", KindTransition, gateKey, "a yes counts for longer", both(rises(0))},
	{"gate-people", KindTransition, "approval.groups.*", "fewer people with this role are asked", func(c *change) bool { return falls(0)(c) && c.new.Field(gateKey) != nil }},
	{"gate-otherwise", KindTransition, "approval.otherwise", "it goes on after its time in place of being denied", both(otherwise)},
	{"gate-to", KindTransition, "approval.to.*", "fewer people with this role are asked after its time", fewerAfter},
	{"retry-after", KindTransition, "retry_after", "what came to nothing is tried again sooner", falls(0)},
	{"retry-later", KindTransition, "retry_after", "what came to nothing protects later", func(c *change) bool { return rises(0)(c) && c.course().protects }},
	{"until", KindTransition, "until", "it is taken back at another time, or not at all", always},
	{"undo-entry", KindTransition, "undo", "what was done to enter is not taken back any more", gone},
	{"undo-entry-new", KindTransition, "undo", "what was done to enter is taken back by itself", came},
	{"publish", KindTransition, "publish", "directive and actions come in another order", always},
	{"on-failure", KindTransition, "on_failure", "what was applied is taken back when the change fails", func(c *change) bool {
		return c.is != nil && c.is.Text == "undo" || c.is == nil && c.was.Text == "hold"
	}},
	{"on-failure-hold", KindTransition, "on_failure", "what was given up or moved aside is not put back when the change fails", func(c *change) bool {
		return is("hold")(c) && !onlyProtects(c.course())
	}},
	{"verify-gone", KindTransition, "verify", "nothing is verified any more", gone},
	{"verify", KindTransition, "verify", "what is verified holds sooner, or cannot be compared", verdict(compared.weaker)},
	{"rollout-gone", KindTransition, "rollout.waves", "all instances are told at once", gone},
	{"rollout-waves", KindTransition, "rollout.waves", "a wave has more instances, or there are fewer waves", func(c *change) bool {
		return c.was != nil && c.is != nil && coarser(c.was.List, c.is.List)
	}},
	{"rollout-pause", KindTransition, "rollout.pause", "a wave is looked at for a shorter time", func(c *change) bool { return falls(0)(c) && c.new.Field("rollout.waves") != nil }},
	{"rollout-verify-gone", KindTransition, "rollout.verify", "no wave is verified any more", func(c *change) bool { return gone(c) && c.new.Field("rollout.waves") != nil }},
	{"rollout-verify", KindTransition, "rollout.verify", "the verification of a wave holds sooner, or cannot be compared", verdict(compared.weaker)},
	{"rollout-slower", KindTransition, "rollout.*", "it reaches the instances later, and so protects later", slower},
	{"steps-order", KindTransition, "actions", "the actions come in another order", always},

	{"destructive-added", KindAction, "", "it destroys", func(c *change) bool { return c.old == nil && c.new.Field("destructive") != nil }},
	{"step-added", KindAction, "", "one thing more is done", func(c *change) bool {
		return c.old == nil && c.new.Field("destructive") == nil && c.renamed.transition(c.before, transitionOf(c.new.Name)) != nil
	}},
	{"step-removed", KindAction, "", "what was done before what follows is not done any more", func(c *change) bool {
		if c.new != nil {
			return false
		}
		name := transitionOf(c.old.Name)
		return c.after.Entry(KindTransition, cmp.Or(c.renamed[name], name)) != nil
	}},
	{"destructive", KindAction, "destructive", "it is destructive now", came},
	{"harmless", KindAction, "destructive", "it is said not to be destructive any more: no gate has to be asked", gone},
	{"why", KindAction, "why", "why it should do no harm is something else", always},
	{"irreversible", KindAction, "irreversible", "it cannot be taken back", came},
	{"undo-gone", KindAction, "undo", "nothing takes it back any more", gone},
	{"undo-other", KindAction, "undo", "its undo does something else", both(always)},
	{"does", KindAction, "does", "it does something else", always},
	{"attempts", KindAction, "attempts", "it is tried more often", rises(1)},
	{"keyed", KindAction, "keyed", "its target does not tell a second attempt from the first", gone},
	{"targets", KindAction, "targets.query", "it acts on something else", always},
	{"targets-max", KindAction, "targets.max", "it may act on more targets", func(c *change) bool { return rises(math.Inf(1))(c) }},
}

// gateKey is there where a transition has a gate.
const gateKey = "approval.within"

// severityLabel is the label by which a notice is weighed where it goes: one that is new may take it down.
const severityLabel = "labels.severity"

// otherwise and fewerAfter judge what a gate does when its time is over.
var otherwise = higher("deny", "page", "escalate")

func fewerAfter(c *change) bool {
	return falls(0)(c) && c.new.Text("approval.otherwise") == "escalate"
}

// around reports whether a new transition leads where one led whose gate was stricter in a field: beside that gate, or in its place.
// A transition that has another name only is not new: see renames.
func around(key string, looser func(*change) bool) func(*change) bool {
	return func(c *change) bool {
		return c.old == nil && slices.ContainsFunc(c.before.of(KindTransition), func(was *Entry) bool {
			if was.Field(gateKey) == nil || !sameWay(was, c.new) {
				return false
			}
			return slices.ContainsFunc(was.fields(), func(f Field) bool {
				fits, err := path.Match(key, f.Key)
				beside := change{before: c.before, after: c.after, old: was, new: c.new, kind: c.kind, key: f.Key, was: &f, is: c.new.Field(f.Key)}
				return err == nil && fits && looser(&beside)
			})
		})
	}
}

// reordered reports whether file order, which decides between transitions of one rank, does so otherwise now.
func reordered(c *change) bool {
	for i, first := range c.is.List {
		for _, second := range c.is.List[i+1:] {
			if slices.Index(c.was.List, first) <= slices.Index(c.was.List, second) || !slices.Contains(c.was.List, second) {
				continue
			}
			a, b := c.after.Entry(KindTransition, first), c.after.Entry(KindTransition, second)
			tie := a.Text("to") == b.Text("to") || c.after.rank(a.Text("to")) < 0 || c.after.rank(b.Text("to")) < 0
			if tie && len(common(a.List("from"), b.List("from"))) > 0 {
				return true
			}
		}
	}
	return false
}

// slower reports whether a roll-out that protects has more ahead of its last wave. What comes with the first waves is said with them.
func slower(c *change) bool {
	switch {
	case !c.course().protects:
		return false
	case c.key == "rollout.waves":
		return c.is != nil && (c.was == nil || coarser(c.is.List, c.was.List))
	case c.old.Field("rollout.waves") == nil:
		return false
	case c.key == "rollout.verify":
		v := compareConditions(c)
		return came(c) || v.harder || v.window || v.longer || v.rewritten
	}
	return rises(0)(c)
}

func always(*change) bool    { return true }
func removed(c *change) bool { return c.new == nil }
func came(c *change) bool    { return c.was == nil && c.is != nil }
func gone(c *change) bool    { return c.was != nil && c.is == nil }

// lost is what was said before and is not any more, or otherwise.
func lost(c *change) bool { return c.was != nil }

// both asks only of what is said before and after.
func both(looser func(*change) bool) func(*change) bool {
	return func(c *change) bool { return c.was != nil && c.is != nil && looser(c) }
}

// inModes asks only of a scope that has modes before and after: in one without, nobody is in a mode and instances are told nothing.
func inModes(looser func(*change) bool) func(*change) bool {
	return func(c *change) bool { return c.before.hasModes() && c.after.hasModes() && looser(c) }
}

func is(text string) func(*change) bool {
	return func(c *change) bool { return c.is != nil && c.is.Text == text }
}

func number(f *Field, absent float64) float64 {
	if f == nil || f.Number == nil {
		return absent
	}
	return *f.Number
}

// rises and falls compare numbers; what is not said counts as absent.
func rises(absent float64) func(*change) bool {
	return func(c *change) bool { return number(c.is, absent) > number(c.was, absent) }
}

func falls(absent float64) func(*change) bool {
	return func(c *change) bool { return number(c.is, absent) < number(c.was, absent) }
}

// higher compares words by their order here; what is not said is the first.
func higher(words ...string) func(*change) bool {
	rank := func(f *Field) int {
		if f == nil {
			return 0
		}
		return slices.Index(words, f.Text)
	}
	return func(c *change) bool { return rank(c.is) > rank(c.was) }
}

func listOf(f *Field) []string {
	if f == nil {
		return nil
	}
	return f.List
}

// wider reports whether a list has what it had not; narrower whether it has lost something.
func wider(c *change) bool {
	return slices.ContainsFunc(listOf(c.is), func(s string) bool { return !slices.Contains(listOf(c.was), s) })
}

func narrower(c *change) bool {
	return slices.ContainsFunc(listOf(c.was), func(s string) bool { return !slices.Contains(listOf(c.is), s) })
}

func stuckLater(c *change) bool {
	was := number(c.was, number(c.before.Entry(KindService, string(c.before.Scope)).Field("stuck_after"), 0))
	return number(c.is, number(c.after.Entry(KindService, string(c.after.Scope)).Field("stuck_after"), 0)) > was
}

// coarser reports whether waves of the new roll-out reach more instances than as many of the old one, or all of them in fewer.
func coarser(was, is []string) bool {
	percent := func(s string) float64 {
		v, _ := strconv.ParseFloat(strings.TrimSuffix(s, "%"), 64) // they were written by package rules
		return v
	}
	if len(is) < len(was) {
		return true
	}
	for i := range was {
		if percent(is[i]) > percent(was[i]) {
			return true
		}
	}
	return false
}

func transitionOf(action string) string {
	name, _, _ := strings.Cut(action, "/")
	return name
}

// course is which ways a transition led and leads.
func (c *change) course() course {
	was, now := c.before.course(c.old), c.after.course(c.new)
	return course{was.protects || now.protects, was.recovers || now.recovers, was.aside || now.aside}
}

func onlyProtects(w course) bool { return w.protects && !w.recovers && !w.aside }

// compared is what two conditions are to each other.
type compared struct {
	window    bool // one is shorter
	longer    bool // one is longer
	easier    bool // it is true sooner
	harder    bool // it is true later
	rewritten bool // it says something else
}

func (v compared) weaker() bool { return v.window || v.longer || v.easier || v.rewritten }

// verdict judges a condition that is there before and after.
func verdict(looser func(compared) bool) func(*change) bool {
	return func(c *change) bool { return looser(compareConditions(c)) }
}

func compareConditions(c *change) (v compared) {
	if c.was == nil || c.is == nil || c.was.Condition == nil || c.is.Condition == nil {
		return v
	}
	was, now := c.was.Condition, c.is.Condition
	if was.Shape != now.Shape || len(was.Numbers) != len(now.Numbers) {
		return compared{rewritten: true}
	}
	for i := range now.Numbers {
		by := now.Numbers[i].Value - was.Numbers[i].Value
		switch {
		case by == 0:
		case now.Numbers[i].Window:
			v.window, v.longer = v.window || by < 0, v.longer || by > 0
		case now.Numbers[i].Easier == 0:
			v.rewritten = true
		case (by > 0) == (now.Numbers[i].Easier > 0):
			v.easier = true
		default:
			v.harder = true
		}
	}
	return v
}
