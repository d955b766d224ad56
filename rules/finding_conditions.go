package rules

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/common/model"
)

// lookAtConditions finds what each condition says that is never so, or of something else.
func (d *draft) lookAtConditions() {
	for i := range d.transitions {
		t := &d.transitions[i]
		if t.cond != nil {
			d.lookAtCondition(t.cond, t.when)
		}
		if t.over != nil {
			d.lookAtCondition(t.over, t.until)
		}
		for _, v := range []struct {
			name string
			node *node
		}{{".verify", t.verify}, {".rollout", t.wave}} {
			if v.node == nil {
				continue
			}
			k := slices.IndexFunc(d.service.Conditions, func(c *Condition) bool { return c.Name == t.rule.Name+v.name })
			d.lookAtCondition(d.service.Conditions[k], v.node)
			if v.node == t.wave {
				d.lookAtWave(d.service.Conditions[k], v.node)
			}
		}
	}
}

func (d *draft) lookAtCondition(c *Condition, n *node) {
	if c.sketch == nil {
		return
	}
	before := len(d.r.diags)
	for _, x := range c.sketch.compared {
		d.lookAtNumber(x, n)
	}
	for _, m := range c.sketch.windows {
		d.lookAtMention(m, n)
	}
	if len(d.r.diags) > before || len(c.signals) == 0 {
		return // it has been said why
	}
	if _, possible, sure := witness(c.sketch.claim, d.bounds()); !possible && sure {
		d.r.as(CodeNeverTrue).warnf(n, "look at its numbers and signs: no values make all of it true", "the condition can never be true")
	}
}

// lookAtNumber finds a share that is compared with a percentage, and a burn rate that nothing reaches.
func (d *draft) lookAtNumber(x compared, n *node) {
	share := false
	switch x.Function {
	case "error_ratio", "divergence", "budget_remaining":
		share = true
	case "sli":
		share = slices.Contains([]string{"ratio", "share"}, strings.ToLower(d.service.SLI(x.Signal.Name).Unit))
	case "burn_rate":
		slo := d.service.SLO(x.Signal.Name)
		if most := round(1 / slo.Budget); x.Number >= most && x.Op == ">" || x.Number > most && x.Op == ">=" {
			d.note(CodeUnreachableFactor, n, x.at, "write a smaller one: all events failing is a burn rate of "+trimFloat(most),
				"with an objective of %s %% a burn rate above %s cannot be reached", slo.Objective, trimFloat(x.Number))
		}
	}
	if !share || x.Number <= 1 {
		return
	}
	hint := "it is a share, from 0 to 1"
	if x.Number <= 100 {
		hint += fmt.Sprintf(": %s %% is %s", trimFloat(x.Number), strconv.FormatFloat(round(x.Number/100), 'f', -1, 64))
	}
	what := x.Function + "()"
	if x.Signal.Name != "" {
		what = fmt.Sprintf("%s(%q)", x.Function, x.Signal.Name)
	}
	d.note(CodePercent, n, x.at, hint, "%s is compared with %s, and is never above 1", what, trimFloat(x.Number))
}

// note warns of a place inside a condition.
func (d *draft) note(code Code, n *node, at int, hint, format string, args ...any) {
	line, column := d.r.src.within(n, at)
	d.r.as(code).say(LevelWarning, line, column, hint, format, args...)
}

// lookAtWave finds a verification of a roll-out that looks at all instances: what a few of them do hardly shows there.
func (d *draft) lookAtWave(c *Condition, n *node) {
	elsewhere := ""
	for _, s := range c.signals {
		switch {
		case s.Narrowed || s.Kind == SignalDivergence:
			return
		case elsewhere == "" && (s.Kind == SignalSLO || s.Kind == SignalSLI):
			elsewhere = s.Name
		}
	}
	hint := "ask for an SLO or SLI whose queries have {{.instances}}"
	if elsewhere != "" {
		hint = fmt.Sprintf(`write instance=~"{{.instances}}" into each selector of %s`, elsewhere)
	}
	d.r.as(CodeVerifyAll).warnf(n, hint, "the verification of the waves does not look at them: of all instances the first few hardly show")
}

// lookAtMention finds a window of a condition that is too short to be measured.
func (d *draft) lookAtMention(m mention, n *node) {
	slo := d.service.SLO(m.slo)
	if slo == nil || slo.Recorded {
		return
	}
	if each := d.scrapes(slo.Source, slo.queryTexts); d.tooShort(m.slo, m.window, each) {
		d.note(CodeShortWindow, n, m.at, shortHint(each), shortWindow, model.Duration(m.window), model.Duration(each))
	}
}
