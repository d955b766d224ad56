package report

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/explain"
)

// maxCharts is how many SLOs a page draws; of the others its tables tell. A chart is about 20 kB, twice.
const maxCharts = 24

// backtestSheet is what the page of a backtest is made of.
type backtestSheet struct {
	*Backtest
	Parts    []sheetPart
	Charts   []backtestFigure
	NotDrawn string
}

// sheetPart is a section as the page shows it.
type sheetPart struct {
	ID, Title string
	Header    []string
	Rows      [][]sheetCell
	Empty     string
	More      int
}

// sheetCell is a cell with the name of its column, which a narrow page writes in front of it.
type sheetCell struct {
	Name, Text string
	Head       bool
}

// backtestFigure is a chart with its table.
type backtestFigure struct {
	Title  string
	Charts []*chart
	When   string
	Rows   []Row
	More   int
}

// Heads are the head of the page.
func (s *backtestSheet) Heads() []Fact {
	facts := []Fact{{Name: "From", Text: stamp(s.From)}, {Name: "To", Text: stamp(s.To)}, {Name: "A tick every", Text: lasted(s.Step)},
		{Name: "Asked", Text: fmt.Sprintf("%s of the Prometheus, in %s", plural(s.Queries, "question"), lasted(s.Took))}}
	for i := range s.Versions {
		v := &s.Versions[i]
		facts = append(facts, Fact{Name: "Rules", Text: fmt.Sprintf("%s, digest %s", v.Name, v.Digest.Short())})
	}
	for i := range s.Versions {
		if score := s.Versions[i].Score; score != nil {
			name := "Detection"
			if len(s.Versions) > 1 {
				name += ", " + s.Versions[i].Name
			}
			facts = append(facts, Fact{Name: name, Text: score.Summary()})
		}
	}
	return facts
}

// Legend says what the signs of the charts are.
func (*backtestSheet) Legend() []string {
	return []string{"━ burn rate, from the ledger", "▼ a page, and ▽ a ticket, where it opened", "✕ a proposal", "▬ at the foot an incident that people labelled", "▨ not known to the ledger",
		"┄ at 1 the budget lasts exactly its period", "the ground is the mode"}
}

// HTML writes the backtest as one file: nothing in it is fetched from anywhere, and no script runs.
func (b *Backtest) HTML(w io.Writer) error {
	s := &backtestSheet{Backtest: b}
	for i, part := range b.Sections() {
		p := sheetPart{ID: fmt.Sprintf("part-%d", i+1), Title: part.Title, Empty: part.Empty, More: part.More}
		for _, h := range part.Header {
			if !slices.ContainsFunc(b.Versions, func(v BacktestVersion) bool { return v.Name == h }) {
				h = columnName(h)
			}
			p.Header = append(p.Header, h)
		}
		for _, row := range part.Rows {
			cells := make([]sheetCell, len(row))
			for k := range row {
				cells[k] = sheetCell{Name: p.Header[k], Text: row[k], Head: k == 0}
			}
			p.Rows = append(p.Rows, cells)
		}
		s.Parts = append(s.Parts, p)
	}
	left := s.draw()
	if left > 0 {
		s.NotDrawn = fmt.Sprintf("%s without pages, tickets, proposals and moves, or beyond the first %d, are not drawn.", plural(left, "SLO"), maxCharts)
	}
	if err := pages.ExecuteTemplate(w, "backtest.html", s); err != nil {
		return fmt.Errorf("write the backtest: %w", err)
	}
	return nil
}

// columnName writes a header of a table for people as the page has it.
func columnName(header string) string {
	if header == "SLO" {
		return header
	}
	return sentence(strings.ToLower(header))
}

// draw draws what happened, and returns how many SLOs it left out.
func (s *backtestSheet) draw() (left int) {
	for _, scope := range s.scopes() {
		for i := range s.Versions {
			v := &s.Versions[i]
			x := v.service(scope)
			if x == nil {
				continue
			}
			for k := range x.Budgets {
				if x.quiet() || len(s.Charts) == maxCharts {
					left++
					continue
				}
				s.Charts = append(s.Charts, s.figure(v, x, &x.Budgets[k]))
			}
		}
	}
	return left
}

// figure draws an SLO of a service under a version.
func (s *backtestSheet) figure(v *BacktestVersion, x *BacktestService, e *BudgetEnd) backtestFigure {
	title := fmt.Sprintf("%s of %s", e.SLO, x.Scope)
	if len(s.Versions) > 1 {
		title += ", " + v.Name
	}
	r := &Report{Scope: x.Scope, Modes: x.Stays}
	if len(x.Modes) > 0 {
		r.Home = x.Modes[0].Mode
	}
	b := &Budget{SLO: e.SLO, Objective: e.Objective, Step: e.Step, Burn: e.Burn, Seen: []Seen{}}
	f := backtestFigure{Title: title}
	for _, size := range []struct {
		class string
		width int
	}{{"wide", 720}, {"narrow", 360}} {
		c := r.plotSpan(b, s.From, s.To, len(s.Charts)+1, size.class, size.width, 300)
		c.Title = "Burn rate of " + title
		for k := range x.Told {
			t := &x.Told[k]
			if t.SLO != e.SLO && t.Kind != engine.IncidentTransition || t.Severity != engine.SeverityPage && t.Severity != engine.SeverityTicket {
				continue
			}
			c.Dots = append(c.Dots, dot{down(c.at(t.Opened), c.Top+8), "told-" + string(t.Severity)})
		}
		for k := range x.Proposals {
			c.Dots = append(c.Dots, dot{cross(c.at(x.Proposals[k].At), c.Top+20), "asked"})
		}
		if v.Score != nil {
			for _, h := range slices.Concat(v.Score.Incidents, v.Score.LeftOut) {
				if h.Service == x.Scope && (h.SLO == "" || h.SLO == e.SLO) && h.End.After(s.From) && h.Start.Before(s.To) {
					from := c.at(h.Start)
					c.Labelled = append(c.Labelled, rect{from, max(2, round1(c.at(h.End)-from))})
				}
			}
		}
		f.Charts = append(f.Charts, c)
	}
	f.Rows, f.More = r.rows(b)
	if len(f.Rows) == 0 {
		f.Rows = []Row{{Time: stamp(s.From), Over: explain.Lasted(s.To.Sub(s.From)), Rate: "not known", at: s.From}}
	}
	f.When = when(f.Rows)
	return f
}

// down is the path of what people are told: a triangle that points at its time.
func down(x, y float64) string {
	return fmt.Sprintf("M%g %gh9l-4.5 8z", round1(x-4.5), round1(y-4))
}
