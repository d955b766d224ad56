package main

import (
	"fmt"
	"io"
	"strings"
)

// workflowCommand prints a line that GitHub Actions shows beside a run or a file: level is error, warning or notice, properties are pairs
// of a name and a value, and those with an empty value are left out.
// Source: GitHub Docs, "Workflow commands for GitHub Actions", setting a notice or error message; the escapes are those of
// actions/toolkit, packages/core/src/command.ts.
func workflowCommand(w io.Writer, level, message string, properties ...string) error {
	text := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	property := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
	var given []string
	for i := 0; i+1 < len(properties); i += 2 {
		if properties[i+1] != "" {
			given = append(given, properties[i]+"="+property.Replace(properties[i+1]))
		}
	}
	_, err := fmt.Fprintf(w, "::%s %s::%s\n", level, strings.Join(given, ","), text.Replace(message))
	return err
}
