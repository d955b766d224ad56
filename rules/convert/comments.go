package convert

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/modeshift/modeshift/rules"
)

// Comments of a file are what its people know and no key says: why an objective is what it is, whom a label reaches. They are carried
// over to where the same thing stands in the rule file, those with an SLO, its alerts, its labels and the service; of what has no place
// there they go to the head of its SLO. The others are told of, with their lines.

// comment is one in a file.
type comment struct {
	line, column int
	text         string // with its #
	alone        bool   // nothing it could be about stands before it
	indent       int    // of its line
	ours         bool   // it was carried over
}

// remark is a comment on its way into a rule file.
type remark struct {
	path  []string // of our keys, below the SLO or the service; of theirs, where we have none
	text  string
	alone bool
	ends  bool // it stands behind what it is about, on a line of its own
}

// spot is a key, or an item of a list, in a file: something a comment can stand with.
type spot struct {
	line, column int
	path         []string
	slo          *slo
	service      string // where it is of no SLO; empty: of nothing that is carried over
}

// breaks are the ends of lines as YAML knows them. A comment that went on behind one would be no comment in the rule file.
var breaks = regexp.MustCompile("\r\n|[\n\r\u0085\u2028\u2029]")

// carry gives the comments of all files to what they stand with, and tells of the others.
func (im *importer) carry() {
	for i, f := range im.sources {
		lines := breaks.Split(string(f.Data), -1)
		all := commentsOf(lines)
		if len(all) == 0 {
			continue
		}
		spots := im.spots(im.files[i].Documents())
		for k := range all {
			c := &all[k]
			at, ends := standsWith(c, spots, lines)
			if at == nil || at.slo == nil && at.service == "" {
				continue
			}
			c.ours = true
			r := remark{at.path, c.text, c.alone, ends}
			if ends && c.indent < at.column-1 { // what it ends is around that
				r.path = nil
			}
			if at.slo != nil {
				r.path = ours(r.path)
				at.slo.remarks = append(at.slo.remarks, r)
			} else {
				im.remarks[at.service] = append(im.remarks[at.service], r)
			}
		}
		im.left(f.Name, all)
	}
	for _, f := range im.opts.Windows {
		im.left(f.Name, commentsOf(breaks.Split(string(f.Data), -1)))
	}
}

// left tells of comments that are not carried over.
func (im *importer) left(file string, all []comment) {
	all = slices.DeleteFunc(all, func(c comment) bool { return c.ours })
	if len(all) == 0 {
		return
	}
	d := Difference{Kind: Dropped, Code: "comments", File: file, Line: all[0].line, Column: all[0].column, Message: "a comment is not carried over"}
	if len(all) > 1 {
		at := make([]string, len(all))
		for i, c := range all {
			at[i] = strconv.Itoa(c.line)
		}
		last := len(at) - 1
		d.Message = fmt.Sprintf("%d comments are not carried over, on the lines %s and %s", len(all), strings.Join(at[:last], ", "), at[last])
	}
	im.diffs = append(im.diffs, d)
}

// spots are those of a file, in its order.
func (im *importer) spots(docs []rules.Node) []spot {
	slos := map[rules.Node]*slo{}
	for _, s := range im.slos {
		if slos[s.root] == nil { // of several objectives the first has the comments of all
			slos[s.root] = s
		}
	}
	var out []spot
	var walk func(n rules.Node, at spot)
	walk = func(n rules.Node, at spot) {
		if s := slos[n]; s != nil {
			at.slo, at.path = s, nil
		} else if service := im.tops[n]; service != "" {
			at.service, at.path = service, nil
		}
		below := func(what rules.Node, name string) (spot, bool) {
			p := what.Place()
			next := spot{p.Line, p.Column, append(slices.Clone(at.path), name), at.slo, at.service}
			return next, p.Line >= at.line && len(next.path) < maxDepth // what an alias stands for has comments where it is written
		}
		values := n.Items()
		for i, k := range n.Keys() {
			if next, ok := below(k, k.Raw()); ok {
				out = append(out, next)
				walk(values[i], next)
			}
		}
		if n.IsList() {
			for i, item := range values {
				if next, ok := below(item, strconv.Itoa(i)); ok {
					if s := slos[item]; s != nil {
						next.slo, next.path = s, nil
					}
					out = append(out, next)
					walk(item, next)
				}
			}
		}
	}
	for _, doc := range docs {
		walk(doc, spot{line: doc.Place().Line})
	}
	slices.SortStableFunc(out, func(a, b spot) int { return cmp.Or(cmp.Compare(a.line, b.line), cmp.Compare(a.column, b.column)) })
	return out
}

// maxDepth is how deep the keys lie that a comment may be about.
const maxDepth = 20

// standsWith finds what a comment is about: what stands before it on its line, or else what follows it, unless that is less
// indented; then it ends what went before. nil where there is nothing in its document.
func standsWith(c *comment, spots []spot, lines []string) (at *spot, ends bool) {
	i, _ := slices.BinarySearchFunc(spots, c.line, func(s spot, line int) int { return cmp.Or(cmp.Compare(s.line, line), -1) })
	var before, after *spot // i is the first on a later line
	if i > 0 && !parted(lines[spots[i-1].line-1:c.line]) {
		before = &spots[i-1]
	}
	if i < len(spots) && !parted(lines[c.line:spots[i].line]) {
		after = &spots[i]
	}
	switch {
	case !c.alone && before != nil:
		return before, false
	case after == nil || before != nil && c.indent > indent(lines[after.line-1]):
		return before, true
	}
	return after, false
}

// parted reports whether a document ends in lines.
func parted(lines []string) bool {
	return slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, "---") || strings.HasPrefix(l, "...") })
}

func indent(line string) int { return len(line) - len(strings.TrimLeft(line, " ")) }

// ours is the path of a key below an SLO as a rule file has it; their own where it has none. Keys in camel case are a manifest's.
func ours(path []string) []string {
	out := slices.Clone(path)
	if len(out) == 1 && (out[0] == "apiVersion" || out[0] == "kind" || out[0] == "metadata" || out[0] == "spec") {
		return nil // it is about all of the manifest
	}
	if len(out) > 1 && (out[0] == "metadata" || out[0] == "spec") { // of OpenSLO and Pyrra
		switch out[1] {
		case "labels", "name", "description", "target":
			out = out[1:]
		case "annotations":
			out[0] = "alerting"
		case "objectives":
			if len(out) == 4 && strings.HasPrefix(out[3], "target") {
				out = []string{"objective"}
			}
		case "window", "timeWindow":
			out = []string{"period"}
		}
		if out[0] == "target" {
			out[0] = "objective"
		}
		for i := range out {
			if i > 0 && (out[i-1] == "labels" || out[i-1] == "annotations") {
				out[i] = strings.TrimPrefix(strings.TrimPrefix(out[i], pyrraPrefix), "label.osko.dev/")
			}
		}
		return out
	}
	for i := range out {
		if i > 0 && (out[i-1] == "labels" || out[i-1] == "annotations") {
			break // theirs are names of their own
		}
		out[i] = upper.ReplaceAllStringFunc(out[i], func(s string) string { return "_" + strings.ToLower(s) })
	}
	return out
}

var upper = regexp.MustCompile(`[A-Z]`)

// commentsOf finds the comments in the lines of a file that is YAML: every # at the beginning of a line or behind a space that stands
// neither in quotes nor in a block.
func commentsOf(lines []string) (out []comment) {
	var s scanner
	for i, line := range lines {
		if i == 0 {
			line = strings.TrimPrefix(line, "\ufeff")
		}
		if at := s.line(line); at >= 0 {
			out = append(out, comment{line: i + 1, column: at + 1, indent: indent(line), text: strings.TrimRight(line[at:], " \t"),
				alone: strings.Trim(line[:at], "- \t") == ""})
		}
	}
	return out
}

// scanner knows what a line of YAML begins in.
type scanner struct {
	quote byte // that is open
	flow  int  // brackets and braces that are open
	plain int  // the indent of what an unquoted text that may go on belongs to, plus one; 0: there is none
	block int  // likewise, of a block
	least int  // the indent of the block's lines; 0: its first line says
}

// line scans a line, and returns where its comment begins; -1 where there is none.
func (s *scanner) line(line string) int {
	in := indent(line)
	if s.block > 0 {
		switch {
		case strings.TrimSpace(line) == "":
			return -1
		case s.least == 0 && in >= s.block:
			s.least = in
			return -1
		case s.least > 0 && in >= s.least:
			return -1
		}
		s.block = 0
	}
	begins := s.flow > 0 || s.plain == 0 || in < s.plain // a text of its own may begin here
	parent := in
	for i := 0; i < len(line); i++ {
		c := line[i]
		space := i+1 == len(line) || line[i+1] == ' ' || line[i+1] == '\t'
		switch {
		case s.quote == '"' && c == '\\':
			i++
		case s.quote == '\'' && c == '\'' && i+1 < len(line) && line[i+1] == '\'':
			i++
		case s.quote != 0:
			if c == s.quote {
				s.quote, begins = 0, false
			}
		case c == ' ' || c == '\t':
		case c == '#' && (i == 0 || line[i-1] == ' ' || line[i-1] == '\t'):
			if strings.TrimSpace(line[:i]) != "" {
				s.end(line[:i], begins, parent)
			} else {
				s.plain = 0 // a comment ends a text
			}
			return i
		case begins && (c == '"' || c == '\''):
			s.quote = c
		case begins && (c == '|' || c == '>') && s.flow == 0:
			rest := strings.TrimLeft(line[i+1:], "+-0123456789")
			s.block, s.least, s.plain = parent+1, 0, 0
			if strings.TrimSpace(line[:i]) != "" && strings.HasSuffix(strings.TrimRight(line[:i], " \t"), "-") {
				s.block = strings.LastIndexByte(line[:i], '-') + 1
			}
			if at := strings.IndexByte(rest, '#'); at > 0 {
				return len(line) - len(rest) + at
			}
			return -1
		case begins && (c == '&' || c == '!' || c == '*'): // what it marks begins behind it
			for i+1 < len(line) && line[i+1] != ' ' && line[i+1] != '\t' && (s.flow == 0 || !strings.ContainsRune(",]}", rune(line[i+1]))) {
				i++
			}
		case (c == '[' || c == '{') && (begins || s.flow > 0):
			s.flow++
			begins = true
		case (c == ']' || c == '}') && s.flow > 0:
			s.flow--
			begins = false
		case c == ',' && s.flow > 0:
			begins = true
		case c == ':' && (space || s.flow > 0 && i > 0 && (line[i-1] == '"' || line[i-1] == '\'')):
			begins = true
		case (c == '-' || c == '?') && begins && space && s.flow == 0:
			for parent = i + 1; parent < len(line) && line[parent] == ' '; parent++ {
			}
		default:
			begins = false
		}
	}
	if strings.TrimSpace(line) != "" {
		s.end(line, begins, parent)
	}
	return -1
}

// end notes whether a text may go on below.
func (s *scanner) end(line string, begins bool, parent int) {
	line = strings.TrimRight(line, " \t")
	s.plain = 0
	if s.quote == 0 && s.flow == 0 && !begins && !strings.HasSuffix(line, `"`) && !strings.HasSuffix(line, "'") && !strings.HasPrefix(line, "---") {
		s.plain = parent + 1
	}
}
