package rules

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/prometheus/common/model"

	"github.com/modeshift/modeshift/engine"
)

// objective is an SLO of that percentage with the workbook's windows.
func objective(t *testing.T, percent string) *SLO {
	t.Helper()
	set, err := Load([]File{{Name: "shop.yaml", Data: fmt.Appendf(nil, `version: modeshift/v1
service: shop
slos:
  - name: a
    objective: %s
    sli: {events: {error_query: 'sum(rate(e_total[{{.window}}]))', total_query: 'sum(rate(t_total[{{.window}}]))'}}
    alerting: {name: A}
`, percent)}}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return set.Services[0].SLO("a")
}

// The table of 99.9 % over 30 days after the workbook's formulas: detection after a clean history, and reset.
func TestDetectionTimesAreThoseOfTheWorkbook(t *testing.T) {
	slo := objective(t, "99.9")
	pairs := append(append([]Window{}, slo.Tier(engine.SeverityPage).Windows...), slo.Tier(engine.SeverityTicket).Windows...)
	for _, row := range []struct {
		share float64
		want  [4]string // page 14.4, page 6, ticket 3, ticket 1
	}{
		{1, [4]string{"51.84s", "2m9.6s", "4m19.2s", "4m19.2s"}},
		{0.5, [4]string{"1m43.68s", "4m19.2s", "8m38.4s", "8m38.4s"}},
		{0.15, [4]string{"5m45.6s", "14m24s", "28m48s", "28m48s"}},
		{0.1, [4]string{"8m38.4s", "21m36s", "43m12s", "43m12s"}},
		{0.05, [4]string{"17m16.8s", "43m12s", "1h26m24s", "1h26m24s"}},
		{0.02, [4]string{"43m12s", "1h48m0s", "3h36m0s", "3h36m0s"}},
		{0.01, [4]string{"never", "3h36m0s", "7h12m0s", "7h12m0s"}},
		{0.005, [4]string{"never", "never", "14h24m0s", "14h24m0s"}},
		{0.002, [4]string{"never", "never", "never", "36h0m0s"}},
		{0.0012, [4]string{"never", "never", "never", "60h0m0s"}},
	} {
		for i := range pairs {
			d := pairs[i].Detect(slo, Burn{Share: row.share})
			got := "never"
			if d.Fires {
				got = d.After.Round(time.Millisecond).String()
				if want := []float64{0.02, 0.05, 0.1, 0.1}[i]; math.Abs(d.Spent-want) > 1e-9 {
					t.Errorf("%v: pair %d fires when %v of the budget is spent, want %v", row.share, i, d.Spent, want)
				}
			}
			if got != row.want[i] {
				t.Errorf("%v: the pair of %s fires after %s, want %s", row.share, model.Duration(pairs[i].Long), got, row.want[i])
			}
		}
	}
	for share, want := range map[float64][4]string{
		1:    {"4m56s", "29m49s", "1h59m38s", "5h59m38s"},
		0.05: {"3m34s", "26m24s", "1h52m48s", "5h52m48s"},
	} {
		for i := range pairs {
			if d := pairs[i].Detect(slo, Burn{Share: share, Lasts: 100 * time.Hour}); d.Reset.Round(time.Second).String() != want[i] {
				t.Errorf("%v: the pair of %s is quiet after %s, want %s", share, model.Duration(pairs[i].Long), d.Reset, want[i])
			}
		}
	}
}

func TestATierFiresWithItsFirstPairAndIsQuietAfterItsLast(t *testing.T) {
	slo := objective(t, "99.9")
	page := slo.Tier(engine.SeverityPage)
	for _, c := range []struct {
		share  float64
		lasts  time.Duration
		fires  bool
		after  string
		quiets string
	}{
		{0.15, 10 * time.Minute, true, "5m45.6s", "4m31.2s"}, // the workbook's 15 % for ten minutes
		{0.15, 20 * time.Minute, true, "5m45.6s", "28m48s"},  // the slow pair too
		{0.15, 5 * time.Minute, false, "0s", "0s"},
		{0.01, 5 * time.Hour, true, "3h36m0s", "12m0s"},
	} {
		d := page.Detect(slo, Burn{Share: c.share, Lasts: c.lasts})
		if d.Fires != c.fires || d.After.Round(time.Millisecond).String() != c.after || d.Reset.Round(time.Millisecond).String() != c.quiets {
			t.Errorf("%v for %s: %+v", c.share, c.lasts, d)
		}
	}
}

func TestWhatFailsAnywayCountsTowardTheLimit(t *testing.T) {
	slo := objective(t, "99.9")
	fast := &slo.Tier(engine.SeverityPage).Windows[0]
	if d := fast.Detect(slo, Burn{Share: 0.0504, Background: 0.0004}); d.After.Round(time.Second) != 16*time.Minute+48*time.Second { // 0.014 / 0.05 of an hour
		t.Errorf("%+v", d)
	}
	if d := fast.Detect(slo, Burn{Share: 0.05, Background: 0.02}); !d.Fires || d.After != 0 {
		t.Errorf("it fires before the burn begins: %+v", d)
	}
}

func TestAnObjectiveThatIsTooLowIsNeverAlerted(t *testing.T) {
	slo := objective(t, "90")
	page := slo.Tier(engine.SeverityPage)
	if d := page.Windows[0].Detect(slo, Burn{Share: 1}); d.Fires {
		t.Errorf("14.4 times the budget is more than everything: %+v", d)
	}
	if d := page.Detect(slo, Burn{Share: 1}); !d.Fires || d.After.Round(time.Second) != 3*time.Hour+36*time.Minute {
		t.Errorf("%+v", d)
	}
}

func TestTheBoundsHoldWhatArithmeticSays(t *testing.T) {
	s := Sampling{Scrape: 15 * time.Second, Offset: 5 * time.Second, Tick: 15 * time.Second}
	slo := objective(t, "99.9")
	for i := range slo.Tiers {
		tier := &slo.Tiers[i]
		for _, b := range []Burn{{Share: 1, Lasts: time.Hour}, {Share: 0.15, Lasts: 10 * time.Minute}, {Share: 0.02, Lasts: 80 * time.Hour}, {Share: 0.0005}} {
			d, seen := tier.Detect(slo, b), tier.Seen(slo, b, s)
			if d.Fires && !seen.Perhaps || seen.Surely && !d.Fires {
				t.Errorf("%+v: %+v, and seen %+v", b, d, seen)
			}
			if seen.Surely && (!seen.Fires.Holds(d.After+s.Offset) || b.Lasts > 0 && !seen.Resets.Holds(d.Reset+s.Offset)) {
				t.Errorf("%+v: %+v is not within %+v", b, d, seen)
			}
		}
	}
}
