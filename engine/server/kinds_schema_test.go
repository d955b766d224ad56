package server

import (
	"encoding/json"
	"testing"

	"github.com/modeshift/modeshift/rules"
)

// Editors explain what stands under the key of a kind too, and refuse what the kind would.
func TestTheSchemaOfRuleFilesKnowsTheKeysOfEachKind(t *testing.T) {
	kinds, err := FormKinds()
	if err != nil {
		t.Fatal(err)
	}
	var schema struct {
		Defs map[string]struct {
			Properties map[string]struct {
				Properties map[string]struct{ Description string }
				Additional any `json:"additionalProperties"`
			}
		} `json:"$defs"`
	}
	if err := json.Unmarshal(rules.Schema(kinds), &schema); err != nil {
		t.Fatal(err)
	}
	for name := range kinds {
		kind := schema.Defs["an-action"].Properties[name]
		if len(kind.Properties) < 5 || kind.Additional != false {
			t.Errorf("%s: %+v", name, kind)
		}
		for key, p := range kind.Properties {
			if len(p.Description) < 10 {
				t.Errorf("%s does not say what %s is", name, key)
			}
		}
	}
}
