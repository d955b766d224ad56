package outline_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/modeshift/modeshift/engine/outline"
)

// said are the differences, a line each.
func said(before, after *outline.Service) (out []string) {
	for _, d := range outline.Compare(before, after) {
		words := []string{string(d.What), string(d.Kind), d.Name, d.Field, d.Old, "→", d.New, "at", d.Position}
		out = append(out, strings.Join(slices.DeleteFunc(words, func(w string) bool { return w == "" }), " "))
	}
	return out
}

func TestADifferenceIsSaidInTheWordsOfTheFileWithItsPlace(t *testing.T) {
	before := compiled(t, strict)
	for _, c := range []struct{ name, old, new, want string }{
		{"a value", "within: 15m, otherwise: page", "within: 20m, otherwise: page", "changed transition fail-over approval.within 15m → 20m at shop.yaml:90:84"},
		{"a value that is not there any more", "    min_duration: 5m\n", "", "changed mode degraded min_duration 5m → at shop.yaml:42:5"},
		{"a value that was not there", "  - name: contained\n", "  - name: contained\n    max_duration: 1h\n", "changed mode contained max_duration → 1h at shop.yaml:57:19"},
		{"a number in a condition", `"10m") > 0.1`, `"10m") > 0.2`, `changed transition shed when error_ratio("availability", "10m") > 0.1 → error_ratio("availability", "10m") > 0.2 at shop.yaml:63:11`},
		{"a step", "json: {to: eu-2}", "json: {to: eu-3}", `changed action fail-over/repoint does`},
		{"an order", repoint + fence, fence + repoint, "changed transition fail-over actions announce, repoint, fence, clear → announce, fence, repoint, clear"},
		{"a name", "  - name: contain\n", "  - name: shut\n", "changed transition shut name contain → shut at shop.yaml:108:5"},
		{"what is new in an order changes none", "  - name: contained\n", "  - name: contained\n  - name: closed\n", "added mode closed → at shop.yaml:57:5"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if !strings.Contains(strict, c.old) {
				t.Fatalf("%q is not in the file", c.old)
			}
			got := said(before, compiled(t, strings.Replace(strict, c.old, c.new, 1)))
			if len(got) != 1 || !strings.HasPrefix(got[0], c.want) {
				t.Errorf("%q\nwant %q", got, c.want)
			}
		})
	}
	if got := said(before, before); got != nil {
		t.Errorf("the same differs: %q", got)
	}
}

func TestWhatDiffersAndHasNoNameIsSaidAllTheSame(t *testing.T) {
	before, after := compiled(t, strict), compiled(t, strict)
	after.Digest = "0123456789abcdef"
	got := outline.Compare(before, after)
	if len(got) != 1 || got[0].Field != "rules" || got[0].New != "0123456789ab" || len(got[0].Loosens) != 1 || got[0].Loosens[0].Code != "unnamed" {
		t.Errorf("%+v", got)
	}
}
