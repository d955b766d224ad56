package prom

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/rules"
)

// FusionGroup says how queries of a set of rules are asked: together, or each by itself.
type FusionGroup struct {
	// Label is what the queries differ in and are grouped by; empty where each is asked by itself.
	Label string
	// Shape is the query as it is asked for the services together, with … for the values and {{.window}} for the SLO's
	// windows; the first of the queries as its file means it where each is asked by itself.
	Shape string
	// Why says in a sentence why a query is asked by itself; empty where it is not.
	Why      string
	Services []engine.Scope // whose conditions need the answer, sorted
	Queries  int            // that there are when all windows are asked for
	Requests int            // that it takes to ask them
}

// Fusion tells which queries of a set of rules are asked together, and of the others why they are not, each group once, those
// of most queries first. It asks nobody, and does not know what a server will refuse.
func Fusion(set *rules.Set) []FusionGroup {
	u := newFusion()
	type use struct {
		services map[engine.Scope]bool
		window   string // of the SLO, as it stands in the query; empty: none
	}
	uses := map[query]*use{}
	var ws []wanted
	for _, service := range set.Services {
		for _, c := range service.Conditions {
			for _, s := range c.Signals() {
				p := compile(key{service, s})
				if p == nil {
					continue
				}
				for _, w := range p.queries {
					if uses[w.query] == nil {
						uses[w.query] = &use{services: map[engine.Scope]bool{}}
						ws = append(ws, w)
					}
					use := uses[w.query]
					use.services[service.Policy.Scope] = true
					if s.Kind == rules.SignalSLO {
						use.window = "[" + model.Duration(s.Window).String() + "]"
					}
				}
			}
		}
	}

	var out []FusionGroup
	services := map[string]map[engine.Scope]bool{}
	index := map[string]int{}
	for _, g := range u.group(ws, func(query) bool { return false }) {
		var queries []query
		f := FusionGroup{Requests: len(g.fetches(u.limit(g, time.Time{})))}
		if g.shape == nil {
			queries = []query{g.query}
			f.Shape, f.Why = g.text, u.whyAlone(g.text)
		} else {
			for _, v := range g.values {
				queries = append(queries, g.asked[v]...)
			}
			f.Label, f.Shape = g.shape.label, strings.Join(g.shape.fused, `"…"`)
		}
		f.Queries = len(queries)
		if window := uses[queries[0]].window; window != "" {
			f.Shape = strings.ReplaceAll(f.Shape, window, "[{{.window}}]")
		}
		k := f.Label + "\x00" + f.Shape
		if i, ok := index[k]; ok {
			out[i].Queries += f.Queries
			out[i].Requests += f.Requests
		} else {
			index[k], services[k] = len(out), map[engine.Scope]bool{}
			out = append(out, f)
		}
		for _, q := range queries {
			for scope := range uses[q].services {
				services[k][scope] = true
			}
		}
	}
	for i := range out {
		for scope := range services[out[i].Label+"\x00"+out[i].Shape] {
			out[i].Services = append(out[i].Services, scope)
		}
		slices.Sort(out[i].Services)
	}
	slices.SortStableFunc(out, func(a, b FusionGroup) int {
		return cmp.Or(cmp.Compare(min(1, len(b.Label)), min(1, len(a.Label))), cmp.Compare(b.Queries, a.Queries))
	})
	return out
}

// whyAlone says of a query that is asked by itself why.
func (u *fusion) whyAlone(text string) string {
	cs, err := u.shapes.candidates(text)
	if err != nil {
		return err.Error()
	}
	var refused error
	for _, c := range cs {
		if c.why == nil {
			return "no other query differs from it in the value of one label only"
		}
		refused = cmp.Or(refused, c.why)
	}
	return refused.Error()
}
