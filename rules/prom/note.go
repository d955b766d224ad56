package prom

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/api"
	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
)

// note is what an answer says beside its value, which the client of the query API does not hand on.
type note struct {
	samples int64         // that the server read
	ahead   time.Duration // how far its clock is ahead of ours, to the second; 0 when it does not say
}

type noteKey struct{}

// totals asks for how much a query read, without the samples of each step. Servers that do not know the parameter ignore it.
const totals v1.StatsValue = "totals"

// maxSkew is how far a source's clock may be ahead. Its samples bear its own time: asked for an instant of ours, a server that
// is an hour ahead answers with what was an hour ago, and calls it fresh. One that is behind has no samples for our instants
// yet, which shows by itself. Clocks that are kept by NTP differ by less than a second.
const maxSkew = time.Minute

// noting is a client that reads what the API's client passes over into the note of the request's context.
type noting struct{ api.Client }

func (c noting) Do(ctx context.Context, req *http.Request) (*http.Response, []byte, error) {
	sent := time.Now()
	resp, body, err := c.Client.Do(ctx, req)
	n, ok := ctx.Value(noteKey{}).(*note)
	if !ok || err != nil {
		return resp, body, err
	}
	// The answer was made somewhere between sending and now. A Date is cut to the second, so that a source that is ahead by d
	// shows d − 1 s at least.
	if date, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		n.ahead = max(0, min(date.Sub(sent), time.Until(date)))
	}
	var said struct {
		Data struct {
			Stats struct {
				Samples struct {
					Total int64 `json:"totalQueryableSamples"`
				} `json:"samples"`
			} `json:"stats"`
		} `json:"data"`
	}
	if json.Unmarshal(body, &said) == nil { // an answer that is not JSON is the API client's to refuse
		n.samples = max(0, said.Data.Stats.Samples.Total)
	}
	return resp, body, err
}
