package convert

import (
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/rules"
)

const windowsBegin = "a file of windows begins with `apiVersion: sloth.slok.dev/v1` and `kind: AlertWindows`"

// catalogue returns the windows of the period that the SLOs have.
func (im *importer) catalogue() ([]window, error) {
	period := im.opts.Period
	if len(im.opts.Windows) == 0 {
		if period != 28*day && period != 30*day {
			return nil, usage("Sloth has windows for 28d and 30d, and none for a period of %s: give them with --windows FILE (kind: AlertWindows)", span(period))
		}
		return usualWindows(period), nil
	}
	found := map[time.Duration][]window{}
	var all rules.Diagnostics
	for _, f := range im.opts.Windows {
		file := rules.ReadForeign(f, windowsBegin)
		for _, doc := range file.Documents() {
			im.alertWindows(doc, found)
		}
		all = append(all, file.Diagnostics()...)
	}
	if len(all.Errors()) > 0 {
		return nil, sorted(all.Errors())
	}
	if windows := found[period]; windows != nil {
		return im.rounded(windows, period), nil
	}
	var periods []string
	for p := range found {
		periods = append(periods, span(p))
	}
	slices.Sort(periods)
	return nil, usage("the files of --windows have none for a period of %s, but for %s: they replace the ones of 28d and 30d; choose with --period",
		span(period), strings.Join(periods, ", "))
}

// alertWindows reads one AlertWindows into found.
func (im *importer) alertWindows(doc rules.Node, found map[time.Duration][]window) {
	if doc.Get("kind").Raw() != "AlertWindows" || doc.Get("apiVersion").Raw() != "sloth.slok.dev/v1" {
		doc.Errorf(windowsBegin, "these are no AlertWindows")
		return
	}
	spec, ok := doc.Need("spec", "an AlertWindows", "")
	if !ok {
		return
	}
	keys := []string{"sloPeriod", "page", "ticket"}
	unknown, ok := spec.Mapping("spec", keys...)
	if !ok {
		return
	}
	im.unknown(unknown, "spec", nil, keys...)
	p, ok := spec.Need("sloPeriod", "spec", "write `sloPeriod: 7d`")
	if !ok {
		return
	}
	period, ok := p.Duration("sloPeriod")
	if !ok {
		return
	}
	if found[period] != nil {
		p.Errorf("keep one of them", "there are windows for a period of %s already", span(period))
		return
	}
	var windows []window
	for _, t := range []struct {
		key      string
		severity engine.Severity
	}{{"page", engine.SeverityPage}, {"ticket", engine.SeverityTicket}} {
		for _, speed := range []string{"quick", "slow"} {
			tier, ok := spec.Need(t.key, "spec", "")
			if !ok {
				return
			}
			n, ok := tier.Need(speed, t.key, "")
			if !ok {
				continue
			}
			if w, ok := im.alertWindow(n, period); ok {
				w.severity = t.severity
				windows = append(windows, w)
			}
		}
	}
	found[period] = windows
}

func (im *importer) alertWindow(n rules.Node, period time.Duration) (w window, ok bool) {
	keys := []string{"errorBudgetPercent", "shortWindow", "longWindow"}
	unknown, ok := n.Mapping("a window", keys...)
	if !ok {
		return w, false
	}
	im.unknown(unknown, "a window", nil, keys...)
	percent, ok1 := n.Need(keys[0], "a window", "write which part of the budget is spent in the long window, in percent")
	short, ok2 := n.Need(keys[1], "a window", "")
	long, ok3 := n.Need(keys[2], "a window", "")
	if !ok1 || !ok2 || !ok3 {
		return w, false
	}
	part, ok1 := percent.Decimal(keys[0])
	w.short, ok2 = short.Duration(keys[1])
	w.long, ok3 = long.Duration(keys[2])
	switch {
	case !ok1 || !ok2 || !ok3:
		return w, false
	case part.Sign() == 0:
		percent.Errorf("write which part of the budget is spent in the long window, in percent", "errorBudgetPercent must be above zero")
		return w, false
	case w.short >= w.long:
		short.Errorf("the short window shows that it still burns; the workbook takes a twelfth of the long one",
			"shortWindow (%s) must be shorter than longWindow (%s)", span(w.short), span(w.long))
		return w, false
	case w.long > period:
		long.Errorf("", "longWindow (%s) is longer than the period (%s)", span(w.long), span(period))
		return w, false
	}
	w.factor, w.from = share(part, period, w.long), percent
	return w, true
}

// rounded makes factors of windows that a rule file can write. The usual ones of a period it need not write.
func (im *importer) rounded(windows []window, period time.Duration) []window {
	if sameWindows(windows, usualWindows(period)) {
		return windows
	}
	out := slices.Clone(windows)
	for i := range out {
		text, exact := decimal(out[i].factor)
		if exact {
			continue
		}
		im.differ(Changed, "factor", out[i].from, nil, "", "the factor, a %s part of %s over %s, is rounded to %s",
			out[i].from.Raw()+" %", span(period), span(out[i].long), text)
		out[i].factor, _ = new(big.Rat).SetString(text)
	}
	return out
}
