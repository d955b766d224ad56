// Package form writes down what a YAML file of ours may look like, for editors: a JSON Schema, made of the mappings that its reader knows.
// Editors complete its keys with it, show what each means, and underline what is surely wrong while it is typed. What takes more than the
// form to tell (names that refer to others, PromQL, CEL) is left to whoever reads the file.
//
// A test of each reader holds the two together: each mapping that it reads has a Shape, with the same keys.
package form

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
)

// Shape is a mapping. What is the name under which the reader knows it, such as "a mode".
type Shape struct {
	What string
	Keys []Key
	// Open: keys that are not known are no fault.
	Open bool
	More Schema // what else holds of it
}

// Key is a key that a mapping may have.
type Key struct {
	Name     string
	Of       Schema
	About    string // what it means, in a sentence
	Required bool
}

// Schema is a JSON Schema, as it is written.
type Schema map[string]any

// Must is a key that has to be there.
func Must(name string, of Schema, about string) Key { return Key{name, of, about, true} }

// Can is a key that need not be there.
func Can(name string, of Schema, about string) Key { return Key{name, of, about, false} }

// Ref refers to a shape by its name.
func Ref(what string) Schema { return Schema{"$ref": "#/$defs/" + anchor(what)} }

// anchor is a name as it stands in a reference.
func anchor(what string) string { return strings.ReplaceAll(what, " ", "-") }

// List is a list of any length.
func List(of Schema) Schema { return Schema{"type": "array", "items": of} }

// Some is a list that is not empty.
func Some(of Schema) Schema { return Schema{"type": "array", "items": of, "minItems": 1} }

// Word is one of a few words.
func Word(words ...string) Schema { return Schema{"enum": words} }

// Whole is a whole number between two bounds.
func Whole(least, most int) Schema {
	return Schema{"type": "integer", "minimum": least, "maximum": most}
}

// Any is what is as one of some.
func Any(of ...Schema) Schema { return Schema{"anyOf": of} }

// MapOf is a mapping whose keys are somebody's names.
func MapOf(of Schema) Schema { return Schema{"type": "object", "additionalProperties": of} }

// What values of several files are like.
var (
	Text     = Schema{"type": "string", "minLength": 1}
	Truth    = Schema{"type": "boolean"}
	Duration = Schema{"type": "string", "minLength": 1,
		"pattern": `^([0-9]+y)?([0-9]+w)?([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$`, "examples": []string{"30s", "5m", "1h30m", "30d"}}
	// DurationOrNone may be 0 too.
	DurationOrNone = Any(Duration, Schema{"enum": []any{0, "0", "0s"}})
	Factor         = Schema{"type": "number", "exclusiveMinimum": 0}
)

// Schema is the shape as a JSON Schema.
func (s Shape) Schema() Schema {
	properties, required := Schema{}, []string{}
	for _, k := range s.Keys {
		of := Schema{"description": k.About}
		maps.Copy(of, k.Of)
		properties[k.Name] = of
		if k.Required {
			required = append(required, k.Name)
		}
	}
	out := Schema{"type": "object", "properties": properties}
	if !s.Open {
		out["additionalProperties"] = false
	}
	if len(required) > 0 {
		out["required"] = required
	}
	maps.Copy(out, s.More)
	return out
}

// Write writes the JSON Schema (draft 2020-12) of a file: top, which refers to shapes. It uses no more of the draft than what editors that
// know an older one read the same way.
func Write(top Schema, shapes []Shape) []byte {
	defs := Schema{}
	for _, s := range shapes {
		defs[anchor(s.What)] = s.Schema()
	}
	all := maps.Clone(top)
	all["$schema"], all["$defs"] = "https://json-schema.org/draft/2020-12/schema", defs
	out, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		panic(fmt.Sprintf("the schema of %v: %v", top["title"], err)) // it is made of constants
	}
	return append(out, '\n')
}
