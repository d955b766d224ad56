package rules

import (
	"strings"
	"testing"
)

func TestAValueIsReplacedWhereItIsWritten(t *testing.T) {
	text := `a: 14.4 # 14.4
b: ["x", 'it''s 14.4', "say \"14.4\""]
c: |
  first 14.4
  14.4 second
d: >-
  folded
  14.4
e: &anchor {f: 14.4}
g: *anchor
`
	var got []string
	for _, s := range Scalars(File{Name: "a.yaml", Data: []byte(text)}) {
		for at := 0; ; {
			i := strings.Index(s.Value[at:], "14.4")
			if i < 0 {
				break
			}
			at += i
			data, line, column, ok := s.With(at, at+4, "28.8")
			if !ok {
				t.Fatalf("%q cannot be replaced", s.Value)
			}
			if lines := strings.Split(string(data), "\n"); !strings.Contains(lines[line-1][column-1:], "28.8") || strings.Count(string(data), "14.4") != strings.Count(text, "14.4")-1 {
				t.Errorf("at %d:%d:\n%s", line, column, data)
			}
			got = append(got, strings.Join(s.Path, "."))
			at += 4
		}
	}
	if s := strings.Join(got, " "); s != "a b. b. c c d e.f" {
		t.Errorf("replaced in %s", s)
	}
}

func TestWhatIsWrittenOtherwiseThanItReadsIsLeft(t *testing.T) {
	for _, text := range []string{`a: "\x3c 1"`, "a: >-\n  x <\n  = 1\n"} {
		s := Scalars(File{Name: "a.yaml", Data: []byte(text)})[0]
		i := strings.IndexByte(s.Value, '<')
		if _, _, _, ok := s.With(i, i+3, "> "); ok {
			t.Errorf("%s: %q was replaced", text, s.Value)
		}
	}
	if list := Scalars(File{Name: "a.yaml", Data: []byte("a: [")}); len(list) != 0 {
		t.Errorf("%v", list)
	}
}
