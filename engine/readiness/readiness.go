package readiness

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/modeshift/modeshift/engine"
)

// DefaultDrill is how often a way back has to be used where the file does not say: about as long as people remember how it went.
const DefaultDrill = 90 * 24 * time.Hour

// Subject is a service to be judged, with all that is known of it.
type Subject struct {
	Policy *engine.Policy
	Needs  []Need                        // what its transitions rest on
	Drills map[engine.Mode]time.Duration // how often; modes that are not there: DefaultDrill
	Below  int                           // so many scopes name this one as their parent

	Facts    *Facts // nil: there are none
	NoServer string // then why
	// Telemetry is what a source showed that was asked for the very rules in question; nil: none was. It counts before that of Facts.
	Telemetry *Telemetry
	Now       time.Time
}

// Need is a signal and the conditions that rest on it.
type Need struct {
	Signal     string
	Conditions []string // by name
	Counted    bool     // it is an SLO, whose events are counted
}

// Report is the rows of a service.
type Report struct {
	Scope  engine.Scope `json:"scope"`
	Answer Answer       `json:"answer"` // no if one row says so, else cannot tell if one does
	Rows   []Row        `json:"rows"`
}

// Row is one criterion.
type Row struct {
	Criterion string `json:"criterion"`
	Answer    Answer `json:"answer"`
	Why       string `json:"why"`
	Mend      string `json:"mend,omitempty"` // how to get to yes
}

// Judge says row by row whether a service is ready. A policy has modes and transitions; one that has none leaves nothing to judge.
func Judge(s Subject) Report {
	r := Report{Scope: s.Policy.Scope, Answer: Yes}
	for _, criterion := range []struct {
		name  string
		judge func(*Subject) Row
	}{
		{"owner", (*Subject).owner}, {"runbook", (*Subject).runbook}, {"automation", (*Subject).automation},
		{"max_duration", (*Subject).maxDuration}, {"way back", (*Subject).wayBack}, {"undo", (*Subject).undo}, {"verification", (*Subject).verification},
		{"signals", (*Subject).signals}, {"traffic", (*Subject).traffic}, {"metrics", (*Subject).metrics},
		{"instances", (*Subject).instances}, {"drill", (*Subject).drill}, {"pages", (*Subject).pages}, {"approvers", (*Subject).approvers},
	} {
		row := criterion.judge(&s)
		row.Criterion = criterion.name
		if row.Answer == Yes {
			row.Mend = ""
		}
		r.Rows = append(r.Rows, row)
		r.Answer = worse(r.Answer, row.Answer)
	}
	return r
}

// worse is the answer to both: a no is a no whatever cannot be told beside it.
func worse(a, b Answer) Answer {
	switch {
	case a == No || b == No:
		return No
	case a == CannotTell || b == CannotTell:
		return CannotTell
	}
	return Yes
}

func yes(format string, args ...any) Row { return Row{Answer: Yes, Why: fmt.Sprintf(format, args...)} }
func no(mend, format string, args ...any) Row {
	return Row{Answer: No, Why: fmt.Sprintf(format, args...), Mend: mend}
}
func cannotTell(mend, format string, args ...any) Row {
	return Row{Answer: CannotTell, Why: fmt.Sprintf(format, args...), Mend: mend}
}

// unserved is a row that only a server can answer, where there is none.
func (s *Subject) unserved() Row {
	return cannotTell("name a server that runs these rules: --server URL", "%s", s.NoServer)
}

// items puts together a row of several things, each with an answer of its own.
type items struct {
	answer Answer
	said   map[Answer][]string
}

func (i *items) add(a Answer, format string, args ...any) {
	if i.said == nil {
		i.answer, i.said = Yes, map[Answer][]string{}
	}
	i.answer = worse(i.answer, a)
	i.said[a] = append(i.said[a], fmt.Sprintf(format, args...))
}

// row is what is to be said first: what is wrong, and else what cannot be told. Without items it is a yes, because of none.
func (i *items) row(none, mend string) Row {
	if i.said == nil {
		return yes("%s", none)
	}
	return Row{Answer: i.answer, Why: strings.Join(i.said[i.answer], "; "), Mend: mend}
}

func (s *Subject) owner() Row {
	if s.Policy.Owner == "" {
		return no("write `owner: team-NAME`: pages say whose the service is", "nobody owns its modes")
	}
	return yes("%s, of all modes", s.Policy.Owner)
}

func (s *Subject) runbook() Row {
	url := s.Policy.Runbook
	if !strings.HasPrefix(url, "https://") && !strings.HasPrefix(url, "http://") {
		return no("write `runbook: https://...`: pages lead there", "no mode has a runbook")
	}
	return yes("%s, of all modes", url)
}

func (s *Subject) automation() Row {
	switch s.Policy.Automation {
	case engine.AutomationOff:
		return no("write `automation: suggest`, and read in modeshift history what it would do", "off: no transition is judged")
	case engine.AutomationSuggest:
		return yes("suggest: it says what it would do, and starts nothing")
	}
	return yes("on: it acts by itself")
}

func (s *Subject) maxDuration() Row {
	var out items
	for i := 1; i < len(s.Policy.Modes); i++ {
		switch m := &s.Policy.Modes[i]; {
		case m.Beside: // it protects neither more nor less
		case m.MaxDuration <= 0:
			out.add(No, "%s may last for ever, and nobody is told", m.Name)
		default:
			out.add(Yes, "%s %s", m.Name, span(m.MaxDuration))
		}
	}
	return out.row("no mode is more restrictive than the first", "give it max_duration, and on_expiry if a page is not what is wanted")
}

// entered are the modes that transitions lead to, but for the first one, in the order of the file.
func (s *Subject) entered() []engine.Mode {
	var modes []engine.Mode
	for i := 1; i < len(s.Policy.Modes); i++ {
		m := s.Policy.Modes[i].Name
		if slices.ContainsFunc(s.Policy.Transitions, func(t engine.Transition) bool { return t.To == m }) {
			modes = append(modes, m)
		}
	}
	return modes
}

func (s *Subject) wayBack() Row {
	first := s.Policy.Modes[0].Name
	leads := map[engine.Mode]bool{first: true} // to the first mode
	for again := true; again; {
		again = false
		reach := func(from, to engine.Mode) {
			if leads[to] && !leads[from] {
				leads[from], again = true, true
			}
		}
		for i := range s.Policy.Transitions {
			t := &s.Policy.Transitions[i]
			for _, m := range t.From {
				reach(m, t.To)
				if t.Until > 0 { // it goes back to where it came from
					reach(t.To, m)
				}
			}
		}
	}
	var out items
	for _, m := range s.entered() {
		if leads[m] {
			out.add(Yes, "%s", m)
		} else {
			out.add(No, "no transition leads from %s to %s again", m, first)
		}
	}
	if out.answer == Yes {
		return yes("declared from %s", strings.Join(out.said[Yes], ", "))
	}
	return out.row("automation enters no mode", "declare one, with its own `when`; or `until` on the way in")
}

func (s *Subject) undo() Row {
	undone, final := 0, 0
	var out items
	for i := range s.Policy.Transitions {
		t := &s.Policy.Transitions[i]
		for _, step := range t.Playbook.Steps {
			switch {
			case !step.Destructive:
			case step.Undo:
				undone++
			case step.Irreversible && t.Gate != nil:
				final++
			default: // such a file does not load
				out.add(No, "%s of %s destroys, and is neither taken back nor asked for", step.Name, t.Name)
			}
		}
	}
	if out.said == nil && undone+final > 0 {
		return yes("destructive steps: %d with an undo, %d irreversible behind people", undone, final)
	}
	return out.row("no step destroys anything", "give it an undo, or `irreversible: true` and an approval")
}

func (s *Subject) verification() Row {
	var out items
	for i := range s.Policy.Transitions {
		t := &s.Policy.Transitions[i]
		destroys := slices.ContainsFunc(t.Playbook.Steps, func(step engine.Step) bool { return step.Destructive })
		switch {
		case !destroys || t.To == s.Policy.Modes[0].Name:
		case t.Playbook.Verify > 0 || t.Rollout != nil && t.Rollout.Verify > 0:
			out.add(Yes, "%s is verified", t.Name)
		default:
			out.add(No, "%s destroys, and nothing says whether it helped", t.Name)
		}
	}
	return out.row("no transition into a mode destroys anything", "give it `verify`, or a rollout with one: what is false is taken back")
}

func (s *Subject) instances() Row {
	if s.Facts == nil {
		return s.unserved()
	}
	switch in := s.Facts.Instances; {
	case in.Known == 0 && s.above() > 0:
		return yes("none of its own: it stands above %d", s.above())
	case in.Known == 0:
		return no("connect them (examples/connect), or nobody knows whether a mode is in force", "no instance reports")
	case in.Failed > 0 || in.Behind > 0:
		return no(fmt.Sprintf("see modeshift status %s --instances", s.Policy.Scope), "of %d instances %d do not follow", in.Known, max(in.Failed, in.Behind))
	default:
		return yes("%d of %d say that they have their mode", in.Applied, in.Known)
	}
}

// above is how many scopes it stands above. Such a one may be there for nothing but the others.
func (s *Subject) above() int {
	if s.Facts == nil {
		return s.Below
	}
	return max(s.Below, s.Facts.Below)
}

func (s *Subject) drill() Row {
	entered := s.entered()
	if s.Facts == nil && len(entered) > 0 {
		return s.unserved()
	}
	var out items
	wants := engine.Mode("") // the first mode that does
	for _, m := range entered {
		every := DefaultDrill
		if d := s.Drills[m]; d > 0 {
			every = d
		}
		var rec Record
		if i := slices.IndexFunc(s.Facts.Modes, func(r Record) bool { return r.Mode == m }); i >= 0 {
			rec = s.Facts.Modes[i]
		}
		last := ""
		if rec.Last != nil && (rec.Drill == nil || rec.Last.Left.After(rec.Drill.Left)) {
			last = fmt.Sprintf(", and left last by what is no drill (%s)", rec.Last.Ended)
		}
		read := s.Facts.Whole || s.Facts.Since.Before(s.Now.Add(-every))
		switch {
		case rec.Drill != nil && !rec.Drill.Left.Before(s.Now.Add(-every)):
			out.add(Yes, "%s %s ago", m, days(s.Now.Sub(rec.Drill.Left)))
		case rec.Drill != nil:
			out.add(No, "%s came back %s ago, and is to every %s%s", m, days(s.Now.Sub(rec.Drill.Left)), span(every), last)
		case read:
			out.add(No, "%s has not come back by its way back%s", m, last)
		default:
			out.add(CannotTell, "%s has not come back since %s, where the reading of the log ended", m, s.Facts.Since.Format(time.DateOnly))
		}
		if out.answer != Yes && wants == "" {
			wants = m
		}
	}
	return out.row("automation enters no mode", fmt.Sprintf(
		"on a quiet day: modeshift set %s %s --reason drill, look, and set it back; as often as drill_every says (90d where it says nothing)", s.Policy.Scope, wants))
}

func (s *Subject) pages() Row {
	if s.Facts == nil {
		return s.unserved()
	}
	severities := []engine.Severity{engine.SeverityPage}
	need := func(severity engine.Severity) {
		if severity != "" && severity != engine.SeverityInfo && !slices.Contains(severities, severity) {
			severities = append(severities, severity)
		}
	}
	for i := range s.Policy.Alerts {
		need(s.Policy.Alerts[i].Severity)
	}
	for i := range s.Policy.Transitions {
		need(s.Policy.Transitions[i].Severity)
	}
	if s.Policy.Flap.Changes > 0 {
		need(engine.SeverityTicket)
	}
	var out items
	for _, severity := range severities {
		if i := slices.IndexFunc(s.Facts.Receivers, func(r Receiver) bool { return r.Severity == severity }); i >= 0 {
			out.add(Yes, "%s to %s", severity, s.Facts.Receivers[i].Kind)
		} else {
			out.add(No, "nobody is told what is a %s", severity)
		}
	}
	return out.row("", "name a receiver in modeshift.yaml: `receivers: {page: {pagerduty: ...}}`")
}

func (s *Subject) approvers() Row {
	const mend = "give people their roles in the server's tokens_file; for each group its own"
	var out items
	if slices.ContainsFunc(s.Policy.Transitions, func(t engine.Transition) bool { return s.Policy.UsesBrake(&t) }) {
		if s.Facts == nil {
			return s.unserved()
		}
		s.asked(&out, "what the brake withholds", []engine.Group{{Role: engine.RoleOperator, Count: 1}})
	}
	for i := range s.Policy.Transitions {
		t := &s.Policy.Transitions[i]
		if t.Gate == nil {
			continue
		}
		if s.Facts == nil {
			return s.unserved()
		}
		for _, groups := range [][]engine.Group{t.Gate.Groups, t.Gate.To} {
			s.asked(&out, t.Name, groups)
		}
	}
	row := out.row("no transition asks anybody", mend)
	if out.answer == Yes {
		row.Why = "enough people for " + strings.Join(slices.Compact(out.said[Yes]), ", ")
	}
	return row
}

// asked judges the groups that a transition asks.
func (s *Subject) asked(out *items, transition string, groups []engine.Group) {
	total := 0
	for _, g := range groups {
		total += g.Count
	}
	ample, few := true, false // each role has enough people for all groups, or too few for its own
	for _, g := range groups {
		people := 0
		if i := slices.IndexFunc(s.Facts.Roles, func(r Holders) bool { return r.Role == g.Role }); i >= 0 {
			people = s.Facts.Roles[i].People
		}
		if people < g.Count {
			out.add(No, "%s asks for %d of %s, and %d hold that role", transition, g.Count, g.Role, people)
			few = true
		}
		ample = ample && people >= total
	}
	if few || len(groups) == 0 {
		return
	}
	i := slices.IndexFunc(s.Facts.Gates, func(g Asked) bool { return slices.Equal(g.Groups, groups) })
	switch {
	case ample, i >= 0 && s.Facts.Gates[i].Short == "":
		out.add(Yes, "%s", transition)
	case i < 0:
		out.add(CannotTell, "whether different people hold the roles of %s is known once the server runs this file", transition)
	default:
		out.add(No, "%s asks for more people than there are: nobody is left for %s when the others have said yes", transition, s.Facts.Gates[i].Short)
	}
}

// span is a duration as files write it.
func span(d time.Duration) string {
	if d >= 48*time.Hour && d%(24*time.Hour) == 0 {
		return fmt.Sprintf("%dd", d/(24*time.Hour))
	}
	text := d.String()
	text = strings.TrimSuffix(text, "0s")
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// days is a time in the grain that drills have.
func days(d time.Duration) string {
	switch n := int(d / (24 * time.Hour)); n {
	case 0:
		return "less than a day"
	case 1:
		return "1 day"
	default:
		return fmt.Sprintf("%d days", n)
	}
}
