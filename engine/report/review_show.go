package report

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/modeshift/modeshift/engine/explain"
)

// Section is a part of a review as a table shows it.
type Section struct {
	Title  string
	Header []string
	Rows   [][]string
	Empty  string // what to say when there are none
	More   int    // further rows that are left out; the data has all
}

// Sections are the parts of a review in words, the same for the terminal and for Markdown.
func (r *Review) Sections() []Section {
	return []Section{r.modeSection(), r.flagSection(), r.automationSection(), r.approvalSection(), r.sloSection()}
}

func (r *Review) modeSection() Section {
	s := Section{Title: "Modes", Header: []string{"SCOPE", "MODE", "USE", "ENTERED", "TIME", "SHARE", "LAST ENTERED"}, Empty: "No modes are declared."}
	for _, m := range r.Modes {
		s.Rows = append(s.Rows, []string{string(m.Scope), string(m.Mode), string(m.Standing), count(m.Entered), span(m.Time), share(m.Share), day(m.Last)})
	}
	return s
}

func (r *Review) flagSection() Section {
	s := Section{Title: "Flags nobody looks after", Header: []string{"SCOPE", "FLAG", "OWNER", "EXPIRES", "TESTED", "NOTE"}, Empty: "None: every declared flag is within its date, and somebody saw it work."}
	for _, f := range r.Flags {
		var notes []string
		if f.Expired {
			notes = append(notes, "past its day")
		}
		if f.Untested {
			notes = append(notes, "nobody has seen it work for 90 days")
		}
		s.Rows = append(s.Rows, []string{string(f.Scope), f.Flag, f.Owner, f.Expires, f.Tested, strings.Join(notes, ", ")})
	}
	return s
}

func (r *Review) automationSection() Section {
	s := Section{Title: "Automations", Header: []string{"SCOPE", "TRANSITION", "TO", "BY ITSELF", "APPROVED", "BY HAND", "FORCED", "DONE", "UNDONE", "HELD", "STUCK", "OVERTAKEN", "WITHHELD"},
		Empty: "No transition is declared, and none was carried out."}
	for _, a := range r.Automations {
		var withheld []string
		for _, w := range a.Withheld {
			withheld = append(withheld, fmt.Sprintf("%d %s", w.Times, w.Reason))
		}
		name := a.Transition
		if !a.Declared && !strings.HasPrefix(name, "(") {
			name += " (not declared any more)"
		}
		s.Rows = append(s.Rows, []string{string(a.Scope), name, string(a.To), count(a.ByItself), count(a.Approved), count(a.ByHand), count(a.Forced),
			count(a.Done), count(a.Undone), count(a.Held), count(a.Stuck), count(a.Overtaken), strings.Join(withheld, ", ")})
	}
	return s
}

func (r *Review) approvalSection() Section {
	s := Section{Title: "Approvals", Header: []string{"SCOPE", "PROPOSED", "APPROVED", "DENIED", "EXPIRED", "WITHDRAWN", "WAITING", "MEDIAN", "P90", "LONGEST"}, Empty: "Nobody was asked for anything."}
	for _, a := range r.Approvals {
		s.Rows = append(s.Rows, []string{string(a.Scope), count(a.Proposed), count(a.Approved), count(a.Denied), count(a.Expired), count(a.Withdrawn), count(a.Waiting),
			span(a.Median), span(a.P90), span(a.Longest)})
	}
	return s
}

func (r *Review) sloSection() Section {
	s := Section{Title: "SLOs", Header: []string{"SCOPE", "SLO", "TIER", "FIRED", "TIME", "SHARE", "NOTE"}, Empty: "No SLO alerts are declared."}
	for _, o := range r.SLOs {
		note := o.Verdict
		if o.Open {
			note = strings.TrimPrefix(note+", fires now", ", ")
		}
		s.Rows = append(s.Rows, []string{string(o.Scope), o.SLO, string(o.Severity), count(o.Fired), span(o.Time), share(o.Share), note})
	}
	return s
}

// Title says which time it is about.
func (r *Review) Title() string {
	return fmt.Sprintf("Review of %s, from %s to %s", explain.Lasted(r.Made.Sub(r.Since)), stamp(r.Since), stamp(r.Made))
}

// Markdown writes the review for people who go on writing.
func (r *Review) Markdown(w io.Writer) error {
	d := &markdown{w: w}
	d.line("# %s", md(r.Title()))
	for _, n := range r.LeftOut {
		d.line("")
		d.line("- **Left out:** %s", md(n))
	}
	for _, s := range r.Sections() {
		d.line("")
		d.line("## %s", s.Title)
		if len(s.Rows) == 0 {
			d.line("")
			d.line("%s", s.Empty)
			continue
		}
		header := make([]string, len(s.Header))
		for i, h := range s.Header {
			if header[i] = h; h != "SLO" {
				header[i] = sentence(strings.ToLower(h))
			}
		}
		d.table(header...)
		for _, row := range s.Rows {
			cells := make([]string, len(row))
			for i := range row {
				cells[i] = md(row[i])
			}
			d.row(cells...)
		}
	}
	return d.err
}

// count is a number of which nothing stands out like something.
func count(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(n)
}

func span(s Seconds) string {
	if s == 0 {
		return ""
	}
	return explain.Lasted(s.Duration())
}

func share(v float64) string {
	switch {
	case v == 0:
		return ""
	case v < 0.001:
		return "< 0.1 %"
	}
	return percent(v)
}

func day(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02 15:04Z")
}
