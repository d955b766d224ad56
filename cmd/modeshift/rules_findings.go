package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/modeshift/modeshift/rules"
)

type rulesFindingsCmd struct {
	Code string `arg:"" optional:"" help:"The finding to explain; all of them are listed when left out."`
}

// Help shows one real example.
func (rulesFindingsCmd) Help() string {
	return `Example:
  modeshift rules findings
  modeshift rules findings entry-and-exit-together

Findings are what modeshift rules check says of files that load. Each has a code; its page says why it matters and shows an example
that has it and one that has not. A file that is right all the same says so at its top, with the reason:

  allow:
    - {code: no-way-out, why: a person decides when it is opened again}

Exits 0, and 2 when there is no such finding.`
}

// Run implements the verb.
func (v *rulesFindingsCmd) Run(s *streams, c *cli) error {
	if v.Code == "" {
		list := rules.Explanations()
		return c.show(s, list, func() error {
			return table(s.out, "CODE\tSEVERITY\tWHAT", func(row func(...any)) {
				for _, e := range list {
					lines := wrap(e.Summary, 44)
					row(e.Code, e.Severity, lines[0])
					for _, more := range lines[1:] {
						row(" ", " ", more)
					}
				}
			})
		})
	}
	list := rules.Explanations()
	i := slices.IndexFunc(list, func(e rules.Explanation) bool { return string(e.Code) == strings.TrimSpace(v.Code) })
	if i < 0 {
		var near string
		if code, ok := rules.NearestCode(v.Code); ok {
			near = fmt.Sprintf("; did you mean %s?", code)
		}
		return exit(exitUsage, "there is no finding %q: modeshift rules findings lists them%s", oneLine(v.Code), near)
	}
	return c.show(s, list[i], func() error {
		_, err := fmt.Fprintf(s.out, "%s\n\n%s\n", list[i].Code, paragraphs(list[i].Text, 80))
		return err
	})
}

// paragraphs breaks the prose of a page into lines of a width, and leaves its examples as they are.
func paragraphs(text string, width int) string {
	parts := strings.Split(text, "\n\n")
	example := false // an example may have empty lines
	for i, part := range parts {
		fences := strings.Count("\n"+part, "\n```")
		if !example && fences == 0 {
			parts[i] = strings.Join(wrap(part, width), "\n")
		}
		example = example != (fences%2 == 1)
	}
	return strings.Join(parts, "\n\n")
}
