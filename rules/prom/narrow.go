package prom

import (
	"fmt"
	"net/url"
	"slices"
	"unicode/utf8"

	"github.com/modeshift/modeshift/engine"
)

// maxNarrowed is how long a query that names instances may become, as it is sent: proxies in front of a Prometheus refuse bodies
// of 1 MiB. It is enough for ten thousand names of eighty letters.
const maxNarrowed = 1_000_000

// maxShown is how much of a query that names instances is kept with its reading, in the log and in answers.
const maxShown = 2000

// narrowing is how a signal is measured on the instances of a tick alone, or why it is not.
type narrowing struct {
	probe  *probe // nil: why says why
	why    engine.Why
	detail string
}

// narrow finds out, once, how a narrowed signal is measured on some instances. Without instances it is unknown: to ask for all
// of them would be to call a wave good that nobody has seen, and to leave some out because they are too many would be no better.
func (t *tick) narrow(k key, instances []string) narrowing {
	n, have := t.narrowed[k]
	if have {
		return n
	}
	switch {
	case instances == nil:
		n = narrowing{why: engine.WhyNoInstances, detail: "no wave of instances is under way"}
	case !slices.ContainsFunc(instances, func(name string) bool { return name != "" }):
		n = narrowing{why: engine.WhyNoInstances, detail: "the waves have reached no instance"}
	default:
		n = narrowed(t.compileOn(k, instances), len(instances))
	}
	t.narrowed[k] = n
	return n
}

// narrowed is a probe whose queries name so many instances.
func narrowed(p *probe, instances int) narrowing {
	if p == nil {
		return narrowing{why: engine.WhyFailed, detail: "not declared"} // loading has refused it
	}
	for i := range p.parts {
		for j := range p.parts[i].queries {
			if n := len(url.QueryEscape(p.parts[i].queries[j].text)); n > maxNarrowed {
				return narrowing{why: engine.WhyFailed, detail: fmt.Sprintf("the query that names %d instances has %d bytes, and may have at most %d: give the instances shorter names, or verify without {{.instances}}",
					instances, n, maxNarrowed)}
			}
		}
	}
	return narrowing{probe: p}
}

// probeOf is how a signal is measured; nil if that takes no source.
func (t *tick) probeOf(k key) *probe {
	if k.signal.Narrowed {
		return t.narrowed[k].probe
	}
	return t.probes[k]
}

// shortened is a query as people read it: one that names thousands of instances would fill the log.
func shortened(text string) string {
	if len(text) <= maxShown {
		return text
	}
	end := maxShown
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + "…"
}
