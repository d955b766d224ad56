package prom

import (
	"cmp"
	"slices"
	"strings"
	"time"

	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
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
	u, e := newFusion(), &Evaluator{set: set, sources: named(set)}
	type use struct {
		services map[engine.Scope]bool
		window   string // of the SLO, as it stands in the query; empty: none
	}
	uses := map[query]*use{}
	var ws []wanted
	for _, service := range set.Services {
		for _, c := range service.Conditions {
			for _, s := range c.Signals() {
				p := e.compile(key{service, s})
				if p == nil {
					continue
				}
				for _, w := range p.parts[0].queries {
					if uses[w.query] == nil {
						uses[w.query] = &use{services: map[engine.Scope]bool{}}
						ws = append(ws, w)
					}
					use := uses[w.query]
					use.services[service.Policy.Scope] = true
					// A query over one window may serve another as well, to prove that samples are fresh.
					if window := "[" + model.Duration(s.Window).String() + "]"; s.Kind == rules.SignalSLO && strings.Contains(w.text, window) {
						use.window = window
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

// named are the sources a set of rules names, with no more replicas than have to agree; the first is the default.
func named(set *rules.Set) []Source {
	sources := []Source{{}}
	add := func(name string, agree int) {
		i := max(0, slices.IndexFunc(sources, func(s Source) bool { return s.Name == name }))
		if name != "" && i == 0 {
			i, sources = len(sources), append(sources, Source{Name: name})
		}
		sources[i].Replicas = make([]v1.API, max(1, agree, len(sources[i].Replicas)))
	}
	add("", 0)
	for _, service := range set.Services {
		add(service.Source, 0)
		for i := range service.SLOs {
			add(cmp.Or(service.SLOs[i].Source, service.Source), service.SLOs[i].Agree)
		}
		for i := range service.SLIs {
			add(cmp.Or(service.SLIs[i].Source, service.Source), service.SLIs[i].Agree)
		}
	}
	return sources
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
