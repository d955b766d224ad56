package main

import (
	"fmt"
	"io"
	"strconv"

	"github.com/modeshift/modeshift/rules"
)

// fault is a diagnostic as editors read it. Lines and columns count from 1, in characters; of a fault of the whole file there are
// none.
type fault struct {
	File      string      `json:"file"`
	Line      int         `json:"line,omitempty"`
	Column    int         `json:"column,omitempty"`
	EndLine   int         `json:"end_line,omitempty"`
	EndColumn int         `json:"end_column,omitempty"` // just after what is wrong; left out when that is not known
	Severity  rules.Level `json:"severity"`
	Code      rules.Code  `json:"code"`
	Message   string      `json:"message"`
	Hint      string      `json:"hint,omitempty"`
	Docs      string      `json:"docs,omitempty"` // of a finding, from the repository's root
}

func faultsOf(diags rules.Diagnostics) []fault {
	faults := make([]fault, len(diags))
	for i, d := range diags {
		faults[i] = fault{File: d.File, Line: d.Line, Column: d.Column, EndColumn: d.End, Severity: d.Level, Code: d.Code,
			Message: d.Message, Hint: d.Hint, Docs: d.Code.Docs()}
		if d.End > 0 {
			faults[i].EndLine = d.Line
		}
	}
	return faults
}

// printFaults is for people: each with the line it is about, and the code of a finding, by which it is explained and may be
// allowed. Notes are shown only where they are asked for: most are right, and what is worth reading should be read.
func printFaults(w io.Writer, diags rules.Diagnostics, notes bool) error {
	for _, d := range diags {
		if d.Level == rules.LevelInfo && !notes {
			continue
		}
		if d.Code.Docs() != "" {
			d.Message += " [" + string(d.Code) + "]"
		}
		if _, err := fmt.Fprintf(w, "%s\n\n", d.Error()); err != nil {
			return err
		}
	}
	return nil
}

// annotateFaults prints them as annotations of a run of GitHub Actions, which shows them in the file.
func annotateFaults(w io.Writer, diags rules.Diagnostics, notes bool) error {
	levels := map[rules.Level]string{rules.LevelError: "error", rules.LevelWarning: "warning", rules.LevelInfo: "notice"}
	number := func(n int) string {
		if n == 0 {
			return ""
		}
		return strconv.Itoa(n)
	}
	for _, d := range diags {
		if d.Level == rules.LevelInfo && !notes {
			continue
		}
		text := d.Message
		if d.Hint != "" {
			text += "\n" + d.Hint
		}
		err := workflowCommand(w, levels[d.Level], text, "file", d.File, "line", number(d.Line), "col", number(d.Column),
			"endColumn", number(d.End), "title", "modeshift: "+string(d.Code))
		if err != nil {
			return err
		}
	}
	return nil
}
