package main

import (
	"errors"
	"fmt"

	"github.com/modeshift/modeshift/engine/server"
	"github.com/modeshift/modeshift/rules"
)

type rulesCmd struct {
	Check rulesCheckCmd `cmd:"" help:"Check rule files and say everything that is wrong with them."`
}

type rulesCheckCmd struct {
	Paths []string `arg:"" help:"Rule files, folders of them, globs."`
}

// Help shows one real example.
func (rulesCheckCmd) Help() string {
	return `Example:
  modeshift rules check rules/

Exits 0 when every file would load, 1 when one would not, 2 when there is nothing to check.`
}

// fault is a diagnostic as programs read it.
type fault struct {
	Level   rules.Level `json:"level"`
	File    string      `json:"file"`
	Line    int         `json:"line,omitempty"`
	Column  int         `json:"column,omitempty"`
	Message string      `json:"message"`
	Hint    string      `json:"hint,omitempty"`
}

// Run implements the verb.
func (v *rulesCheckCmd) Run(s *streams, c *cli) error {
	files, err := rules.ReadFiles(v.Paths...)
	if err != nil {
		return &exitError{exitUsage, err}
	}
	if len(files) == 0 {
		return exit(exitUsage, "no rule files match %v: name files or folders with *.yaml in them", v.Paths)
	}
	kinds, err := server.FormKinds()
	if err != nil {
		return err
	}
	set, err := rules.Load(files, rules.Options{Kinds: kinds})
	var all rules.Diagnostics
	if err != nil && !errors.As(err, &all) {
		return err
	}
	bad := len(all.Errors())
	if set != nil && bad == 0 {
		all = set.Warnings
	}
	warned := len(all.Warnings())
	services := 0
	if set != nil {
		services = len(set.Services)
	}
	faults := make([]fault, len(all))
	for i, d := range all {
		faults[i] = fault{d.Level, d.File, d.Line, d.Column, d.Message, d.Hint}
	}
	err = c.show(s, map[string]any{"ok": bad == 0, "files": len(files), "services": services, "faults": faults}, func() error {
		for _, d := range all {
			if _, err := fmt.Fprintf(s.out, "%s\n\n", d.Error()); err != nil {
				return err
			}
		}
		_, err := fmt.Fprintf(s.out, "%s, %s: %s, %s\n", count(len(files), "file"), count(services, "service"), count(bad, "error"), count(warned, "warning"))
		return err
	})
	if err == nil && bad > 0 {
		return &exitError{exitNo, errors.New("")}
	}
	return err
}

// count puts a number before a word.
func count(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}
