package rules

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/modeshift/modeshift/engine"
)

// kinds are two kinds as real ones are: strict, with a canonical form, and with opinions.
var kinds = map[string]Kind{"webhook": webhookKind{}, "exec": execKind{}}

// webhookKind posts JSON: url, method, json, idempotency_key. It does no harm unless its method is DELETE, and its target
// knows a key if the file says under which header.
type webhookKind struct{}

func (webhookKind) Check(spec []byte) ([]byte, engine.Traits, []engine.SpecProblem) {
	var problems []engine.SpecProblem
	fault := func(message, hint string, path ...string) {
		problems = append(problems, engine.SpecProblem{Path: path, Message: message, Hint: hint})
	}
	in := object(spec)
	for _, k := range slices.Sorted(maps.Keys(in)) {
		if !slices.Contains([]string{"url", "method", "json", "headers", "idempotency_key", "expect", "timeout"}, k) {
			fault("unknown key "+strconv.Quote(k)+" of a webhook", "a webhook has: url, method, json, headers, idempotency_key, expect", k)
		}
	}
	if text, ok := in["timeout"].(string); ok {
		if d, err := time.ParseDuration(text); err != nil || d > 10*time.Minute {
			fault("a webhook takes at most 10m", "", "timeout")
		}
	}
	url, isText := in["url"].(string)
	switch {
	case in["url"] == nil:
		fault("a webhook needs \"url\"", "")
	case !isText || !strings.HasPrefix(url, "https://"):
		fault("the url has to begin with https://", "", "url")
	}
	if in["method"] == nil {
		in["method"] = "POST"
	}
	if headers, ok := in["headers"].(map[string]any); ok {
		for _, k := range slices.Sorted(maps.Keys(headers)) {
			if _, isText := headers[k].(string); !isText {
				fault("a header is a string", "put it in quotes", "headers", k)
			}
		}
	}
	if codes, ok := in["expect"].([]any); ok {
		for i, c := range codes {
			if f, isNumber := c.(float64); !isNumber || f < 100 || f > 599 {
				fault("no answer has this status", "write 200 to 299", "expect", strconv.Itoa(i))
			}
		}
	}
	return []byte(encode(in)), engine.Traits{Destructive: in["method"] == "DELETE", Keyed: in["idempotency_key"] != nil, Targets: strings.Contains(string(spec), "{{.targets}}")}, problems
}

// execKind runs a program: program, args. Nobody knows what it does, so it is destructive and knows no key. It has a time of
// its own.
type execKind struct{}

func (execKind) Check(spec []byte) ([]byte, engine.Traits, []engine.SpecProblem) {
	in := object(spec)
	if name, ok := in["program"].(string); !ok || name == "" {
		return nil, engine.Traits{}, []engine.SpecProblem{{Message: "program is missing", Hint: "such as program: fail-over"}}
	}
	var problems []engine.SpecProblem
	args, _ := in["args"].([]any)
	for i, a := range args {
		if s, ok := a.(string); !ok || strings.ContainsRune(s, 0) {
			problems = append(problems, engine.SpecProblem{Path: []string{"args", strconv.Itoa(i)}, Message: "an argument is a string without NUL"})
		}
	}
	return []byte(encode(in)), engine.Traits{Destructive: true, Targets: strings.Contains(string(spec), "{{.targets}}")}, problems
}

// echoKind finds fault with everything: each value, by its path, with the value as the message.
type echoKind struct{}

func (echoKind) Check(spec []byte) ([]byte, engine.Traits, []engine.SpecProblem) {
	var problems []engine.SpecProblem
	var walk func(v any, path []string)
	walk = func(v any, path []string) {
		switch v := v.(type) {
		case map[string]any:
			for _, k := range slices.Sorted(maps.Keys(v)) {
				walk(v[k], append(slices.Clone(path), k))
			}
		case []any:
			for i := range v {
				walk(v[i], append(slices.Clone(path), strconv.Itoa(i)))
			}
		default:
			problems = append(problems, engine.SpecProblem{Path: path, Message: fmt.Sprint(v)})
		}
	}
	walk(object(spec), nil)
	return nil, engine.Traits{}, problems
}

func object(spec []byte) map[string]any {
	var in map[string]any
	d := json.NewDecoder(bytes.NewReader(spec))
	if err := d.Decode(&in); err != nil || in == nil || d.More() {
		panic(fmt.Sprintf("not a JSON object: %q: %v", spec, err)) // the promise of Kind
	}
	return in
}
