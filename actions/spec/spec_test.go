package spec_test

import (
	"errors"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/modeshift/modeshift/actions/spec"
	"github.com/modeshift/modeshift/engine"
)

var job = engine.StepJob{Key: "checkout-17/repoint", Attempt: 2, Facts: engine.Facts{Scope: "checkout", Change: "checkout-17",
	Transition: "fail-over", From: "degraded", To: "failover", Reason: "a/b ?c&d=e#f %2e"}}

func TestATemplateIsFilledWithTheFacts(t *testing.T) {
	for text, want := range map[string]string{
		"{{.scope}} {{.change}} {{.transition}} {{.from}} {{.to}} {{.key}} {{.attempt}}": "checkout checkout-17 fail-over degraded failover checkout-17/repoint 2",
		"plain": "plain",
		"":      "",
		`{{if eq .to "failover"}}yes{{else}}no{{end}}`:       "yes",
		`{{with .reason}}{{.}}{{else}}none{{end}}`:           "a/b ?c&d=e#f %2e",
		`{{printf "%s-%03d" .scope .attempt}}`:               "checkout-002",
		`{{json .reason}} {{urlquery .reason}}`:              `"a/b ?c\u0026d=e#f %2e" a%2Fb+%3Fc%26d%3De%23f+%252e`,
		`{{$s := .scope}}{{$s}}/{{$.to}}{{/* a comment */}}`: "checkout/failover",
	} {
		tmpl, err := spec.ParseTemplate(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got, err := tmpl.Fill(spec.ValuesOf(job)); err != nil || got != want {
			t.Errorf("%s gives %q, %v; want %q", text, got, err, want)
		}
	}
}

func TestTargetsAreAListWhateverTheirNamesHold(t *testing.T) {
	job := job
	job.Targets = []string{"--force", "$(reboot);", "a\"],[\"b", "line\nend", "<&>é\x00"}
	want := `["--force","$(reboot);","a\"],[\"b","line\nend","<&>é\u0000"]`
	for text, want := range map[string]struct {
		text      string
		of, alone bool
	}{
		"{{.targets}}":               {want, true, true},
		"{{ .targets }}":             {want, true, true},
		"isolate {{.targets}}!":      {"isolate " + want + "!", true, false},
		"{{len .targets}} of them":   {"5 of them", true, false},
		"{{if .targets}}some{{end}}": {"some", true, false},
		`{{printf "%s" .targets}}`:   {want, true, false},
		"{{print .targets}}":         {want, true, false},
		"{{$t := .targets}}{{$t}}":   {want, true, false},
		"{{$.targets}}":              {want, true, false},
		"{{.scope}}":                 {"checkout", false, false},
		"no facts":                   {"no facts", false, false},
	} {
		tmpl, err := spec.ParseTemplate(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		got, err := tmpl.Fill(spec.ValuesOf(job))
		if err != nil || got != want.text || tmpl.OfTargets() != want.of || tmpl.TargetsAlone() != want.alone {
			t.Errorf("%s gives %q, %v, of targets %v, alone %v; want %+v", text, got, err, tmpl.OfTargets(), tmpl.TargetsAlone(), want)
		}
	}
	tmpl, err := spec.ParseURL("https://dns.internal/isolate?hosts={{.targets}}")
	if err != nil {
		t.Fatal(err)
	}
	got, err := tmpl.Fill(spec.ValuesOf(job))
	if err != nil {
		t.Fatal(err)
	}
	if u, err := url.Parse(got); err != nil || u.Query().Get("hosts") != want || len(u.Query()) != 1 {
		t.Errorf("the URL is %s, %v", got, err)
	}
	if tmpl, err := spec.ParseTemplate("{{.targets}}"); err != nil {
		t.Error(err)
	} else if got, err := tmpl.Fill(spec.ValuesOf(engine.StepJob{})); err != nil || got != "[]" {
		t.Errorf("without targets it gives %q, %v", got, err)
	}
}

func TestWhatATemplateCannotSayIsRefusedWhenTheFileIsLoaded(t *testing.T) {
	for text, want := range map[string][2]string{
		"{{.scpoe}}":                   {"there is no fact scpoe", "did you mean scope?"},
		"{{if .nope}}{{end}}":          {"there is no fact nope", "one of attempt, change,"},
		"{{$.nope}}":                   {"there is no fact nope", "one of"},
		"{{if false}}{{.nope}}{{end}}": {"there is no fact nope", "one of"},
		"{{.scope.name}}":              {"can't evaluate field name", "{{.scope}}"},
		"{{range 1000000000}}{{end}}":  {"cannot say range", "if and with"},
		`{{define "x"}}{{end}}`:        {"cannot define", "where it is used"},
		`{{block "x" .}}{{end}}`:       {"cannot define", "where it is used"},
		`{{template "x"}}`:             {"cannot say template", "if and with"},
		"{{call .scope}}":              {"no function call", "one of and, eq"},
		"{{js .scope}}":                {"no function js", "json"},
		"{{_path .scope}}":             {"no function _path", "one of"},
		`{{env "HOME"}}`:               {"cannot be used", "{{.scope}}"},
		"{{.scope":                     {"cannot be used", "{{.scope}}"},
		`{{printf "%65536d" 1}}x`:      {"more than 65536 bytes", "{{.scope}}"},
	} {
		_, err := spec.ParseTemplate(text)
		var e *spec.TemplateError
		if !errors.As(err, &e) || !strings.Contains(e.Message, want[0]) || !strings.Contains(e.Hint, want[1]) {
			t.Errorf("%s gives %+v; want %q", text, err, want)
		}
	}
}

func TestAFactInAURLStaysWhereItWasPut(t *testing.T) {
	tmpl, err := spec.ParseURL("https://dns.internal:8443/a/{{.reason}}/b?x={{.reason}}&y=1")
	if err != nil {
		t.Fatal(err)
	}
	got, err := tmpl.Fill(spec.ValuesOf(job))
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(got)
	if err != nil {
		t.Fatal(err)
	}
	if u.Host != "dns.internal:8443" || u.Path != "/a/"+job.Facts.Reason+"/b" || strings.Count(u.EscapedPath(), "/") != 3 || u.Query().Get("x") != job.Facts.Reason || u.Query().Get("y") != "1" || len(u.Query()) != 2 {
		t.Errorf("the URL is %s", got)
	}
}

func TestAURLThatAFactCouldBendIsRefused(t *testing.T) {
	for text, want := range map[string]string{
		"https://{{.scope}}.internal/x":            "fixed",
		"https://dns.internal{{.scope}}":           "fixed",
		"https://dns.internal:{{.attempt}}/":       "fixed",
		"{{.scope}}://dns.internal/":               "not an http or https URL",
		"ftp://dns.internal/":                      "not an http or https URL",
		"httpx://dns.internal/":                    "not an http or https URL",
		"https:///path":                            "with a host",
		"dns.internal/x":                           "not an http or https URL",
		"":                                         "not an http or https URL",
		"https://user:pw@dns.internal/":            "user or password",
		"https://dns.internal/#{{.scope}}":         "#",
		"https://dns.internal/a/../b":              "segment",
		"https://dns.internal/%2e%2E/b":            "segment",
		"https://dns.internal/{{if .to}}?{{end}}":  "no if",
		"https://dns.internal/{{$x := .to}}":       "no variables",
		"https://dns.internal/{{urlquery .scope}}": "escaped for their place",
		"https://dns.internal/\x00":                "not a URL",
	} {
		if _, err := spec.ParseURL(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q gives %v; want %q", text, err, want)
		}
	}
}

func TestEveryFaultOfAFormComesWithItsPlaceAndAHint(t *testing.T) {
	f := spec.Read([]byte(`{"url": 7, "timout": "1s", "wait": "2x", "long": "3h", "yes": "no", "t": "{{.too}}", "o": [1], "e": ""}`))
	o := f.Root("url", "timeout", "wait", "long", "yes", "t", "o", "e", "need")
	o.Required("need", "such as need: 1")
	_, _, _ = o.URL("url"), o.Text("e"), o.Duration("wait", time.Second, time.Hour)
	_, _, _ = o.Duration("long", time.Second, time.Hour), o.Bool("yes", true), o.Template("t")
	_ = o.Object("o", "a", "b")
	want := []engine.SpecProblem{
		{Path: []string{"timout"}, Message: "there is no timout here", Hint: "did you mean timeout?"},
		{Path: nil, Message: "need is missing", Hint: "such as need: 1"},
		{Path: []string{"url"}, Message: "this has to be a text, and is the number 7", Hint: "put it into quotes"},
		{Path: []string{"e"}, Message: "e is empty", Hint: "leave it out, or say what it is"},
		{Path: []string{"wait"}, Message: `"2x" is not a duration`, Hint: "such as 30s or 2m"},
		{Path: []string{"long"}, Message: "long has to be above 0 and at most 1h0m0s"},
		{Path: []string{"yes"}, Message: "this has to be true or false, and is a text"},
		{Path: []string{"t"}, Message: "there is no fact too", Hint: "did you mean to?"},
		{Path: []string{"o"}, Message: "this has to be a mapping, and is a list", Hint: "with a, b"},
	}
	if !reflect.DeepEqual(f.Problems, want) {
		t.Errorf("the faults are\n%q\nwant\n%q", f.Problems, want)
	}
	if f.Canonical() != nil {
		t.Error("a form with faults has a canonical text")
	}
}

func TestEqualSpecificationsHaveOneCanonicalText(t *testing.T) {
	a, b := spec.Read([]byte(` {"b": {"y": 1.50, "x": "<&>"}, "a": [1, 2]} `)), spec.Read([]byte(`{"a":[1,2],"b":{"x":"<&>","y":1.50}}`))
	if got, want := string(a.Canonical()), `{"a":[1,2],"b":{"x":"<&>","y":1.50}}`; got != want || string(b.Canonical()) != want {
		t.Errorf("the texts are %s and %s, want %s", got, b.Canonical(), want)
	}
}

func TestWhatIsNoSpecificationIsOneFault(t *testing.T) {
	for _, text := range []string{"", "{", "[]", "7", "null", "{} {}", strings.Repeat(" ", 256<<10) + "{}"} {
		f := spec.Read([]byte(text))
		o := f.Root("a")
		_ = o.Text("a")
		if len(f.Problems) != 1 {
			t.Errorf("%.20q has the faults %q", text, f.Problems)
		}
	}
}

func FuzzATemplateNeverBreaksOutOfAURL(f *testing.F) {
	f.Add("https://h/{{.reason}}?{{.reason}}", "../x?y#z")
	f.Add("https://h/a{{.reason}}", "\x00\n{{.scope}}")
	f.Fuzz(func(t *testing.T, text, reason string) {
		tmpl, err := spec.ParseURL(text)
		if err != nil {
			return
		}
		j := job
		j.Facts.Reason = ""
		plain, err := tmpl.Fill(spec.ValuesOf(j))
		if err != nil {
			t.Skip()
		}
		j.Facts.Reason = reason
		got, err := tmpl.Fill(spec.ValuesOf(j))
		if err != nil {
			t.Skip() // too long
		}
		a, errA := url.Parse(plain)
		b, errB := url.Parse(got)
		if errA != nil || errB != nil || a.Scheme != b.Scheme || a.Host != b.Host || b.User != nil || b.Fragment != "" || strings.Count(a.EscapedPath(), "/") != strings.Count(b.EscapedPath(), "/") ||
			strings.Count(a.RawQuery, "&") != strings.Count(b.RawQuery, "&") {
			t.Errorf("%q with %q gives %q (%v, %v)", text, reason, got, errA, errB)
		}
	})
}
