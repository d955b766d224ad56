package engine_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/modeshift/modeshift/engine"
)

// offset writes an instant as its distance from the start: +15s.
func offset(t time.Time) string {
	if t.Before(start) {
		return "-" + start.Sub(t).String()
	}
	return "+" + t.Sub(start).String()
}

// text quotes what holds blanks or quotes, or is empty.
func text(s string) string {
	if s == "" || strings.ContainsAny(s, " \t\n\"") {
		return strconv.Quote(s)
	}
	return s
}

// printEvent writes an event as one line, and its effects below it.
func (s *session) printEvent(b *strings.Builder, e engine.Event) {
	fmt.Fprintf(b, "%s %s/%d %s", offset(e.At), e.Stream, e.Version, e.Kind())
	switch f := e.Fact.(type) {
	case engine.ChangeProposed:
		p := f.Proposal
		flatten(b, "", reflect.ValueOf(struct {
			Proposal, Transition string
			From, To             engine.Mode
			Severity             engine.Severity
			Groups               []engine.Group
			Until                time.Time
			Digest               string
			Requester            string
			Pin                  time.Duration
			Incident             engine.IncidentID
			Plan                 engine.Plan
		}{string(p.ID), p.Transition, p.From, p.To, f.Severity, p.Gate.Groups, p.Until, s.number(p.Digest), requester(p), p.Pin, f.Incident, f.Plan}))
	case engine.ProposalRenewed:
		flatten(b, "", reflect.ValueOf(struct {
			Proposal engine.ChangeID
			Digest   string
			From     engine.Mode
			Until    time.Time
			Voided   int
			Step     string
			Plan     engine.Plan
		}{f.Proposal, s.number(f.Digest), f.From, f.Until, f.Voided, f.Step, f.Plan}))
	case engine.ApprovalGranted:
		f.Digest, f.Asked = engine.Digest(s.number(f.Digest)), nil
		flatten(b, "", reflect.ValueOf(f))
	case engine.ProposalDenied:
		f.Asked, f.Summary = nil, ""
		flatten(b, "", reflect.ValueOf(f))
	case engine.ProposalExpired:
		f.Asked, f.Summary = nil, ""
		flatten(b, "", reflect.ValueOf(f))
	case engine.ProposalWithdrawn:
		f.Asked, f.Summary = nil, ""
		flatten(b, "", reflect.ValueOf(f))
	case engine.GateEscalated:
		f.Summary = ""
		flatten(b, "", reflect.ValueOf(f))
	case engine.StepStarted:
		f.Facts = engine.Facts{} // the change's, as its start says
		flatten(b, "", reflect.ValueOf(f))
	case engine.TargetsFound:
		f.Facts = engine.Facts{}
		flatten(b, "", reflect.ValueOf(f))
	case engine.StepHeld:
		f.Names = nil // t1, t2, …
		flatten(b, "", reflect.ValueOf(f))
	case engine.ChangeStarted:
		f.Retry = engine.RetryRules{} // the transition's, as the policy above says
		flatten(b, "", reflect.ValueOf(f))
	default:
		flatten(b, "", reflect.ValueOf(e.Fact))
	}
	if e.Reason != (engine.Reason{}) {
		fmt.Fprintf(b, " | %s", e.Reason.Code)
		if e.Reason.Text != "" {
			fmt.Fprintf(b, ": %s", e.Reason.Text)
		}
	}
	b.WriteString("\n")
	for _, f := range engine.Effects(e) {
		switch n := f.Notice; {
		case f.Step != nil && f.Step.Undo:
			fmt.Fprintf(b, "  -> undo %s%s\n", strings.TrimSuffix(f.Step.Key, "/undo"), on(f.Step.Targets))
		case f.Step != nil:
			verb := map[bool]string{false: "do", true: "find"}[f.Step.Find]
			fmt.Fprintf(b, "  -> %s %s%s\n", verb, f.Step.Key, on(f.Step.Targets))
		case n.Severity == engine.SeverityAsk:
			verb := map[engine.NoticeAction]string{engine.NoticeTrigger: "ask", engine.NoticeUpdate: "ask", engine.NoticeResolve: "tell"}[n.Action]
			fmt.Fprintf(b, "  -> %s %s %s: %s\n", verb, groupList(n.Groups), n.Incident, n.Summary)
		default:
			fmt.Fprintf(b, "  -> %s %s %s: %s\n", n.Severity, n.Action, n.Incident, n.Summary)
		}
	}
}

// on says what a step acts on, if that was found.
func on(targets []string) string {
	if len(targets) == 0 {
		return ""
	}
	return " on " + strings.Join(targets, ",")
}

func requester(p engine.Proposal) string {
	if p.Requester == nil {
		return ""
	}
	return p.Requester.String()
}

// number is what the file calls a digest: #1 for the first it meets.
func (s *session) number(d engine.Digest) string {
	i := slices.Index(s.digests, d)
	if i < 0 {
		i = len(s.digests)
		s.digests = append(s.digests, d)
	}
	return fmt.Sprintf("#%d", i+1)
}

func groupList(groups []engine.Group) string {
	words := make([]string, len(groups))
	for i, g := range groups {
		words[i] = g.String()
	}
	return strings.Join(words, ",")
}

// steps names the steps of a plan, how many targets they may have, and what cannot be taken back of them.
func steps(plan engine.Plan) string {
	words := make([]string, len(plan.Steps))
	for i, st := range plan.Steps {
		words[i] = st.Name
		if st.Targets.Max > 0 {
			words[i] += fmt.Sprintf("(%d)", st.Targets.Max)
		}
		if st.Irreversible {
			words[i] += "(irreversible)"
		}
	}
	return strings.Join(words, ",")
}

// wavesOf are the shares of a plan's waves.
func wavesOf(plan engine.Plan) string {
	if plan.Rollout == nil {
		return ""
	}
	words := make([]string, len(plan.Rollout.Waves))
	for i, w := range plan.Rollout.Waves {
		words[i] = strconv.Itoa(int(w))
	}
	return strings.Join(words, ",")
}

// flatten writes the fields of a fact in the order of their declaration, without those that are zero. A truth is always
// written: its zero value means something.
func flatten(b *strings.Builder, name string, v reflect.Value) {
	pair := func(s string) { fmt.Fprintf(b, " %s=%s", strings.TrimPrefix(name, "."), text(s)) }
	switch x := v.Interface().(type) {
	case engine.Truth:
		pair(x.String())
		return
	case time.Time:
		if !x.IsZero() {
			pair(offset(x))
		}
		return
	case time.Duration:
		if x != 0 {
			pair(x.String())
		}
		return
	case engine.Percent:
		pair(fmt.Sprintf("%d%%", x))
		return
	case []engine.Group:
		if len(x) > 0 {
			pair(groupList(x))
		}
		return
	case engine.Step:
		pair(x.Name)
		return
	case engine.Plan:
		for _, f := range []struct{ name, value string }{{"waves", wavesOf(x)}, {"steps", steps(x)}, {"on_failure", string(x.OnFailure)}, {"verify", x.Verify}, {"until", x.Until}} {
			if f.value != "" {
				fmt.Fprintf(b, " %s=%s", f.name, f.value)
			}
		}
		if x.PublishLast {
			b.WriteString(" publish=last")
		}
		return
	case json.RawMessage:
		fmt.Fprintf(b, " %s=%s", strings.TrimPrefix(name, "."), x)
		return
	}
	if v.IsZero() {
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			f := v.Type().Field(i)
			label, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if label == "" {
				label = strings.ToLower(f.Name)
			}
			flatten(b, name+"."+label, v.Field(i))
		}
	case reflect.Pointer:
		flatten(b, name, v.Elem())
	case reflect.Map:
		var buf bytes.Buffer
		enc := json.NewEncoder(&buf)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(v.Interface()); err != nil {
			panic(err)
		}
		fmt.Fprintf(b, " %s=%s", strings.TrimPrefix(name, "."), strings.TrimSpace(buf.String()))
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.String {
			var parts []string
			for i := range v.Len() {
				parts = append(parts, v.Index(i).String())
			}
			pair(strings.Join(parts, ","))
			return
		}
		for i := range v.Len() {
			flatten(b, fmt.Sprintf("%s.%d", name, i), v.Index(i))
		}
	default:
		pair(fmt.Sprint(v.Interface()))
	}
}

// printState writes what a stream is like, a line for each thing that is so.
func printState(s engine.State, at time.Time) string {
	var b strings.Builder
	line := func(name string, v any) {
		b.WriteString(name)
		flatten(&b, "", reflect.ValueOf(v))
		b.WriteString("\n")
	}
	fmt.Fprintf(&b, "%s/%d mode=%s target=%s revision=%d dwell=%s", s.Scope, s.Version, s.Mode, s.Target, s.Directive.Revision, s.Dwell(at))
	if s.Lost != 0 {
		fmt.Fprintf(&b, " lost=%s", s.Lost)
	}
	if s.Retired {
		b.WriteString(" retired")
	}
	b.WriteString("\n")
	if c := s.Change; c != nil {
		running := ""
		if c.Running != nil {
			running = c.Running.Step.Name
		}
		line("change", struct {
			ID             engine.ChangeID
			Transition     string
			From, To       engine.Mode
			Step           string
			Undoing, Stuck bool
		}{c.ID, c.Transition, c.From, c.To, running, c.Undoing, c.Stuck})
	}
	for _, p := range s.Proposals {
		line("proposal", struct {
			ID         engine.ChangeID
			Transition string
			Until      time.Time
			Votes      int
		}{p.ID, p.Transition, p.Until, len(p.Votes)})
	}
	for _, c := range s.Clocks {
		line("clock", c)
	}
	for _, w := range s.Withheld {
		line("withheld", w)
	}
	for _, i := range s.Incidents {
		line("incident", i)
	}
	for _, q := range s.Suppressed {
		line("quiet", q)
	}
	if s.Pin != nil {
		line("pin", *s.Pin)
	}
	if s.Freeze != nil {
		line("freeze", *s.Freeze)
	}
	for _, x := range s.Blind {
		line("blind", x)
	}
	return b.String()
}
