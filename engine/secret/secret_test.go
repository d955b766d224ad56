package secret_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/modeshift/modeshift/engine/secret"
)

const canary = "c4nary-0123456789abcdef"

// holder keeps a secret in every way a struct can.
type holder struct {
	Key     secret.Secret
	Pointer *secret.Secret
	Keys    map[string]secret.Secret
	ByKey   map[secret.Secret]int
	Any     any
	hidden  secret.Secret
	pointer *secret.Secret
	list    []secret.Secret
	any     any
	source  secret.Source
}

func TestNoWayOfPrintingShowsASecret(t *testing.T) {
	s := secret.New(canary)
	source, err := secret.From(s, "")
	if err != nil {
		t.Fatal(err)
	}
	h := holder{
		s, &s, map[string]secret.Secret{"a": s}, map[secret.Secret]int{s: 1}, s,
		s, &s, []secret.Secret{s}, s, source,
	}
	var shown []string
	for _, verb := range []string{"%s", "%v", "%+v", "%#v", "%q", "%x", "%X", "%d", "%t", "%p", "%y", "%T %v", "%10s", "%10.3s"} {
		for _, v := range []any{s, &s, h, &h, []any{s, &s, h, &h}} {
			shown = append(shown, fmt.Sprintf(verb, v))
		}
	}
	j, err := json.Marshal(struct {
		Key   secret.Secret
		ByKey map[secret.Secret]int
		Any   any
	}{s, h.ByKey, &s})
	if err != nil {
		t.Fatal(err)
	}
	y, err := yaml.Marshal(struct {
		Key   secret.Secret
		ByKey map[secret.Secret]int
		Any   any
	}{s, h.ByKey, &s})
	if err != nil {
		t.Fatal(err)
	}
	h.Any, h.any, h.source = nil, nil, nil // slog's JSON handler cannot encode a function
	var text, structured bytes.Buffer
	slog.New(slog.NewTextHandler(&text, nil)).Info("x", "key", s, "pointer", &s, "holder", h)
	slog.New(slog.NewJSONHandler(&structured, nil)).Info("x", "key", s, "pointer", &s, "holder", h.Keys)
	shown = append(shown, string(j), string(y), text.String(), structured.String(), fmt.Errorf("send with %v", s).Error())
	for _, leak := range []string{canary, fmt.Sprintf("%x", canary), fmt.Sprintf("%X", canary), strings.Trim(fmt.Sprintf("%d", []byte(canary)), "[]")} {
		for _, out := range shown {
			if strings.Contains(out, leak) {
				t.Errorf("a secret shows in %q", out)
			}
		}
	}
}

func TestASecretPrintsAsSuchAndNoneAsNothing(t *testing.T) {
	for _, c := range []struct {
		secret                         secret.Secret
		text, goText, inJSON, inYAML   string
		inJSONOmitting, inYAMLOmitting string
	}{
		{secret.New(canary), `<secret>`, `"<secret>"`, `{"Key":"\u003csecret\u003e"}`, "key: <secret>\n", `{"key":"\u003csecret\u003e"}`, "key: <secret>\n"},
		{secret.New(""), ``, `""`, `{"Key":""}`, "key: \"\"\n", `{}`, "{}\n"},
		{secret.Secret{}, ``, `""`, `{"Key":""}`, "key: \"\"\n", `{}`, "{}\n"},
	} {
		if got := fmt.Sprint(c.secret); got != c.text || c.secret.String() != c.text {
			t.Errorf("printed as %q and %q, want %q", got, c.secret.String(), c.text)
		}
		if got := fmt.Sprintf("%#v", c.secret); got != c.goText {
			t.Errorf("printed by %%#v as %q, want %q", got, c.goText)
		}
		plain := struct{ Key secret.Secret }{c.secret}
		omitting := struct {
			Key secret.Secret `json:"key,omitzero" yaml:"key,omitempty"`
		}{c.secret}
		for _, e := range []struct {
			encode func(any) ([]byte, error)
			value  any
			want   string
		}{
			{json.Marshal, plain, c.inJSON}, {json.Marshal, omitting, c.inJSONOmitting},
			{yaml.Marshal, plain, c.inYAML}, {yaml.Marshal, omitting, c.inYAMLOmitting},
		} {
			if got, err := e.encode(e.value); err != nil || string(got) != e.want {
				t.Errorf("encoded as %q, %v; want %q", got, err, e.want)
			}
		}
	}
}

func TestSecretsAreEqualWhenTheirTextsAre(t *testing.T) {
	a, again, b := secret.New(canary), secret.New(strings.Clone(canary)), secret.New(canary+" ")
	if a != again || !reflect.DeepEqual(a, again) {
		t.Error("two secrets of one text differ")
	}
	if a == b || reflect.DeepEqual(a, b) || a == (secret.Secret{}) {
		t.Error("secrets of two texts are equal")
	}
	if none := secret.New(""); none != (secret.Secret{}) || !none.IsZero() || none.Reveal() != "" {
		t.Error("a secret of no text is not the zero value")
	}
	if a.IsZero() || a.Reveal() != canary || b.Reveal() != canary+" " {
		t.Errorf("Reveal returned %q and %q", a.Reveal(), b.Reveal())
	}
}

func TestASecretIsReadFromJSONAndYAMLAsItIs(t *testing.T) {
	type config struct {
		Key     secret.Secret  `yaml:"routing_key"`
		Pointer *secret.Secret `yaml:"other"`
	}
	for text, want := range map[string]string{
		"routing_key: " + canary:             canary,
		"routing_key: '" + canary + " '":     canary + " ",
		"routing_key: 00123":                 "00123", // not the number it looks like
		"routing_key: 1e3":                   "1e3",
		"routing_key: yes":                   "yes",
		"routing_key: 2026-01-01":            "2026-01-01",
		"routing_key: ''":                    "",
		"routing_key:":                       "",
		"routing_key: ~":                     "",
		"routing_key: !!binary YzRuYXJ5":     "c4nary",
		"routing_key: |-\n  c4nary\n  -line": "c4nary\n-line",
	} {
		dec := yaml.NewDecoder(strings.NewReader(text))
		dec.KnownFields(true)
		var c config
		if err := dec.Decode(&c); err != nil || c.Key != secret.New(want) {
			t.Errorf("%q is %q, %v; want %q", text, c.Key.Reveal(), err, want)
		}
	}
	var c config
	if err := yaml.Unmarshal([]byte("other: "+canary), &c); err != nil || c.Pointer == nil || c.Pointer.Reveal() != canary {
		t.Errorf("behind a pointer: %v, %v", c.Pointer, err)
	}
	if err := json.Unmarshal([]byte(`{"Key":"`+canary+`"}`), &c); err != nil || c.Key.Reveal() != canary {
		t.Errorf("from JSON: %q, %v", c.Key.Reveal(), err)
	}
	for _, wrong := range []string{"routing_key: [" + canary + "]", "routing_key: <secret>"} {
		var c config
		if err := yaml.Unmarshal([]byte(wrong), &c); err == nil || strings.Contains(err.Error(), canary) || !c.Key.IsZero() {
			t.Errorf("%q is %q, %v", wrong, c.Key.Reveal(), err)
		}
	}
}

func TestReadTakesAFileWithoutItsNewlineAndRefusesAnEmptyOne(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(" " + canary + "\n")
	if s, err := secret.Read(path); err != nil || s.Reveal() != canary {
		t.Errorf("Read = %q, %v", s.Reveal(), err)
	}
	write(" \n")
	if _, err := secret.Read(path); !errors.Is(err, secret.ErrEmpty) || !strings.Contains(err.Error(), path) {
		t.Errorf("an empty file gives %v", err)
	}
	write(strings.Repeat("x", 64<<10))
	if s, err := secret.Read(path); err != nil || len(s.Reveal()) != 64<<10 {
		t.Errorf("the largest file gives %d bytes, %v", len(s.Reveal()), err)
	}
	write(strings.Repeat("x", 64<<10+1))
	if _, err := secret.Read(path); err == nil || !strings.Contains(err.Error(), "larger") {
		t.Errorf("a file too large gives %v", err)
	}
	if _, err := secret.Read(path + ".none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is not there gives %v", err)
	}
}

func TestASourceGivesAValueOrWhatAFileHoldsAtThatMoment(t *testing.T) {
	value := secret.New(canary)
	source, err := secret.From(value, "")
	if err != nil {
		t.Fatal(err)
	}
	if s, err := source(); err != nil || s != value {
		t.Errorf("the source of a value gives %q, %v", s.Reveal(), err)
	}
	path := filepath.Join(t.TempDir(), "key")
	if source, err = secret.From(secret.Secret{}, path); err != nil {
		t.Fatal(err)
	}
	if _, err := source(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the source of a file that is not there gives %v", err)
	}
	for _, text := range []string{"one", "two"} {
		if err := os.WriteFile(path, []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if s, err := source(); err != nil || s.Reveal() != text {
			t.Errorf("the source of a file gives %q, %v; want %q", s.Reveal(), err, text)
		}
	}
	if _, err := secret.From(value, path); err == nil {
		t.Error("a value and a file together give no error")
	}
	if source, err := secret.From(secret.Secret{}, ""); source != nil || err != nil {
		t.Errorf("neither gives a source, %v", err)
	}
}

func TestScrubTakesEverySecretOutOfText(t *testing.T) {
	got := secret.Scrub("a "+canary+" b "+canary+" c other", secret.New(canary), secret.Secret{}, secret.New("other"))
	if got != "a <secret> b <secret> c <secret>" {
		t.Errorf("Scrub = %q", got)
	}
}

func TestTheUserOfAURLIsSecretInEachFormThatIsSent(t *testing.T) {
	u, err := url.Parse("http://ann:p%40ss%2Fw0rd@proxy.example:3128")
	if err != nil {
		t.Fatal(err)
	}
	said := "Proxy-Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte("ann:p@ss/w0rd")) + " of " + u.String() + ", which is ann:p@ss/w0rd, or p@ss/w0rd"
	if got := secret.Scrub(said, secret.OfUser(u)...); got != "Proxy-Authorization: Basic <secret> of http://<secret>@proxy.example:3128, which is <secret>, or <secret>" {
		t.Errorf("it shows %q", got)
	}
	for _, text := range []string{"http://proxy.example", "http://ann@proxy.example", "http://ann:x@proxy.example"} {
		u, err := url.Parse(text)
		if err != nil || secret.OfUser(u) != nil {
			t.Errorf("%s holds %v, %v", text, secret.OfUser(u), err)
		}
	}
	if secret.OfUser(nil) != nil {
		t.Error("no URL has a user")
	}
}

func TestACleanErrorHidesSecretsAndAnswersAndKeepsItsCause(t *testing.T) {
	cause := fmt.Errorf("cannot fetch token: 401\nResponse: client_secret=c4nary: %w", context.DeadlineExceeded)
	err := secret.Clean(fmt.Errorf("by ann:c4nary: %w", cause), secret.New("c4nary"))
	if all := fmt.Sprintf("%v %+v %#v %s %q", err, err, err, err, err); strings.Contains(all, "c4nary") || err.Error() != "by ann:<secret>: cannot fetch token: 401" {
		t.Errorf("it shows %s", all)
	}
	if !errors.Is(err, context.DeadlineExceeded) || !os.IsTimeout(err) {
		t.Error("its cause is lost")
	}
	plain := errors.New("refused")
	if got := secret.Clean(plain, secret.New("c4nary")); !errors.Is(got, plain) || got.Error() != "refused" || secret.Clean(nil) != nil {
		t.Errorf("an error that shows nothing becomes %v", got)
	}
}
