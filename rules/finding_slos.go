package rules

import (
	"cmp"
	"fmt"
	"math"
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/modeshift/modeshift/engine"
)

const (
	// usualScrape is how far apart samples are where nobody can be asked.
	usualScrape = 15 * time.Second
	// enoughScrapes is how many a window has to hold: with two in it at worst, one that is missed leaves rate() nothing to go by.
	enoughScrapes = 4
	shortWindow   = "a window of %s holds fewer than four scrapes, which are %s apart: one that is missed makes it unknown"
)

func shortHint(each time.Duration) string {
	return fmt.Sprintf("write at least %s, or allow it: `allow: [{code: short-window, why: …}]`", model.Duration(enoughScrapes*each))
}

// lookAtSLOs finds tiers that one failed request fires, and windows too short to be measured.
func (d *draft) lookAtSLOs() {
	for i := range d.service.SLOs {
		s := &d.service.SLOs[i]
		at := d.entry("slos", s.Name)
		d.lookAtOneError(s, at)
		if s.Recorded {
			continue
		}
		each := d.scrapes(s.Source, s.queryTexts)
		for _, t := range s.Tiers {
			for _, w := range t.Windows {
				if d.tooShort(s.Name, w.Short, each) {
					d.r.as(CodeShortWindow).warnf(at.get("windows").or(at.get("name")), shortHint(each), shortWindow, model.Duration(w.Short), model.Duration(each))
				}
			}
		}
	}
	for i := range d.service.SLIs {
		s := &d.service.SLIs[i]
		root, err := promQL.ParseExpr(s.Query)
		if err != nil {
			continue // it was parsed as a template, and braces may have a meaning of their own
		}
		each, told := d.scrapes(s.Source, func() []string { return []string{s.Query} }), false
		parser.Inspect(root, func(n parser.Node, _ []parser.Node) error {
			if m, ok := n.(*parser.MatrixSelector); ok && m.Range < enoughScrapes*each && !told {
				told = true
				d.r.as(CodeShortWindow).warnf(d.entry("slis", s.Name).get("query"), shortHint(each), shortWindow, model.Duration(m.Range), model.Duration(each))
			}
			return nil
		})
	}
}

// tooShort reports whether a window of an SLO is, the first time it is asked.
func (d *draft) tooShort(slo string, window, each time.Duration) bool {
	m := mention{slo: slo, window: window}
	if window >= enoughScrapes*each || slices.Contains(d.short, m) {
		return false
	}
	d.short = append(d.short, m)
	return true
}

// lookAtOneError finds the traffic below which a single failed request is a page: 1 > factor × budget × total, strictly.
// Source: Google SRE Workbook, ch. 5, "Low-Traffic Services and Error Budget Alerting".
func (d *draft) lookAtOneError(s *SLO, at *node) {
	tier := s.Tier(engine.SeverityPage)
	if tier == nil || !s.Events {
		return
	}
	var pages []string
	most := int64(0)
	for _, w := range tier.Windows {
		n := oneErrorBelow(w)
		if n < 1 || s.MinEvents > float64(n) {
			continue
		}
		most = max(most, n)
		least := ""
		if s.MinEvents > 1 {
			least = trimFloat(s.MinEvents) + " to "
		}
		pages = append(pages, fmt.Sprintf("%s%d in %s", least, n, model.Duration(w.Long)))
	}
	if len(pages) == 0 {
		return
	}
	up := "up to "
	if s.MinEvents > 1 {
		up = ""
	}
	d.r.as(CodeOneError).notef(at.get("name"), fmt.Sprintf("with `min_events: %d` fewer are unknown instead", most+1),
		"one failed request is a page of %s while there are few: with %s%s", s.Name, up, strings.Join(pages, ", or "+up))
}

// oneErrorBelow is the largest number of events in the long window of a pair among which one failed is more than its factor allows.
func oneErrorBelow(w Window) int64 {
	l := w.limit
	if l.num == math.Trunc(l.num) && l.num > 0 { // a fraction of whole numbers, as nearly always
		n := int64(l.den) / int64(l.num)
		if math.Mod(l.den, l.num) == 0 { // as many events exactly: equal does not exceed
			n--
		}
		return n
	}
	num, den := new(big.Rat).SetFloat64(l.num), new(big.Rat).SetFloat64(l.den)
	if num == nil || den == nil || num.Sign() <= 0 {
		return 0
	}
	x := den.Quo(den, num) // 1 ÷ (factor × budget)
	n := new(big.Int).Quo(x.Num(), x.Denom())
	if x.IsInt() {
		n.Sub(n, big.NewInt(1))
	}
	return n.Int64()
}

// queryTexts are the SLO's queries over some window.
func (s *SLO) queryTexts() []string {
	errors, total := s.Queries(probeWindow)
	return []string{errors, total}
}

// scrapes is how far apart the samples are that queries read: the longest that anybody knows of.
func (d *draft) scrapes(source string, queries func() []string) time.Duration {
	if d.opts.Scrape == nil {
		return usualScrape
	}
	longest := time.Duration(0)
	for _, q := range queries() {
		root, err := promQL.ParseExpr(q)
		if err != nil {
			continue
		}
		parser.Inspect(root, func(n parser.Node, _ []parser.Node) error {
			if v, ok := n.(*parser.VectorSelector); ok {
				longest = max(longest, d.opts.Scrape(cmp.Or(source, d.service.Source), v.LabelMatchers))
			}
			return nil
		})
	}
	if longest == 0 {
		return usualScrape
	}
	return longest
}

// Scrape tells how far apart the samples of a selector are in a source (empty: the first there is); 0 when nobody knows.
type Scrape func(source string, matchers []*labels.Matcher) time.Duration

// entry is the mapping of a name in one of the document's lists.
func (d *draft) entry(list, name string) *node {
	if n := d.node.get(list); n != nil {
		for _, item := range n.items {
			if item.get("name") != nil && item.get("name").value == name {
				return item
			}
		}
	}
	return nil
}
