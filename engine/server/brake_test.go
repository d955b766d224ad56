package server

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/modeshift/modeshift/engine"
)

func brakeOf(t *testing.T, text string) (engine.BrakeRule, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "modeshift.yaml")
	if err := os.WriteFile(path, []byte("rules: [a.yaml]\nprometheus: [{name: main, url: http://127.0.0.1:9090}]\n"+text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := LoadConfig(path)
	if err == nil {
		err = c.Validate()
	}
	return c.Brake.rule(), err
}

func TestABrakeIsThereWithoutAWord(t *testing.T) {
	for text, want := range map[string]engine.BrakeRule{
		"":                                       {Max: 3, Share: 0.05, Within: 10 * time.Minute},
		"brake: {max: 1}":                        {Max: 1, Share: 0.05, Within: 10 * time.Minute},
		"brake: {share: 12.5%, within: 1h}":      {Max: 3, Share: 0.125, Within: time.Hour},
		"brake: {max: 2, share: 0%, within: 1d}": {Max: 2, Within: 24 * time.Hour},
	} {
		if got, err := brakeOf(t, text); err != nil || got != want {
			t.Errorf("%q: %+v (%v)", text, got, err)
		}
	}
}

func TestABrakeThatCannotBeSaysWhy(t *testing.T) {
	for text, want := range map[string]string{
		"brake: {max: 0}":       "brake.max: 0 scopes",
		"brake: {max: -1}":      "brake.max: -1 scopes",
		"brake: {within: 59s}":  "brake.within: 59s is not between 1m and 1d",
		"brake: {within: 2d}":   "brake.within: 2d is not between 1m and 1d",
		"brake: {share: 5}":     `:3: "5" is no percentage`,
		"brake: {share: 101%}":  `:3: "101%" is no percentage`,
		"brake: {share: NaN%}":  `:3: "NaN%" is no percentage`,
		"brake: {shares: 5%}":   "unknown key shares; known here: max, share, within",
		"brake: {share: [5%]}":  "is no percentage",
		"brake: {within: soon}": "soon",
	} {
		if _, err := brakeOf(t, text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}
