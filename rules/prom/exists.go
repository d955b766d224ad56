package prom

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/modeshift/modeshift/rules"
)

// Missing asks a source whether there are series for the selectors of rules, and says where there never were any in the last
// thirty days: in which places of which files, and, as far as one matcher is to blame, which. It looks into the index only,
// and reads no samples. The error says why the source could not be asked.
func Missing(ctx context.Context, source Source, set *rules.Set, now time.Time) (rules.Diagnostics, error) {
	m := existence{ctx: ctx, api: source.Replicas[0], from: now.Add(-lookedBack), to: now, found: map[string]bool{}}
	var out rules.Diagnostics
	for _, service := range set.Services {
		for i := range service.Selectors {
			s := &service.Selectors[i]
			if s.Source != "" && s.Source != source.Name {
				continue
			}
			found, err := m.judge(s)
			if err != nil {
				return nil, err
			}
			for _, d := range found {
				if !service.Allowed[d.Code] {
					out = append(out, d)
				}
			}
		}
	}
	return out, nil
}

// existence asks for the existence of series, each once.
type existence struct {
	ctx      context.Context
	api      v1.API
	from, to time.Time
	found    map[string]bool
}

// there reports whether a selector has had series.
func (m *existence) there(selector string) (bool, error) {
	if found, asked := m.found[selector]; asked {
		return found, nil
	}
	series, _, _, err := m.api.Series(m.ctx, []string{selector}, m.from, m.to, v1.WithLimit(1))
	if err != nil {
		_, detail, _ := explain(err)
		return false, fmt.Errorf("ask for series: %s", clip(detail))
	}
	m.found[selector] = len(series) > 0
	return len(series) > 0, nil
}

func (m *existence) judge(s *rules.SeriesSelector) (rules.Diagnostics, error) {
	found, err := m.there(s.Text)
	if err != nil || found {
		return nil, err
	}
	period := model.Duration(lookedBack).String()
	var culprits []string
	for _, matcher := range s.Matchers {
		without := s.Without(matcher)
		if without == "" {
			continue
		}
		if found, err = m.there(without); err != nil {
			return nil, err
		}
		if found {
			culprits = append(culprits, matcher.String())
		}
	}
	if s.Events {
		// It may be that nothing ever went wrong. That the label exists at all shows whether it could.
		if found, err = m.there(s.All); err != nil || !found {
			return nil, err // the query for all events says so
		}
		for _, matcher := range s.Matchers {
			labelled := labels.MustNewMatcher(labels.MatchNotEqual, matcher.Name, "") // which writes a name in quotes that needs them
			if found, err = m.there(withComma(s.All) + labelled.String() + "}"); err != nil {
				return nil, err
			}
			if !found {
				return rules.Diagnostics{s.Fault(rules.LevelError, rules.CodeNoSuchLabel, fmt.Sprintf("look at the labels of %s", s.All),
					"no series has a label %q: nothing would ever count as an error", matcher.Name)}, nil
			}
		}
		return nil, nil
	}
	hint := "is the metric's name right, and does this Prometheus scrape it?"
	if len(culprits) == 1 {
		hint = fmt.Sprintf("without %s there are some", culprits[0]) + m.values(s, culprits[0])
	} else if len(culprits) > 1 {
		hint = fmt.Sprintf("without any one of %s there are some", strings.Join(culprits, ", "))
	} else if name := s.Metric(); name != "" && name != s.Text {
		if found, err = m.there(name); err != nil {
			return nil, err
		} else if found {
			hint = fmt.Sprintf("%s has series, and none with these labels", name)
		}
	}
	return rules.Diagnostics{s.Fault(rules.LevelError, rules.CodeNoSuchSeries, hint, "no such series: %s selects nothing in the last %s; what needs it would be unknown", s.Text, period)}, nil
}

// mostValues is how many values of a label are named.
const mostValues = 5

// values says which values the label of a matcher has where the rest of the selector matches, those like the matcher's own first. A source
// that does not tell is not worth another fault.
func (m *existence) values(s *rules.SeriesSelector, culprit string) string {
	i := slices.IndexFunc(s.Matchers, func(o *labels.Matcher) bool { return o.String() == culprit })
	matcher := s.Matchers[i]
	found, _, _, err := m.api.LabelValues(m.ctx, matcher.Name, []string{s.Without(matcher)}, m.from, m.to)
	if err != nil || len(found) == 0 {
		return ""
	}
	names := make([]string, len(found))
	for i, v := range found {
		names[i] = string(v)
	}
	if near, ok := rules.Nearest(matcher.Value, names); ok && matcher.Type == labels.MatchEqual && len(matcher.Value) > 2 {
		return fmt.Sprintf("; did you mean %s=%q?", matcher.Name, near)
	}
	more := ""
	if len(names) > mostValues {
		names, more = names[:mostValues], ", …"
	}
	for i := range names {
		names[i] = strconv.Quote(names[i])
	}
	return fmt.Sprintf("; %s is %s%s", matcher.Name, strings.Join(names, ", "), more)
}

// withComma is a selector, open for one more matcher.
func withComma(selector string) string {
	if n := len(selector); n > 0 && selector[n-1] == '}' {
		if n > 1 && selector[n-2] == '{' {
			return selector[:n-1]
		}
		return selector[:n-1] + ","
	}
	return selector + "{"
}
