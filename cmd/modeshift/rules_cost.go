package main

import (
	"fmt"
	"io"

	"github.com/modeshift/modeshift/engine/server"
)

// showCosts prints what each query costs, the most expensive first, and all of them together.
func showCosts(w io.Writer, costs []server.QueryCost) error {
	if len(costs) == 0 {
		return nil
	}
	sum := int64(0)
	err := table(w, "SAMPLES\tSECONDS\tSERVICE\tSIGNAL\tQUERY", func(row func(cells ...any)) {
		for _, c := range costs {
			sum += c.Samples
			query := c.Query
			if c.Problem != "" {
				query = c.Problem + ": " + query
			}
			row(c.Samples, fmt.Sprintf("%.3f", c.Seconds), c.Scope, c.Signal, query)
		}
	})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "\nof all queries %d samples are read, if each is asked once, at one instant\n\n", sum)
	return err
}
