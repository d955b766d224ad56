package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/server"
	"github.com/modeshift/modeshift/engine/store"
)

type auditCmd struct {
	Verify auditVerifyCmd `cmd:"" help:"Check the whole log: every hash chain, every checkpoint, every job."`
}

type auditVerifyCmd struct {
	Log string `arg:"" optional:"" placeholder:"FILE" help:"The log, or the data folder it is in; ./modeshift-data by default."`
}

// Help shows one real example.
func (auditVerifyCmd) Help() string {
	return `Example:
  modeshift audit verify modeshift-data

Reads the log beside a running server. Exits 0 when the log is whole, 1 and the first bad position when it is not.`
}

// Run implements the verb.
func (a *auditVerifyCmd) Run(s *streams, c *cli) error {
	path := a.Log
	if path == "" {
		path = "modeshift-data"
	}
	if st, err := os.Stat(path); err == nil && st.IsDir() {
		path = filepath.Join(path, server.LogFile)
	}
	if _, err := os.Stat(path); err != nil {
		return exit(exitUsage, "no log at %s: name the file or its folder: modeshift audit verify DIR", path)
	}
	ctx := context.Background()
	log, err := store.OpenReadOnly(ctx, path)
	if err != nil {
		return &exitError{exitCannotTell, err}
	}
	report, err := log.Verify(ctx)
	if closed := log.Close(); err == nil && closed != nil {
		err = closed
	}
	var fault *store.Fault
	if err != nil && !errors.As(err, &fault) {
		return &exitError{exitCannotTell, err}
	}
	if err := c.show(s, verdictOf(report, fault), func() error {
		if fault != nil {
			return nil // it is said as the error
		}
		_, err := fmt.Fprintf(s.out, "the log is whole: %s in %s, %s\n",
			count(report.Events, "event"), count(report.Streams, "stream"), count(report.Checkpoints, "checkpoint"))
		return err
	}); err != nil {
		return err
	}
	if fault != nil {
		return exit(exitNo, "the log is not whole: %s", oneLine(fault.Error()))
	}
	return nil
}

// verdict is what programs read.
type verdict struct {
	OK          bool           `json:"ok"`
	Streams     int            `json:"streams"`
	Events      int            `json:"events"`
	Checkpoints int            `json:"checkpoints"`
	Jobs        int            `json:"jobs"`
	Last        int64          `json:"last"`  // position of the last event
	Heads       []engine.Head  `json:"heads"` // to be compared with what a witness outside holds
	Stale       []engine.Scope `json:"stale,omitempty"`
	Fault       *verdictFault  `json:"fault,omitempty"`
}

// verdictFault is the first bad place.
type verdictFault struct {
	Position int64          `json:"position,omitempty"`
	Stream   engine.Scope   `json:"stream,omitempty"`
	Version  engine.Version `json:"version,omitempty"`
	What     string         `json:"what"`
}

func verdictOf(r store.Report, f *store.Fault) verdict {
	v := verdict{f == nil, r.Streams, r.Events, r.Checkpoints, r.Jobs, r.Last, r.Heads, r.Stale, nil}
	if f != nil {
		v.Fault = &verdictFault{f.Position, f.Stream, f.Version, f.What}
	}
	return v
}
