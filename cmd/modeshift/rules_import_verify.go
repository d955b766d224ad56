package main

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/prometheus/common/model"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/crash"
	"github.com/modeshift/modeshift/engine/server"
	"github.com/modeshift/modeshift/rules/convert"
)

// verify compares what was imported with what its tool would have done. Beside a comparison the error is of services that are not in it.
func (v *rulesImportCmd) verify(s *streams, result *convert.Result) ([]convert.Verified, error) {
	opts := convert.VerifyOptions{}
	opts.From, opts.To = v.between(time.Now())
	progress := newProgress(s.err)
	opts.Progress = progress.share
	ctx, stop := interruptible()
	defer stop()
	compared, err := server.VerifyImport(ctx, string(v.Verify), result, opts)
	progress.clear()
	var wrong *convert.UsageError
	switch {
	case errors.As(err, &wrong):
		return nil, &exitError{exitUsage, err}
	case err != nil && ctx.Err() != nil:
		files := "nothing was written"
		if v.Into != "" {
			files = "the rule files are written"
		}
		return nil, interrupted("%s, %s of the time was compared, and nothing is told of a part", files, progress.far())
	case crash.Of(err) != nil:
		return compared, crashed(exitCannotTell, err, "compare: %v", err)
	case err != nil:
		return nil, exit(exitCannotTell, "compare: %w; is the URL right, may this machine reach it, and does it keep so much of the past?", err)
	}
	return compared, nil
}

// importVerdict is what the comparison comes to: nothing to say, no, or cannot tell.
func importVerdict(compared []convert.Verified) error {
	for i := range compared {
		if one := &compared[i]; !one.Seen() {
			return exit(exitCannotTell, "there was nothing to compare of %s/%s: the Prometheus has no samples of it in that time", one.Service, one.SLO)
		}
	}
	for i := range compared {
		if one := &compared[i]; !one.Same() {
			return exit(exitNo, "%s/%s does not come to the same", one.Service, one.SLO)
		}
	}
	return nil
}

// comparedSLO is a comparison as programs read it. Times that last are in seconds.
type comparedSLO struct {
	Service string           `json:"service"`
	SLO     string           `json:"slo"`
	Same    bool             `json:"same"`
	Windows []comparedWindow `json:"windows"`
	Tiers   []comparedTier   `json:"tiers"`
	Span    *comparedSpan    `json:"span,omitempty"`
}

type comparedWindow struct {
	Window      string    `json:"window"`
	Compared    int       `json:"compared"`
	Greatest    float64   `json:"greatest_difference"`
	At          time.Time `json:"at,omitzero"`
	Theirs      float64   `json:"theirs"`
	Ours        float64   `json:"ours"`
	OnlyTheirs  int       `json:"only_theirs"`
	OnlyOurs    int       `json:"only_ours"`
	Groups      int       `json:"groups,omitempty"`
	Series      string    `json:"series,omitempty"` // of theirs, of the greatest difference
	Because     string    `json:"because,omitempty"`
	Unexplained int       `json:"unexplained"`
	First       time.Time `json:"first_unexplained,omitzero"`
}

type comparedTier struct {
	Severity    engine.Severity           `json:"severity"`
	Both        float64                   `json:"both_seconds"`
	OnlyTheirs  float64                   `json:"only_theirs_seconds"`
	OnlyOurs    float64                   `json:"only_ours_seconds"`
	Unknown     float64                   `json:"unknown_seconds"`
	First       time.Time                 `json:"first,omitzero"`
	Series      string                    `json:"series,omitempty"` // of theirs that burned then
	Because     map[convert.Cause]float64 `json:"because_seconds,omitempty"`
	Unexplained float64                   `json:"unexplained_seconds"`
}

type comparedSpan struct {
	Mean     float64 `json:"mean_of_five_minutes"`
	Weighted float64 `json:"weighted_by_traffic"`
}

func comparedSLOs(compared []convert.Verified) []comparedSLO {
	out := []comparedSLO{}
	for i := range compared {
		c := &compared[i]
		one := comparedSLO{Service: c.Service, SLO: c.SLO, Same: c.Same(), Windows: []comparedWindow{}, Tiers: []comparedTier{}}
		for _, w := range c.Windows {
			one.Windows = append(one.Windows, comparedWindow{model.Duration(w.Window).String(), w.Compared, w.Greatest, w.At, w.Theirs, w.Ours, w.OnlyTheirs, w.OnlyOurs, w.Groups,
				w.Series, string(w.Because), w.Unexplained, w.First})
		}
		for _, t := range c.Tiers {
			tier := comparedTier{Severity: t.Severity, Both: t.Both.Seconds(), OnlyTheirs: t.OnlyTheirs.Seconds(), OnlyOurs: t.OnlyOurs.Seconds(),
				Unknown: t.Unknown.Seconds(), First: t.First, Series: t.Series, Because: map[convert.Cause]float64{}, Unexplained: t.Unexplained.Seconds()}
			for cause, d := range t.Because {
				tier.Because[cause] = d.Seconds()
			}
			one.Tiers = append(one.Tiers, tier)
		}
		if c.Span != nil {
			one.Span = &comparedSpan{c.Span.Mean, c.Span.Weighted}
		}
		out = append(out, one)
	}
	return out
}

// printVerified prints the comparison. It goes where the list of differences does when the rule file is on standard output.
func printVerified(s *streams, compared []convert.Verified) error {
	_, err := fmt.Fprintln(s.err)
	if err == nil {
		err = table(s.err, "SLO\tWINDOW\tCOMPARED\tGREATEST DIFFERENCE\tAT\tTHEIRS\tOURS\tONE ALONE\tBECAUSE", func(row func(cells ...any)) {
			for i := range compared {
				c := &compared[i]
				for _, w := range c.Windows {
					at, theirs, ours := "", "", ""
					if w.Greatest > 0 {
						at, theirs, ours = w.At.UTC().Format("2006-01-02 15:04"), ratioText(w.Theirs), ratioText(w.Ours)
						if w.Series != "" {
							theirs += fmt.Sprintf(" of %s, of %d", w.Series, w.Groups)
						}
					}
					row(c.Service+"/"+c.SLO, model.Duration(w.Window), w.Compared, ratioText(w.Greatest), at, theirs, ours, w.OnlyTheirs+w.OnlyOurs, windowWhy(&w))
				}
				if c.Span != nil {
					row(c.Service+"/"+c.SLO, "all of it", "", ratioText(math.Abs(c.Span.Mean-c.Span.Weighted)), "", ratioText(c.Span.Mean)+" as a mean", ratioText(c.Span.Weighted)+" by traffic", "", "")
				}
			}
		})
	}
	if err == nil {
		_, err = fmt.Fprintln(s.err)
	}
	if err == nil {
		err = table(s.err, "SLO\tALERT\tBOTH FIRE\tONLY THEIRS\tONLY OURS\tFIRST\tBECAUSE", func(row func(cells ...any)) {
			for i := range compared {
				c := &compared[i]
				for _, t := range c.Tiers {
					first := ""
					if !t.First.IsZero() {
						first = t.First.UTC().Format("2006-01-02 15:04")
					}
					if t.Series != "" {
						first += " " + t.Series
					}
					row(c.Service+"/"+c.SLO, t.Severity, model.Duration(t.Both), model.Duration(t.OnlyTheirs), model.Duration(t.OnlyOurs), first, t.Why())
				}
			}
		})
	}
	return err
}

// windowWhy says why a window differs: at how many instants for no cause that is intended, and since when, or else the cause.
func windowWhy(w *convert.WindowVerified) string {
	if w.Unexplained > 0 {
		return fmt.Sprintf("unexplained at %d of %s, first %s", w.Unexplained, count(w.Compared+w.OnlyTheirs+w.OnlyOurs, "instant"), w.First.UTC().Format("2006-01-02 15:04"))
	}
	return string(w.Because)
}

// ratioText is a ratio with as many digits as tell something.
func ratioText(f float64) string { return strconv.FormatFloat(f, 'g', 4, 64) }
