package scenario

import (
	"fmt"
	"math"
	"testing"
	"time"

	v1 "github.com/prometheus/client_golang/api/prometheus/v1"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/rules"
	"github.com/modeshift/modeshift/rules/prom"
	"github.com/modeshift/modeshift/rules/series"
)

func TestAnSLOThatIsReadFromSlothsSeriesFindsThem(t *testing.T) {
	t.Parallel()
	set, err := rules.Load([]rules.File{{Name: "shop.yaml", Data: fmt.Appendf(nil, `version: modeshift/v1
service: shop
evaluate: recorded
slos:
  - {name: availability, objective: 99.9, sli: %s, alerting: {name: A}}
`, plain)}}, rules.Options{})
	if err != nil {
		t.Fatal(err)
	}
	service := set.Services[0]
	w, err := Draw(&service.SLOs[0], PartialOutage, Params{At: noon, Before: 7 * time.Hour, After: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	before := len(w.Series)
	if err := w.Record(t.Context(), service, time.Minute); err != nil {
		t.Fatal(err)
	}
	if n := len(w.Series) - before; n != 7 { // 5m 30m 1h 2h 6h 1d 3d
		t.Errorf("%d series are recorded, want 7", n)
	}
	store, err := series.New(w.Series...)
	if err != nil {
		t.Fatal(err)
	}
	e := prom.New(set, []prom.Source{{Name: "main", Replicas: []v1.API{store.API()}}}, prom.Options{Budget: time.Hour, QueryTimeout: time.Hour})
	for _, c := range []struct {
		after time.Duration
		want  engine.Truth
	}{{0, engine.False}, {5 * time.Minute, engine.False}, {8 * time.Minute, engine.True}, {20 * time.Minute, engine.False}} {
		a := e.Evaluate(t.Context(), prom.Tick{Instant: noon.Add(c.after), Questions: []engine.Question{{Scope: "shop", Conditions: []int{0}}}})
		if o := a.Observations["shop"][0]; o.Truth != c.want {
			t.Errorf("after %s: %+v, want %v", c.after, o, c.want)
		}
	}
	d := drawn{t, w, &service.SLOs[0], store.API()}
	if got := d.ask(`slo:sli_error:ratio_rate1h{sloth_id="shop-availability",sloth_window="1h"}`, 10*time.Minute); math.Abs(got-0.025) > 0.001 {
		t.Errorf("the hour's ratio is %v, want 0.025", got)
	}
	if err := w.Record(t.Context(), service, 0); err == nil {
		t.Error("an interval of 0 was accepted")
	}
}
