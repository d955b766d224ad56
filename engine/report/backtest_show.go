package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/explain"
)

// What the terminal and the page show alike of a backtest.

// Difference is what two sets of rules make of the same past, where they do not come to the same.
type Difference struct {
	Scope engine.Scope `json:"scope"`
	What  string       `json:"what"`
	Here  string       `json:"here"`  // under the first version
	There string       `json:"there"` // under the second
}

// moment is something that happens in a backtest and lasts.
type moment struct {
	at, until time.Time // until is zero: it lasted to the end
	scope     engine.Scope
	kind      string // page, ticket, mode, proposal
	what      string
	why       string
}

// lasts writes how long it did.
func (m *moment) lasts(end time.Time) string {
	if m.until.IsZero() {
		return between(m.at, end) + " and on"
	}
	return between(m.at, m.until)
}

// moments are all that happened in a version, in the order of time.
func (v *BacktestVersion) moments() []moment {
	var list []moment
	for i := range v.Services {
		s := &v.Services[i]
		for k := range s.Told {
			t := &s.Told[k]
			what := string(t.Severity) + ": " + t.Subject
			if t.Kind == engine.IncidentSLO {
				what = fmt.Sprintf("%s: SLO %s burns", t.Severity, t.SLO)
			} else if t.Kind != engine.IncidentTransition {
				what = fmt.Sprintf("%s: %s (%s)", t.Severity, t.Kind, t.Subject)
			}
			list = append(list, moment{t.Opened, t.Resolved, s.Scope, string(t.Severity), what, t.Summary})
		}
		for k := range s.Moves {
			m := &s.Moves[k]
			by := m.Transition
			if by == "" {
				by = "by " + m.By
			} else if m.By != "itself" {
				by += ", by " + m.By
			}
			what := fmt.Sprintf("mode: %s → %s (%s)", m.From, m.To, by)
			if m.Outcome != "done" {
				what += ", " + m.Outcome
			}
			list = append(list, moment{m.At, s.left(m), s.Scope, "mode", what, m.Why})
		}
		for k := range s.Proposals {
			p := &s.Proposals[k]
			list = append(list, moment{p.At, p.Ended, s.Scope, "proposal", fmt.Sprintf("proposal: %s → %s (%s), %s", p.From, p.To, p.Transition, p.Outcome), ""})
		}
	}
	slices.SortStableFunc(list, func(a, b moment) int {
		return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.scope, b.scope), cmp.Compare(a.kind, b.kind))
	})
	return list
}

// left is when the mode that a move led to was left; zero while it was not.
func (s *BacktestService) left(m *Move) time.Time {
	for i, b := range s.Stays {
		if b.Change == m.Change && i+1 < len(s.Stays) {
			return b.To
		}
	}
	if m.Outcome != "done" {
		return m.Ended
	}
	return time.Time{}
}

// Compare notes in which the two versions of a backtest differ; of one version nothing does.
func (b *Backtest) Compare() {
	b.Differences = nil
	if len(b.Versions) != 2 {
		return
	}
	b.Differences = []Difference{}
	differ := func(scope engine.Scope, what, here, there string) {
		if here != there {
			b.Differences = append(b.Differences, Difference{scope, what, here, there})
		}
	}
	here, there := &b.Versions[0], &b.Versions[1]
	for _, scope := range b.scopes() {
		x, y := here.service(scope), there.service(scope)
		if x == nil || y == nil {
			differ(scope, "declared", yesNo(x != nil), yesNo(y != nil))
			continue
		}
		differ(scope, "digest", x.Digest.Short(), y.Digest.Short())
		for _, severity := range []engine.Severity{engine.SeverityPage, engine.SeverityTicket} {
			differ(scope, string(severity)+"s", fmt.Sprint(x.count(severity)), fmt.Sprint(y.count(severity)))
		}
		differ(scope, "moves", fmt.Sprint(len(x.Moves)), fmt.Sprint(len(y.Moves)))
		differ(scope, "flaps", fmt.Sprint(x.Flaps), fmt.Sprint(y.Flaps))
		differ(scope, "proposals", fmt.Sprint(len(x.Proposals)), fmt.Sprint(len(y.Proposals)))
		differ(scope, "unknown", lasted(x.Unknown.Time), lasted(y.Unknown.Time))
		for _, mode := range modesOf(x, y) {
			differ(scope, "time in "+string(mode), x.in(mode), y.in(mode))
		}
	}
	for _, row := range b.sideBySide() {
		differ(row.scope, row.what, row.cells[0], row.cells[1])
	}
}

func yesNo(yes bool) string {
	if yes {
		return "yes"
	}
	return "no"
}

// lasted is Lasted of a number of seconds.
func lasted(s Seconds) string { return explain.Lasted(s.Duration()) }

func (v *BacktestVersion) service(scope engine.Scope) *BacktestService {
	for i := range v.Services {
		if v.Services[i].Scope == scope {
			return &v.Services[i]
		}
	}
	return nil
}

// in is how long instances were told a mode.
func (s *BacktestService) in(mode engine.Mode) string {
	for _, m := range s.Modes {
		if m.Mode == mode {
			return lasted(m.Time)
		}
	}
	return "not declared"
}

// modesOf are the modes of two versions of a service, in their order.
func modesOf(a, b *BacktestService) (list []engine.Mode) {
	for _, m := range slices.Concat(a.Modes, b.Modes) {
		if !slices.Contains(list, m.Mode) {
			list = append(list, m.Mode)
		}
	}
	return list
}

// scopes are those of all versions, sorted.
func (b *Backtest) scopes() (list []engine.Scope) {
	for i := range b.Versions {
		for k := range b.Versions[i].Services {
			list = append(list, b.Versions[i].Services[k].Scope)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// aligned is what happens, with when under each version.
type aligned struct {
	at    time.Time // under whichever comes first
	scope engine.Scope
	what  string
	cells []string
}

// sideBySide puts beside one another what happens under two versions: the same thing of the same service, where its times overlap.
func (b *Backtest) sideBySide() []aligned {
	here, there := b.Versions[0].moments(), b.Versions[1].moments()
	end := func(m *moment) time.Time {
		if m.until.IsZero() {
			return b.To
		}
		return m.until
	}
	cell := func(m *moment) string { return stamp(m.at) + ", " + m.lasts(b.To) }
	taken := make([]bool, len(there))
	var rows []aligned
	for i := range here {
		x := &here[i]
		row := aligned{x.at, x.scope, x.what, []string{cell(x), "–"}}
		for k := range there {
			y := &there[k]
			if taken[k] || y.scope != x.scope || y.what != x.what || y.at.After(end(x)) || x.at.After(end(y)) {
				continue
			}
			taken[k] = true
			row.cells[1] = cell(y)
			if y.at.Before(row.at) {
				row.at = y.at
			}
			break
		}
		rows = append(rows, row)
	}
	for k := range there {
		if y := &there[k]; !taken[k] {
			rows = append(rows, aligned{y.at, y.scope, y.what, []string{"–", cell(y)}})
		}
	}
	slices.SortStableFunc(rows, func(a, b aligned) int { return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.scope, b.scope)) })
	return rows
}

// Title says what it is of.
func (b *Backtest) Title() string {
	return fmt.Sprintf("Backtest of %s, from %s to %s", explain.Lasted(b.To.Sub(b.From)), stamp(b.From), stamp(b.To))
}

// maxBacktestRows is how many of them a table has; the data has all.
const maxBacktestRows = 200

// Sections are the parts of a backtest in words.
func (b *Backtest) Sections() []Section {
	list := []Section{b.serviceSection(), b.momentSection()}
	if len(b.Versions) == 2 {
		list = append(list, b.differenceSection())
	}
	if slices.ContainsFunc(b.Versions, func(v BacktestVersion) bool { return v.Score != nil }) {
		list = append(list, b.fitSection(), b.hitSection(), b.falseSection())
	}
	return list
}

// versioned is a header with the name of the version in front, where there are two.
func (b *Backtest) versioned(header ...string) []string {
	if len(b.Versions) == 1 {
		return header
	}
	return append([]string{"RULES"}, header...)
}

func (b *Backtest) row(v *BacktestVersion, cells ...string) []string {
	if len(b.Versions) == 1 {
		return cells
	}
	return append([]string{v.Name}, cells...)
}

func (b *Backtest) serviceSection() Section {
	s := Section{Title: "Services", Header: b.versioned("SERVICE", "TIME IN EACH MODE", "MOVES", "FLAPS", "PAGES", "TICKETS", "PROPOSALS", "UNKNOWN", "BUDGET LEFT AT THE END"), Empty: "There are none."}
	for _, scope := range b.scopes() {
		for i := range b.Versions {
			v := &b.Versions[i]
			x := v.service(scope)
			if x == nil {
				continue
			}
			var modes, budgets []string
			for _, m := range x.Modes {
				if m.Time > 0 {
					modes = append(modes, fmt.Sprintf("%s %s", m.Mode, lasted(m.Time)))
				}
			}
			for _, g := range x.Budgets {
				budgets = append(budgets, g.SLO+" "+g.Left.String())
			}
			s.Rows = append(s.Rows, b.row(v, string(scope), strings.Join(modes, ", "), count(len(x.Moves)), count(x.Flaps), count(x.count(engine.SeverityPage)), count(x.count(engine.SeverityTicket)),
				count(len(x.Proposals)), x.Unknown.String(), strings.Join(budgets, ", ")))
		}
	}
	return s
}

// String says how long was unknown and for which reasons, the most frequent first.
func (u UnknownTime) String() string {
	if u.Time == 0 {
		return ""
	}
	var whys []engine.Why
	for why := range u.Why {
		whys = append(whys, why)
	}
	slices.SortFunc(whys, func(a, b engine.Why) int { return cmp.Or(cmp.Compare(u.Why[b], u.Why[a]), cmp.Compare(a, b)) })
	words := make([]string, len(whys))
	for i, why := range whys {
		words[i] = string(why)
	}
	text := lasted(u.Time)
	if len(words) > 0 {
		text += " (" + strings.Join(words, ", ") + ")"
	}
	return text
}

func (b *Backtest) momentSection() Section {
	s := Section{Title: "What would have happened", Empty: "Nothing: nobody would have been told anything, and no mode would have changed."}
	if len(b.Versions) == 2 {
		s.Header = []string{"SERVICE", "WHAT", b.Versions[0].Name, b.Versions[1].Name}
		for _, row := range b.sideBySide() {
			s.Rows = append(s.Rows, append([]string{string(row.scope), row.what}, row.cells...))
		}
	} else {
		s.Header = []string{"TIME", "SERVICE", "WHAT", "LASTED", "WHY"}
		for _, m := range b.Versions[0].moments() {
			s.Rows = append(s.Rows, []string{stamp(m.at), string(m.scope), m.what, m.lasts(b.To), m.why})
		}
	}
	return s.cut()
}

// cut keeps a table readable, and says what it left out.
func (s Section) cut() Section {
	if n := len(s.Rows); n > maxBacktestRows {
		s.Rows = s.Rows[:maxBacktestRows]
		s.More = n - maxBacktestRows
	}
	return s
}

func (b *Backtest) differenceSection() Section {
	s := Section{Title: "Differences", Header: []string{"SERVICE", "WHAT", b.Versions[0].Name, b.Versions[1].Name}, Empty: "None: both come to the same."}
	for _, d := range b.Differences {
		s.Rows = append(s.Rows, []string{string(d.Scope), d.What, d.Here, d.There})
	}
	return s.cut()
}

func (b *Backtest) fitSection() Section {
	s := Section{Title: "Against the incidents", Header: b.versioned("SEVERITY", "INCIDENTS", "DETECTED", "RECALL", "TRUE", "AGAIN", "FALSE", "PRECISION"), Empty: "No incidents were given."}
	for i := range b.Versions {
		v := &b.Versions[i]
		if v.Score == nil {
			continue
		}
		for _, severity := range []engine.Severity{engine.SeverityPage, engine.SeverityTicket} {
			f := v.Score.fit(severity)
			s.Rows = append(s.Rows, b.row(v, string(severity), fmt.Sprint(f.Incidents), fmt.Sprint(f.Detected), known(f.Recall), fmt.Sprint(f.True), fmt.Sprint(f.Again), fmt.Sprint(f.False), known(f.Precision)))
		}
	}
	return s
}

func known(share *float64) string {
	if share == nil {
		return ""
	}
	return percent(*share)
}

// Summary says in a line how fast incidents were detected.
func (s *Score) Summary() string {
	if s.Delay.Count == 0 {
		return "No incident was detected."
	}
	seconds := func(v Spread) string {
		return fmt.Sprintf("%s in the median, %s at worst", lasted(Seconds(v.Median)), lasted(Seconds(v.Worst)))
	}
	text := "Detected after " + seconds(s.Delay)
	if s.Reset.Count > 0 {
		text += "; resolved after the end " + seconds(s.Reset)
	}
	if s.Spent.Count > 0 {
		text += fmt.Sprintf("; by the detection %s of the budget was spent in the median, %s at worst", percent(s.Spent.Median), percent(s.Spent.Worst))
	}
	return text + "."
}

func (b *Backtest) hitSection() Section {
	s := Section{Title: "Incidents", Header: b.versioned("SERVICE", "START", "LASTED", "WANTS", "OUTCOME", "AFTER", "SPENT BY THEN", "RESOLVED AFTER ITS END", "NOTE"), Empty: "None was wholly in the time."}
	for i := range b.Versions {
		v := &b.Versions[i]
		if v.Score == nil {
			continue
		}
		for k := range v.Score.Incidents {
			h := &v.Score.Incidents[k]
			after, spent, reset := "", "", ""
			if h.Detected {
				after = lasted(h.Delay)
				if h.SpentKnown {
					spent = percent(h.Spent)
				}
				if reset = lasted(h.Reset); h.Open {
					reset = "open at the end"
				}
			}
			s.Rows = append(s.Rows, b.row(v, string(h.Service), stamp(h.Start), between(h.Start, h.End), string(h.Severity), h.outcome(), after, spent, reset, h.Note))
		}
		for k := range v.Score.LeftOut {
			h := &v.Score.LeftOut[k]
			s.Rows = append(s.Rows, b.row(v, string(h.Service), stamp(h.Start), between(h.Start, h.End), string(h.Severity), "left out: "+h.Why, "", "", "", h.Note))
		}
	}
	return s
}

func (b *Backtest) falseSection() Section {
	s := Section{Title: "Pages and tickets of no incident", Header: b.versioned("TIME", "SERVICE", "WHAT", "LASTED"), Empty: "None."}
	for i := range b.Versions {
		v := &b.Versions[i]
		if v.Score == nil {
			continue
		}
		for k := range v.Score.False {
			t := &v.Score.False[k]
			m := moment{at: t.Opened, until: t.Resolved}
			s.Rows = append(s.Rows, b.row(v, stamp(t.Opened), string(t.Scope), t.Summary, m.lasts(b.To)))
		}
	}
	return s.cut()
}
