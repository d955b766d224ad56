package webhook_test

import (
	"encoding/json"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestTargetsArriveAsAListWhateverTheirLabelsHold(t *testing.T) {
	s := newTarget(t, nil)
	k := kind(t)
	job := step(t, k, `{"url": "`+s.URL+`/?hosts={{.targets}}", "json": {"hosts": "{{.targets}}", "text": "on {{.targets}}", "n": "{{len .targets}}", "fixed": 1}}`)
	form := step(t, k, `{"url": "`+s.URL+`/", "form": {"hosts": "{{.targets}}", "fixed": "1"}}`)
	var labels []string
	for _, text := range hostile {
		if utf8.ValidString(text) { // a label of Prometheus is
			labels = append(labels, text)
		}
	}
	slices.Sort(labels)
	job.Targets, form.Targets = labels, labels
	if _, err := k.Do(t.Context(), job); err != nil {
		t.Fatal(err)
	}
	if _, err := k.Do(t.Context(), form); err != nil {
		t.Fatal(err)
	}
	got := s.requests()
	var doc struct {
		Hosts []string
		Text  string
		N     string
		Fixed int
	}
	dec := json.NewDecoder(strings.NewReader(got[0].body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&doc); err != nil || !reflect.DeepEqual(doc.Hosts, labels) || doc.Fixed != 1 {
		t.Errorf("in JSON they arrive as %s (%v)", got[0].body, err)
	}
	asList := func(text string) []string {
		var list []string
		if err := json.Unmarshal([]byte(text), &list); err != nil {
			t.Errorf("%q is no list: %v", text, err)
		}
		return list
	}
	if !reflect.DeepEqual(asList(strings.TrimPrefix(doc.Text, "on ")), labels) {
		t.Errorf("in a text they arrive as %q", doc.Text)
	}
	if q := got[0].url.Query(); len(q) != 1 || !reflect.DeepEqual(asList(q.Get("hosts")), labels) {
		t.Errorf("in the URL they arrive as %s", got[0].url)
	}
	if v, err := url.ParseQuery(got[1].body); err != nil || len(v) != 2 || !reflect.DeepEqual(asList(v.Get("hosts")), labels) {
		t.Errorf("in a form they arrive as %q", got[1].body)
	}
}

func TestAKindSaysWhetherAStepAsksForTargets(t *testing.T) {
	k := kind(t)
	for spec, want := range map[string]bool{
		`{"url": "https://x.example/", "json": {"a": [{"b": "{{.targets}}"}]}}`:            true,
		`{"url": "https://x.example/?t={{.targets}}"}`:                                     true,
		`{"url": "https://x.example/", "form": {"a": "{{.targets}}"}}`:                     true,
		`{"url": "https://x.example/", "headers": {"A": "{{len .targets}}"}}`:              true,
		`{"url": "https://x.example/", "done": {"url": "https://x.example/{{.targets}}"}}`: true,
		`{"url": "https://x.example/targets", "json": {"targets": "{{.scope}}"}}`:          false,
	} {
		if _, traits, problems := k.Check([]byte(spec)); len(problems) > 0 || traits.Targets != want {
			t.Errorf("%s: %+v, %v", spec, traits, problems)
		}
	}
}
