package report

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// chart is the drawing of how a budget burned, in the units of its viewBox.
type chart struct {
	ID            string
	Class         string // wide or narrow: one of them is shown
	Title, Desc   string
	Width, Height int
	Left, Right   float64 // of the plot
	Top, Bottom   float64
	Strip         float64 // where the modes are written
	Bands         []bandShape
	Modes         []swatch
	Gaps          []rect // the ledger knows nothing
	Ticks         []tick // of the burn rate
	Times         []tick
	Line          string // path of what the ledger knows
	Dots          []dot
	One           float64 // where the budget lasts exactly
	Labelled      []rect  // incidents that people say there were
	at            func(time.Time) float64
}

// LabelledY is where incidents are drawn: at the foot of the plot.
func (c *chart) LabelledY() float64 { return c.Bottom - 5 }

// BandHeight is that of the modes, behind the plot and above it.
func (c *chart) BandHeight() float64 { return c.Bottom - 6 }

// PlotHeight is that of the plot.
func (c *chart) PlotHeight() float64 { return c.Bottom - c.Top }

// LabelX is where the labels of the burn rate end.
func (c *chart) LabelX() float64 { return c.Left - 5 }

// TimeY is where times are written.
func (c *chart) TimeY() float64 { return c.Bottom + 18 }

type rect struct{ X, W float64 }

type bandShape struct {
	rect
	Class, Label string
	Middle       float64
}

// swatch is how a mode looks.
type swatch struct{ Class, Mode string }

type tick struct {
	At     float64
	Text   string
	Anchor string
}

type dot struct {
	Path, Class string
}

// shapes are how windows are told apart, in the order in which they come up; the legend has the same ones as characters.
var shapes = []struct{ name, sign string }{{"circle", "●"}, {"triangle", "▲"}, {"square", "■"}, {"diamond", "◆"}}

// windows are those of the readings of b, the shortest first as far as they can be told apart.
func (b *Budget) windows() []string {
	var list []string
	for _, s := range b.Seen {
		if !slices.Contains(list, s.Window) {
			list = append(list, s.Window)
		}
	}
	slices.SortStableFunc(list, func(a, b string) int {
		x, errX := window(a)
		y, errY := window(b)
		if errX != nil || errY != nil {
			return strings.Compare(a, b)
		}
		return int(x.Seconds() - y.Seconds())
	})
	return list
}

// window reads the length of one, as conditions write it.
func window(text string) (time.Duration, error) {
	if days, isDays := strings.CutSuffix(text, "d"); isDays {
		d, err := time.ParseDuration(days + "h")
		return 24 * d, err
	}
	return time.ParseDuration(text)
}

// letter is about how wide one is in a chart, whose phone's form is shown smaller and so written larger.
var letter = map[string]float64{"wide": 6.8, "narrow": 8}

// draw makes the chart of a budget, once for a desk and once for a phone.
func (r *Report) draw(b *Budget, n int) []*chart {
	return []*chart{r.plot(b, n, "wide", 720, 300), r.plot(b, n, "narrow", 360, 300)}
}

func (r *Report) plot(b *Budget, n int, class string, width, height int) *chart {
	from, to := r.Span()
	return r.plotSpan(b, from, to, n, class, width, height)
}

func (r *Report) plotSpan(b *Budget, from, to time.Time, n int, class string, width, height int) *chart {
	c := &chart{
		ID: fmt.Sprintf("burn-%d-%s", n, class), Class: class, Title: fmt.Sprintf("Burn rate of %s and the modes of %s", b.SLO, r.Scope), Desc: r.describe(b),
		Width: width, Height: height, Left: 44, Right: float64(width) - 8, Top: 34, Bottom: float64(height) - 26, Strip: 22,
	}
	x := func(t time.Time) float64 {
		share := t.Sub(from).Seconds() / max(to.Sub(from).Seconds(), 1e-9)
		return round1(c.Left + min(max(share, 0), 1)*(c.Right-c.Left))
	}
	c.at = x
	top := 2.0
	for _, p := range b.Burn {
		if p.Known > 0 {
			top = max(top, p.Rate)
		}
	}
	for _, s := range b.Seen {
		if s.Unknown == "" {
			top = max(top, s.Rate)
		}
	}
	scale := func(v float64) float64 { return math.Log1p(max(v, 0)) }
	y := func(v float64) float64 {
		return round1(c.Bottom - scale(v)/scale(top*1.1)*(c.Bottom-c.Top))
	}
	c.One = y(1)
	for _, v := range []float64{0, 1, 3, 10, 30, 100, 300, 1000, 10000} {
		if v <= top*1.1 {
			c.Ticks = append(c.Ticks, tick{At: y(v), Text: number(v)})
		}
	}
	seen := map[string]string{}
	for _, m := range r.Modes {
		s := bandShape{rect: rect{x(m.From), round1(x(m.To) - x(m.From))}}
		if s.Class = seen[string(m.Mode)]; s.Class == "" {
			s.Class = fmt.Sprintf("band-%d", min(len(seen), 4))
			if m.Mode == r.Home {
				s.Class = "band-home"
			}
			seen[string(m.Mode)] = s.Class
			c.Modes = append(c.Modes, swatch{s.Class, string(m.Mode)})
		}
		s.Middle = round1(s.X + s.W/2)
		if float64(utf8.RuneCountInString(string(m.Mode)))*letter[class] < s.W {
			s.Label = string(m.Mode)
		}
		c.Bands = append(c.Bands, s)
	}
	c.ledger(b, x, y, from, to)
	windows := b.windows()
	for _, s := range b.Seen {
		if s.At.Before(from) || s.At.After(to) {
			continue
		}
		i := slices.Index(windows, s.Window) % len(shapes)
		if s.Unknown != "" {
			c.Dots = append(c.Dots, dot{cross(x(s.At), c.Bottom-6), "unknown"})
			continue
		}
		c.Dots = append(c.Dots, dot{shape(shapes[i].name, x(s.At), y(s.Rate)), fmt.Sprintf("seen-%d", i)})
	}
	c.times(class, from, to, x)
	return c
}

// ledger draws what the ledger knows as steps, and what it does not as gaps.
func (c *chart) ledger(b *Budget, x func(time.Time) float64, y func(float64) float64, from, to time.Time) {
	var path strings.Builder
	gap := func(a, z time.Time) {
		if w := round1(x(z) - x(a)); w > 0 {
			if n := len(c.Gaps); n > 0 && math.Abs(c.Gaps[n-1].X+c.Gaps[n-1].W-x(a)) < 0.2 {
				c.Gaps[n-1].W = round1(c.Gaps[n-1].W + w)
				return
			}
			c.Gaps = append(c.Gaps, rect{x(a), w})
		}
	}
	at, drawn := from, false // up to which it is told, and whether the pen is down there
	for _, p := range b.Burn {
		if !p.To.After(from) || !p.From.Before(to) {
			continue
		}
		if p.From.After(at) {
			gap(at, p.From)
			drawn = false
		}
		at = p.To
		if p.Known <= 0 {
			gap(p.From, p.To)
			drawn = false
			continue
		}
		pen := "M"
		if drawn {
			pen = "L"
		}
		fmt.Fprintf(&path, "%s%g %g L%g %g ", pen, x(p.From), y(p.Rate), x(p.To), y(p.Rate))
		drawn = true
	}
	if at.Before(to) {
		gap(at, to)
	}
	c.Line = strings.TrimSpace(path.String())
}

// times labels the axis of time.
func (c *chart) times(class string, from, to time.Time, x func(time.Time) float64) {
	parts := 6
	if class == "narrow" {
		parts = 3
	}
	steps := []time.Duration{time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 15 * time.Second, 30 * time.Second, time.Minute, 2 * time.Minute, 5 * time.Minute,
		10 * time.Minute, 15 * time.Minute, 30 * time.Minute, time.Hour, 2 * time.Hour, 3 * time.Hour, 6 * time.Hour, 12 * time.Hour, 24 * time.Hour, 48 * time.Hour, 7 * 24 * time.Hour, 30 * 24 * time.Hour}
	step := steps[len(steps)-1]
	for _, s := range steps {
		if to.Sub(from) <= s*time.Duration(parts) {
			step = s
			break
		}
	}
	form := "15:04:05"
	switch {
	case step >= 24*time.Hour:
		form = "2 Jan"
	case to.Sub(from) > 24*time.Hour:
		form = "2 Jan 15:04"
	case step >= time.Minute:
		form = "15:04"
	}
	for t := from.Truncate(step); t.Before(to); t = t.Add(step) {
		if t.Before(from) {
			continue
		}
		mark := tick{At: x(t), Text: t.UTC().Format(form), Anchor: "middle"}
		switch {
		case mark.At < c.Left+24:
			mark.Anchor = "start"
		case mark.At > c.Right-24:
			mark.Anchor = "end"
		}
		c.Times = append(c.Times, mark)
	}
}

func round1(v float64) float64 { return math.Round(v*10) / 10 }

// shape is the path of a reading.
func shape(name string, x, y float64) string {
	switch name {
	case "circle":
		return fmt.Sprintf("M%g %ga4 4 0 1 0 8 0a4 4 0 1 0 -8 0z", round1(x-4), y)
	case "triangle":
		return fmt.Sprintf("M%g %gl4.5 8h-9z", x, round1(y-5))
	case "square":
		return fmt.Sprintf("M%g %gh7v7h-7z", round1(x-3.5), round1(y-3.5))
	}
	return fmt.Sprintf("M%g %gl4.5 5l-4.5 5l-4.5 -5z", x, round1(y-5))
}

func cross(x, y float64) string {
	return fmt.Sprintf("M%g %gl6 6m0 -6l-6 6", round1(x-3), round1(y-3))
}
