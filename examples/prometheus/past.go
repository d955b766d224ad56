package prometheus

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/tsdb"
)

// Past is a counter as it was scraped before the server was started, from a target that is gone since: it grew evenly for all of
// Options.PastFor. What is measured over weeks, such as an error budget, means little where nothing is older than a minute.
type Past struct {
	Labels    map[string]string // with __name__
	PerSecond float64
}

// pastEvery is the time between two samples of the past: a rate over five minutes, as ledgers ask for, needs two of them.
const pastEvery = time.Minute

// writePast puts the past into an empty database. It ends a minute before now, so that the shortest windows hold nothing of it.
func writePast(db *tsdb.DB, series []Past, length time.Duration, now time.Time) error {
	app := db.Appender(context.Background())
	for _, s := range series {
		ls := labels.FromMap(s.Labels)
		for age := length; age >= pastEvery; age -= pastEvery {
			if _, err := app.Append(0, ls, now.Add(-age).UnixMilli(), s.PerSecond*(length-age).Seconds()); err != nil {
				_ = app.Rollback() // the first error is the one to tell
				return fmt.Errorf("%s: %w", ls, err)
			}
		}
	}
	return app.Commit()
}
