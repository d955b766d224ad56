package main

import (
	"fmt"
	"io"
	"strings"

	reports "github.com/modeshift/modeshift/engine/report"
)

// paper is written to until writing fails.
type paper struct {
	w   io.Writer
	err error
}

// line prints one line; text from outside cannot break out of it.
func (p *paper) line(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintln(p.w, oneLine(fmt.Sprintf(format, args...)))
	}
}

// section prints a table under a title.
func (p *paper) section(title, header string, rows func(row func(cells ...any))) {
	p.line("")
	p.line("%s", title)
	if p.err == nil {
		p.err = table(p.w, header, rows)
	}
}

// parts writes tables as a report has them.
func (p *paper) parts(list []reports.Section) {
	for _, part := range list {
		if len(part.Rows) == 0 {
			p.line("")
			p.line("%s", strings.ToUpper(part.Title))
			p.line("%s", part.Empty)
			continue
		}
		p.section(strings.ToUpper(part.Title), strings.Join(part.Header, "\t"), func(row func(...any)) {
			for _, cells := range part.Rows {
				words := make([]any, len(cells))
				for i := range cells {
					words[i] = cells[i]
				}
				row(words...)
			}
		})
		if part.More > 0 {
			p.line("… and %d more: -o json has all", part.More)
		}
	}
}
