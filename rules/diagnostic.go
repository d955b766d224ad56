package rules

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Level says whether a diagnostic keeps a service from loading, and how much it matters if it does not.
type Level string

// The levels.
const (
	LevelError   Level = "error"
	LevelWarning Level = "warning" // most likely not what was meant
	LevelInfo    Level = "info"    // worth knowing, and right in many files
)

// Diagnostic is one fault of a rule file.
type Diagnostic struct {
	Level   Level
	Code    Code
	File    string
	Line    int // from 1; 0 when the fault is of the whole file
	Column  int // from 1, in characters
	End     int // the column just after what is wrong, on the same line; 0 when that is not known
	Message string
	Hint    string // what would be right; may be empty
	Excerpt string // the source line, and below it a caret; empty when the fault is of the whole file
}

// Position is file:line:column.
func (d Diagnostic) Position() string {
	if d.Line == 0 {
		return d.File
	}
	return fmt.Sprintf("%s:%d:%d", d.File, d.Line, d.Column)
}

// Error is the position and the message on one line, then the source line with a caret, then the hint.
func (d Diagnostic) Error() string {
	var b strings.Builder
	b.WriteString(d.Summary())
	for line := range strings.Lines(d.Excerpt) {
		b.WriteString("\n    " + strings.TrimRight(line, "\n"))
	}
	if d.Hint != "" {
		b.WriteString("\n  = " + d.Hint)
	}
	return b.String()
}

// Summary is the position and the message, on one line.
func (d Diagnostic) Summary() string {
	switch d.Level {
	case LevelWarning:
		return d.Position() + ": warning: " + d.Message
	case LevelInfo:
		return d.Position() + ": note: " + d.Message
	}
	return d.Position() + ": " + d.Message
}

// Diagnostics are all faults of all files, by position. As an error they hold at least one of LevelError.
type Diagnostics []Diagnostic

// Error is each diagnostic, with an empty line between two.
func (ds Diagnostics) Error() string {
	parts := make([]string, len(ds))
	for i := range ds {
		parts[i] = ds[i].Error()
	}
	return strings.Join(parts, "\n\n")
}

// Errors returns those that keep a service from loading.
func (ds Diagnostics) Errors() Diagnostics { return ds.of(LevelError) }

// Warnings returns those that do not, and most likely should be mended all the same.
func (ds Diagnostics) Warnings() Diagnostics { return ds.of(LevelWarning) }

// Notes returns those that are only worth knowing.
func (ds Diagnostics) Notes() Diagnostics { return ds.of(LevelInfo) }

func (ds Diagnostics) of(l Level) Diagnostics {
	var out Diagnostics
	for _, d := range ds {
		if d.Level == l {
			out = append(out, d)
		}
	}
	return out
}

// sorted orders by file, place, level and text, and drops what is said twice.
func (ds Diagnostics) sorted() Diagnostics {
	slices.SortStableFunc(ds, func(a, b Diagnostic) int {
		return cmp.Or(strings.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column),
			strings.Compare(string(a.Level), string(b.Level)), strings.Compare(a.Message, b.Message), strings.Compare(string(a.Code), string(b.Code)))
	})
	return slices.Compact(ds)
}

// excerptWidth is how much of a long line is shown.
const excerptWidth = 120

// around is the part of a line near a column, and where in it that is: a line may have a million characters, and a hundred faults.
func around(line string, column int) (string, int) {
	const near = 5 * excerptWidth // bytes; more than half of excerptWidth even of the longest characters
	if len(line) <= 2*near {
		return line, column
	}
	from, at := 0, 0
	for i := 1; i < column && at < len(line); i++ {
		_, size := utf8.DecodeRuneInString(line[at:])
		at += size
	}
	if at > near {
		for from = at - near; !utf8.RuneStart(line[from]); from++ {
		}
	}
	to := min(at+near, len(line))
	return line[from:to], 1 + utf8.RuneCountInString(line[from:at])
}

// excerpt shows a line and points at a column of it. Tabs stay tabs below as well, so that the caret stands right however
// wide the terminal makes them.
func excerpt(line string, column int) string {
	line, column = around(strings.TrimRight(line, "\r\n"), column)
	line = strings.ToValidUTF8(line, "\uFFFD")
	at := max(0, min(column-1, utf8.RuneCountInString(line)))
	runes := []rune(line)
	if len(runes) > excerptWidth {
		from := max(0, min(at-excerptWidth/2, len(runes)-excerptWidth))
		to := from + excerptWidth
		cut := slices.Clone(runes[from:to])
		if from > 0 {
			cut[0] = '…'
		}
		if to < len(runes) {
			cut[len(cut)-1] = '…'
		}
		runes, at = cut, at-from
	}
	var b strings.Builder
	for i, r := range runes {
		if r != '\t' && unprintable(r) {
			runes[i] = '\uFFFD'
		}
	}
	b.WriteString(string(runes))
	b.WriteByte('\n')
	for _, r := range runes[:min(at, len(runes))] {
		if r == '\t' {
			b.WriteByte('\t')
		} else {
			b.WriteByte(' ')
		}
	}
	b.WriteByte('^')
	return b.String()
}
