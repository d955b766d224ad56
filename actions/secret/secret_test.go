package secret_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/modeshift/modeshift/actions/secret"
)

const canary = "c4nary-0123456789abcdef"

func TestNoWayOfPrintingShowsASecret(t *testing.T) {
	s := secret.Secret(canary)
	type holder struct {
		Key  secret.Secret `json:"key" yaml:"key"`
		Keys map[string]secret.Secret
	}
	h := holder{s, map[string]secret.Secret{"a": s}}
	var shown []string
	for _, verb := range []string{"%s", "%v", "%+v", "%#v", "%q", "%x", "%X", "%d", "%T %v", "%10s"} {
		shown = append(shown, fmt.Sprintf(verb, s), fmt.Sprintf(verb, h), fmt.Sprintf(verb, &h))
	}
	j, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	y, err := yaml.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	var text, structured bytes.Buffer
	slog.New(slog.NewTextHandler(&text, nil)).Info("x", "key", s, "holder", h)
	slog.New(slog.NewJSONHandler(&structured, nil)).Info("x", "key", s, "holder", h)
	shown = append(shown, string(j), string(y), text.String(), structured.String(), fmt.Errorf("send with %v", s).Error())
	for _, out := range shown {
		if strings.Contains(out, canary) || strings.Contains(out, fmt.Sprintf("%x", canary)) || strings.Contains(out, fmt.Sprintf("%X", canary)) {
			t.Errorf("a secret shows in %q", out)
		}
	}
	if got := fmt.Sprint(s); got != "<secret>" {
		t.Errorf("a secret prints as %q, want <secret>", got)
	}
	if got := fmt.Sprint(secret.Secret("")); got != "" {
		t.Errorf("an empty secret prints as %q, want nothing", got)
	}
	if s.Reveal() != canary {
		t.Errorf("Reveal returned %q", s.Reveal())
	}
}

func TestASecretIsReadFromJSONAndYAMLAsItIs(t *testing.T) {
	var h struct{ Key secret.Secret }
	if err := json.Unmarshal([]byte(`{"Key":"`+canary+`"}`), &h); err != nil || h.Key.Reveal() != canary {
		t.Errorf("from JSON: %q, %v", h.Key.Reveal(), err)
	}
	h.Key = ""
	if err := yaml.Unmarshal([]byte("key: "+canary), &h); err != nil || h.Key.Reveal() != canary {
		t.Errorf("from YAML: %q, %v", h.Key.Reveal(), err)
	}
}

func TestReadTakesAFileWithoutItsNewlineAndRefusesAnEmptyOne(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, []byte(canary+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if s, err := secret.Read(path); err != nil || s.Reveal() != canary {
		t.Errorf("Read = %q, %v", s.Reveal(), err)
	}
	if err := os.WriteFile(path, []byte(" \n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := secret.Read(path); err == nil || !strings.Contains(err.Error(), "empty") {
		t.Errorf("an empty file gives %v", err)
	}
	if err := os.WriteFile(path, bytes.Repeat([]byte("x"), 64<<10+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := secret.Read(path); err == nil || !strings.Contains(err.Error(), "larger") {
		t.Errorf("a file too large gives %v", err)
	}
	if _, err := secret.Read(path + ".none"); err == nil {
		t.Error("a file that is not there gives no error")
	}
}

func TestScrubTakesEverySecretOutOfText(t *testing.T) {
	got := secret.Scrub("a "+canary+" b "+canary+" c other", canary, "", "other")
	if got != "a <secret> b <secret> c <secret>" {
		t.Errorf("Scrub = %q", got)
	}
}

func TestASourceInAnUnexportedFieldDoesNotShowItsSecret(t *testing.T) {
	source, err := secret.From(canary, "")
	if err != nil {
		t.Fatal(err)
	}
	type holder struct{ source secret.Source }
	h := holder{source}
	if s := fmt.Sprintf("%v %+v %#v", h, h, &h); strings.Contains(s, canary) {
		t.Errorf("the secret shows in %s", s)
	}
	if s, err := h.source(); err != nil || s.Reveal() != canary {
		t.Errorf("the source gives %q, %v", s.Reveal(), err)
	}
	if _, err := secret.From(canary, "/file"); err == nil {
		t.Error("a value and a file together give no error")
	}
	if source, err := secret.From("", ""); source != nil || err != nil {
		t.Errorf("neither gives a source, %v", err)
	}
}
