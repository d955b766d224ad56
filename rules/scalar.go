package rules

import (
	"slices"

	"go.yaml.in/yaml/v3"
)

// Scalar is a value of a rule file, with the way to it and its places in the text.
type Scalar struct {
	Document int      // its index in the file
	Path     []string // keys, and an empty string for each list
	Item     []int    // the index in each list of the path
	Value    string   // as YAML has it

	src  *source
	from []int // the byte of the text that each byte of the value came from; nil where that is not certain
}

// Scalars are the values of a rule file in the order of the text, those of keys left out. An anchor's values are there once. The
// file has to be YAML; of one that is not there are none.
func Scalars(f File) []Scalar {
	r := &reader{src: newSource(f.Name, string(f.Data))}
	var out []Scalar
	seen := map[int]bool{}
	document := 0
	var walk func(n *node, path []string, item []int)
	walk = func(n *node, path []string, item []int) {
		switch {
		case n.kind == yaml.ScalarNode:
			at := r.src.offset(n.line, n.column)
			if seen[at] {
				return
			}
			seen[at] = true
			s := Scalar{Document: document, Path: slices.Clone(path), Item: slices.Clone(item), Value: n.value, src: r.src}
			if w := (unfolder{text: r.src.text, at: at}); w.scalar(n.value) {
				s.from = w.from
			}
			out = append(out, s)
		case n.keys != nil:
			for i, k := range n.keys {
				walk(n.items[i], append(path, k.value), item)
			}
		default:
			for i, o := range n.items {
				walk(o, append(path, ""), append(item, i))
			}
		}
	}
	for i, n := range r.parse(f) {
		document = i
		walk(n, nil, nil)
	}
	return out
}

// With is the file with other text in place of bytes from from to to of the value, and the line and column where that is; false
// where the text is not written as the value is, by an escape or a folded line. What is put in has to be free of characters that
// mean something to YAML.
func (s *Scalar) With(from, to int, text string) (data []byte, line, column int, ok bool) {
	if from < 0 || from >= to || to > len(s.from) {
		return nil, 0, 0, false
	}
	start := s.from[from]
	for i := from; i < to; i++ {
		if s.from[i] != start+i-from || s.src.text[s.from[i]] != s.Value[i] {
			return nil, 0, 0, false
		}
	}
	line, column = s.src.place(start)
	return slices.Concat([]byte(s.src.text[:start]), []byte(text), []byte(s.src.text[start+to-from:])), line, column, true
}
