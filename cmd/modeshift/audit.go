package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

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
	if st, err := os.Stat(path); err != nil {
		return exit(exitUsage, "no log at %s: name the file or its folder: modeshift audit verify DIR", path)
	} else if st.IsDir() {
		path = filepath.Join(path, server.LogFile)
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
	if c.Output == "json" {
		enc := json.NewEncoder(s.out)
		enc.SetIndent("", "  ")
		if err := enc.Encode(map[string]any{"ok": fault == nil, "report": report, "fault": fault}); err != nil {
			return err
		}
	}
	if fault != nil {
		return exit(exitNo, "the log is not whole: %w", fault)
	}
	if c.Output == "table" {
		_, err = fmt.Fprintf(s.out, "the log is whole: %d events in %d streams, %d checkpoints\n", report.Events, report.Streams, report.Checkpoints)
	}
	return err
}
