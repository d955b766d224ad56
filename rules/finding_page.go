package rules

import (
	_ "embed"
	"strings"
)

//go:embed FINDINGS.md
var findingsPage string

// Explanation is the section of FINDINGS.md on a finding.
type Explanation struct {
	Code     Code   `json:"code"`
	Severity Level  `json:"severity"`
	Summary  string `json:"summary"` // its first sentence
	Text     string `json:"text"`    // all of it, as Markdown
}

// Explanations are the sections of FINDINGS.md, in its order.
func Explanations() []Explanation {
	var out []Explanation
	for _, section := range strings.Split(findingsPage, "\n## ")[1:] {
		code, text, _ := strings.Cut(section, "\n")
		e := Explanation{Code: Code(code), Text: strings.TrimSpace(text)}
		word, rest, _ := strings.Cut(e.Text, " ")
		switch word {
		case "Warning.":
			e.Severity = LevelWarning
		case "Note.":
			e.Severity = LevelInfo
		default: // Error, found with `--prometheus`.
			e.Severity = LevelError
			_, rest, _ = strings.Cut(rest, ". ")
		}
		first, _, _ := strings.Cut(strings.Join(strings.Fields(rest), " "), ". ")
		first, _, _ = strings.Cut(first, " ```")
		e.Summary = strings.TrimSuffix(first, ".")
		out = append(out, e)
	}
	return out
}

// NearestCode is the code of a finding that somebody most likely meant.
func NearestCode(text string) (Code, bool) {
	var codes []string
	for _, e := range Explanations() {
		codes = append(codes, string(e.Code))
	}
	near, ok := nearest(text, codes)
	return Code(near), ok
}
