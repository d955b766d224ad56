package rules

import (
	"sort"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// source is the text of one file, with \n line ends and no byte order mark, and where its lines begin.
type source struct {
	name   string
	text   string
	starts []int // byte offset of each line
}

func newSource(name, text string) *source {
	text = strings.TrimPrefix(text, "\uFEFF")
	text = strings.ReplaceAll(text, "\r\n", "\n")
	text = strings.ReplaceAll(text, "\r", "\n")
	s := &source{name: name, text: text, starts: []int{0}}
	for i := range len(text) {
		if text[i] == '\n' {
			s.starts = append(s.starts, i+1)
		}
	}
	return s
}

// line returns line n, counted from 1, without its end; empty when there is none.
func (s *source) line(n int) string {
	if n < 1 || n > len(s.starts) {
		return ""
	}
	if n < len(s.starts) {
		return s.text[s.starts[n-1] : s.starts[n]-1]
	}
	return s.text[s.starts[n-1]:]
}

// offset is the byte at which a line's column begins; columns count characters from 1.
func (s *source) offset(line, column int) int {
	if line < 1 || line > len(s.starts) {
		return len(s.text)
	}
	at := s.starts[line-1]
	for range column - 1 {
		if at >= len(s.text) || s.text[at] == '\n' {
			break
		}
		_, size := utf8.DecodeRuneInString(s.text[at:])
		at += size
	}
	return at
}

// place is the line and column of a byte.
func (s *source) place(offset int) (line, column int) {
	offset = max(0, min(offset, len(s.text)))
	line = sort.Search(len(s.starts), func(i int) bool { return s.starts[i] > offset })
	return line, utf8.RuneCountInString(s.text[s.starts[line-1]:offset]) + 1
}

// diagnostic makes one that points at a place.
func (s *source) diagnostic(level Level, line, column int, message, hint string) Diagnostic {
	text := s.line(line)
	return Diagnostic{Level: level, File: s.name, Line: line, Column: column, End: endOfWord(text, column), Message: printable(message), Hint: printable(hint),
		Excerpt: excerpt(text, column)}
}

// printable is what a message repeats of a file, or a parser does, as far as it does nothing to a terminal.
func printable(text string) string {
	return strings.Map(func(c rune) rune {
		switch {
		case c == '\n' || c == '\t':
			return ' '
		case unprintable(c):
			return '\uFFFD'
		}
		return c
	}, strings.ToValidUTF8(text, "\uFFFD"))
}

// unprintable reports whether a terminal would do something else than show a character: obey it, or turn the text around it.
func unprintable(c rune) bool { return unicode.IsControl(c) || unicode.Is(unicode.Bidi_Control, c) }

// endOfWord is the column just after the word that begins at a column of a line: after the closing quote of one in quotes; 0 when
// nothing begins there. It is for editors, which underline what is wrong.
func endOfWord(line string, column int) int {
	for i := 1; i < column && line != ""; i++ {
		_, size := utf8.DecodeRuneInString(line)
		line = line[size:]
	}
	if column < 1 || line == "" || isSpace(line[0]) {
		return 0
	}
	if line[0] == '"' || line[0] == '\'' {
		if i := strings.IndexByte(line[1:], line[0]); i >= 0 {
			return column + utf8.RuneCountInString(line[:i+2])
		}
	}
	_, size := utf8.DecodeRuneInString(line)
	if i := strings.IndexAny(line[size:], " \t,:{}[]()\"'#"); i >= 0 {
		line = line[:size+i]
	}
	return column + utf8.RuneCountInString(line)
}

// within is the place of byte off of a scalar's value: in a quoted or folded scalar the two differ, because of escapes,
// indentation and folded lines. Where the way back is not certain it is the scalar's beginning.
func (s *source) within(n *node, off int) (line, column int) {
	if n.kind != yaml.ScalarNode || off < 0 || off > len(n.value) {
		return n.line, n.column
	}
	w := unfolder{text: s.text, at: s.offset(n.line, n.column)}
	if !w.scalar(n.value) {
		return n.line, n.column
	}
	if off < len(w.from) {
		return s.place(w.from[off])
	}
	return s.place(w.end)
}

// unfolder reads a scalar from the source once more, the way YAML does, and notes which byte of the source each byte of its
// value came from.
type unfolder struct {
	text string
	at   int

	value []byte
	from  []int
	end   int // just after the last byte used
}

// scalar reads the scalar that begins at w.at and reports whether it came to the value that the YAML parser saw.
func (w *unfolder) scalar(value string) bool {
	for w.at < len(w.text) && (w.text[w.at] == '&' || w.text[w.at] == '!') { // an anchor or a tag comes first
		for w.at < len(w.text) && !isSpace(w.text[w.at]) {
			w.at++
		}
		for w.at < len(w.text) && isSpace(w.text[w.at]) {
			w.at++
		}
	}
	if w.at >= len(w.text) {
		return value == ""
	}
	switch w.text[w.at] {
	case '"':
		w.at++
		w.flow(len(value), '"')
	case '\'':
		w.at++
		w.flow(len(value), '\'')
	case '|', '>':
		return w.block(value)
	default:
		w.flow(len(value), 0)
	}
	w.end = w.at
	return string(w.value) == value
}

func (w *unfolder) put(from int, s string) {
	for i := range len(s) {
		w.value = append(w.value, s[i])
		w.from = append(w.from, from)
	}
}

// flow reads a plain (quote 0) or quoted scalar until it has n bytes.
func (w *unfolder) flow(n int, quote byte) {
	for len(w.value) < n && w.at < len(w.text) {
		c := w.text[w.at]
		switch {
		case isSpace(c):
			w.space()
		case c == '\'' && quote == '\'':
			w.put(w.at, "'") // written twice
			w.at += 2
		case c == '"' && quote == '"':
			return
		case c == '\\' && quote == '"':
			w.escape()
		default:
			w.put(w.at, w.text[w.at:w.at+1])
			w.at++
		}
	}
}

// space reads blanks: kept within a line; at its end one line break becomes a space and each further one a line break.
func (w *unfolder) space() {
	from, breaks := w.at, 0
	for w.at < len(w.text) && isSpace(w.text[w.at]) {
		if w.text[w.at] == '\n' {
			breaks++
		}
		w.at++
	}
	switch breaks {
	case 0:
		for i := from; i < w.at; i++ {
			w.put(i, w.text[i:i+1])
		}
	case 1:
		w.put(from, " ")
	default:
		w.put(from, strings.Repeat("\n", breaks-1))
	}
}

var escapes = map[byte]string{'0': "\x00", 'a': "\a", 'b': "\b", 't': "\t", '\t': "\t", 'n': "\n", 'v': "\v", 'f': "\f",
	'r': "\r", 'e': "\x1b", ' ': " ", '"': `"`, '/': "/", '\\': `\`, 'N': "\u0085", '_': "\u00a0", 'L': "\u2028", 'P': "\u2029"}

func (w *unfolder) escape() {
	from := w.at
	w.at++
	if w.at >= len(w.text) {
		return
	}
	c := w.text[w.at]
	w.at++
	digits := map[byte]int{'x': 2, 'u': 4, 'U': 8}[c]
	switch {
	case c == '\n': // the line goes on in the next one
		for w.at < len(w.text) && isSpace(w.text[w.at]) {
			if w.text[w.at] == '\n' {
				w.put(w.at, "\n")
			}
			w.at++
		}
	case digits > 0:
		var r rune
		for range digits {
			if w.at >= len(w.text) {
				return
			}
			r = r<<4 | rune(hexDigit(w.text[w.at]))
			w.at++
		}
		w.put(from, string(r))
	default:
		w.put(from, escapes[c])
	}
}

func hexDigit(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return 0
}

// block reads a literal or folded scalar. How deep it is indented is tried from the depth of its first line outwards, since
// an explicit indentation counts from a parent that is not known here.
func (w *unfolder) block(value string) bool {
	folded := w.text[w.at] == '>'
	i := strings.IndexByte(w.text[w.at:], '\n')
	if i < 0 {
		return value == ""
	}
	first := w.at + i + 1
	if strings.Trim(value, "\n") == "" { // empty lines only: there is no first line to learn the depth from
		w.put(first, value)
		w.end = first
		return true
	}
	deepest := 0
	for line := range strings.Lines(w.text[first:]) {
		deepest = len(line) - len(strings.TrimLeft(line, " "))
		if deepest < len(strings.TrimRight(line, "\n")) {
			break
		}
	}
	for indent := deepest; indent >= 1; indent-- {
		w.at, w.value, w.from = first, nil, nil
		w.blockLines(indent, folded)
		if strings.TrimRight(string(w.value), "\n") == strings.TrimRight(value, "\n") {
			return true
		}
	}
	return false
}

// blockLines follows the block scalar production of YAML 1.2, §8.1: in a folded one the break between two lines that are
// not indented further becomes a space, unless empty lines follow it.
func (w *unfolder) blockLines(indent int, folded bool) {
	breakAt, wasBlank := -1, false // of the line before; -1 when there is none
	var empty []int                // offsets of the empty lines since
	for w.at < len(w.text) {
		stop := len(w.text)
		if i := strings.IndexByte(w.text[w.at:], '\n'); i >= 0 {
			stop = w.at + i
		}
		line := w.text[w.at:stop]
		lead := len(line) - len(strings.TrimLeft(line, " "))
		if lead == len(line) && lead <= indent {
			empty = append(empty, w.at)
			w.at = min(stop+1, len(w.text))
			if stop == len(w.text) {
				break
			}
			continue
		}
		if lead < indent {
			break
		}
		content := line[indent:]
		blank := content[0] == ' ' || content[0] == '\t'
		switch {
		case breakAt < 0:
		case folded && !wasBlank && !blank:
			if len(empty) == 0 {
				w.put(breakAt, " ")
			}
		default:
			w.put(breakAt, "\n")
		}
		for _, at := range empty {
			w.put(at, "\n")
		}
		empty = nil
		for i := range len(content) {
			w.put(w.at+indent+i, content[i:i+1])
		}
		w.end = stop
		breakAt, wasBlank = stop, blank
		if stop == len(w.text) {
			break
		}
		w.at = stop + 1
	}
	if breakAt >= 0 {
		w.put(breakAt, "\n")
	}
	for _, at := range empty {
		w.put(at, "\n")
	}
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\n' }
