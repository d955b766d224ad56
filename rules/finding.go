package rules

import (
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/modeshift/modeshift/engine"
)

// A finding is what loads, and is most likely not what was meant. Findings keep nothing from loading. What reading a file comes upon
// anyway is always said; the rest is looked for where Options.Findings ask for it, of documents without errors: what follows from an
// error would be said of what was not meant. FINDINGS.md is the page on each.

// asked are the findings that depend on what Options or a Prometheus tell: that one of them is not found says nothing.
var asked = []Code{CodeFlagExpired, CodeFlagUntested, CodeNoReceiver, CodeNoSuchSeries, CodeNoSuchLabel, CodeShortWindow}

// findings says what has been found in documents that turned out to have no errors, looks at what depends on other documents, and takes
// away what files allow.
func (l *loader) findings() {
	if l.opts.Findings {
		known := map[engine.Scope]*draft{}
		for _, d := range l.drafts {
			known[d.name()] = d
		}
		for _, d := range l.drafts {
			if d.bad || d.name() == "" {
				continue
			}
			imposed := map[string]bool{}
			for up := known[d.service.Policy.Parent]; up != nil && !up.bad && len(imposed) <= len(known); up = known[up.service.Policy.Parent] {
				for i := range up.service.Policy.Modes {
					if m := up.service.Policy.Modes[i].Imposes; m != "" {
						imposed[string(m)] = true
					}
				}
			}
			d.survive(func() {
				d.lookAtModes(imposed)
				for _, f := range d.found {
					d.r.add(f)
				}
			})
			d.found = nil
		}
	}
	for _, d := range l.drafts {
		d.survive(d.heed)
	}
}

// look finds what is asked for in one document, as far as that depends on no other. It is said later, by findings: until all files have
// been read nobody knows whether the document has errors.
func (d *draft) look() {
	r := d.r
	defer func() { d.r = r }()
	d.r = &reader{src: r.src}
	d.lookAtService()
	d.lookAtTransitions()
	d.lookAtSLOs()
	d.lookAtConditions()
	d.found = d.r.diags
}

// allowed is a finding that a file lives with.
type allowed struct {
	code Code
	why  string
	node *node
	used bool
}

// allow reads the findings a file lives with: `allow: [{code: unreachable-mode, why: …}]`. They are of all of the document; nothing is
// decided by them, and Service.Digest does not cover them.
func (d *draft) allow(n *node) {
	r := d.r
	r.list(n, "allow", func(n *node) {
		if n.kind != yaml.MappingNode {
			r.errorf(n, "write `{code: unreachable-mode, why: it is entered by hand}`", "a finding that is allowed must be a mapping, not %s", n.is())
			return
		}
		var a allowed
		r.mapping(n, "a finding that is allowed",
			need("code", func(n *node) {
				text, ok := r.text(n, "the code of a finding")
				switch {
				case !ok:
				case Code(text).Docs() == "":
					words := make([]string, len(findings))
					for i, c := range findings {
						words[i] = string(c)
					}
					r.as(CodeUnknownName).errorf(n, r.choose(text, words, ""), "there is no finding %q", clip(text))
				case slices.ContainsFunc(d.allows, func(a allowed) bool { return a.code == Code(text) }):
					r.as(CodeDuplicateName).errorf(n, "remove one of the two", "%s is allowed already", text)
				default:
					a.code, a.node = Code(text), n
				}
			}),
			need("why", r.setText(&a.why, "why")))
		if a.code != "" {
			d.allows = append(d.allows, a)
		}
	})
}

// heed takes away the findings that the document allows, and says which of what it allows is not there.
func (d *draft) heed() {
	if len(d.allows) == 0 {
		return
	}
	d.service.Allowed = make(map[Code]bool, len(d.allows))
	for _, a := range d.allows {
		d.service.Allowed[a.code] = true
	}
	d.r.diags = slices.DeleteFunc(d.r.diags, func(x Diagnostic) bool {
		if x.Level == LevelError || x.Line < d.node.line || x.Line >= d.end {
			return false
		}
		i := slices.IndexFunc(d.allows, func(a allowed) bool { return a.code == x.Code })
		if i >= 0 {
			d.allows[i].used = true
		}
		return i >= 0
	})
	if !d.opts.Findings || d.bad {
		return
	}
	for _, a := range d.allows {
		if !a.used && !slices.Contains(asked, a.code) {
			d.r.as(CodeAllowed).warnf(a.node, "remove it, or it hides the next one", "%s is allowed, and is not found", a.code)
		}
	}
}

// lookAtService finds what nobody could answer for at night.
func (d *draft) lookAtService() {
	p := &d.service.Policy
	if d.lenient || len(p.Modes) == 0 && len(d.service.SLOs) == 0 {
		return
	}
	if strings.TrimSpace(p.Owner) == "" {
		d.r.as(CodeNoOwner).warnf(d.scope, "write `owner: team-…` below it", "nobody owns %s: a page would not say whose it is", d.name())
	}
	tells := len(p.Alerts) > 0
	for i := range p.Transitions {
		t := &p.Transitions[i]
		tells = tells || t.Gate != nil || t.Severity != engine.SeverityInfo
	}
	if tells && p.Runbook == "" {
		d.r.as(CodeNoRunbook).warnf(d.scope, "write `runbook: https://…` below it", "%s tells people, and has no runbook: whoever is woken does not know what to do", d.name())
	}
}
