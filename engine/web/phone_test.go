package web_test

import (
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/modeshift/modeshift/engine/approval"
)

// narrowest is the width of a small phone, in CSS pixels.
const narrowest = 360

var (
	widths  = regexp.MustCompile(`(?:^|[;{ ])(min-width|width|left|margin-left|padding|margin):\s*([^;}]+)`)
	lengths = regexp.MustCompile(`([\d.]+)(px|rem|em|ch|vw)`)
)

// A browser is not at hand here, so this holds the rules that keep a page within a phone: nothing in the style sheet is wider, long
// words break, and nothing on the page is of a kind that does not wrap. (Measured once in Chromium: no page of this test scrolls
// sideways at 360 or at 320 pixels.)
func TestNoPageIsWiderThanAPhone(t *testing.T) {
	s := open(t, nil)
	s.world.Select(t, 2)
	word := strings.Repeat("verylonghostname", 20)
	s.targets = approval.Targets{Selector: "the values of instance in up{job=\"" + word + "\"}", Max: 2, Found: 30, Names: []string{"a", word}}
	p := s.world.Propose(t)
	b := s.browser(t)
	check := func(where string) {
		t.Helper()
		if !strings.Contains(b.page, `<meta name="viewport" content="width=device-width, initial-scale=1">`) {
			t.Errorf("%s: a phone would show it as on a desk", where)
		}
		_, style, _ := strings.Cut(b.page, "<style")
		style, _, _ = strings.Cut(style, "</style>")
		for _, rule := range []string{"header, main, footer {", "pre, code {"} {
			_, body, found := strings.Cut(style, rule)
			body, _, _ = strings.Cut(body, "}")
			if !found || !strings.Contains(body, "overflow-wrap: anywhere") {
				t.Errorf("%s: long words do not break in %s", where, rule)
			}
		}
		// What a media query asks of a wider screen is not for this one.
		style = regexp.MustCompile(`@media \(min-width:[^{]*\{[^{}]*\{[^{}]*\}\s*\}`).ReplaceAllString(style, "")
		for _, m := range widths.FindAllStringSubmatch(style, -1) {
			for _, l := range lengths.FindAllStringSubmatch(m[2], -1) {
				n, err := strconv.ParseFloat(l[1], 64)
				if err != nil {
					t.Fatal(err)
				}
				if l[2] != "px" {
					n *= 18 // the page's own size of letters
				}
				if n >= narrowest && m[1] != "left" { // what is put to the left of the page scrolls nothing
					t.Errorf("%s: %s: %s is wider than a phone", where, m[1], m[2])
				}
			}
		}
		if !strings.Contains(style, "white-space: pre-wrap") || strings.Contains(style, "nowrap") {
			t.Errorf("%s: some text does not wrap", where)
		}
		for _, tag := range []string{"<table", "<img", "<iframe", "<script", " style=", " width=", " size=", " cols="} {
			if strings.Contains(b.page, tag) {
				t.Errorf("%s: %s", where, tag)
			}
		}
	}
	b.get("/approvals")
	check("signing in")
	b.signIn("canary-bob")
	b.get("/approvals")
	check("the list")
	b.get(path(p))
	check("a proposal")
	b.do("POST", path(p), url.Values{"form": {"x"}, "digest": {"x"}, "verdict": {"yes"}, "reason": {word}}, nil)
	check("a refusal")
	f := b.form2(path(p), "no", word)
	b.do("POST", path(p), f, nil)
	b.get(path(p))
	check("an end")
}
