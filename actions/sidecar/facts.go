package sidecar

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/template"

	"github.com/modeshift/modeshift/actions/agent"
	"github.com/modeshift/modeshift/engine"
)

// facts are what steps are told. Fields without a name in JSON are for commands and templates.
type facts struct {
	Scope       engine.Scope    `json:"scope"`
	Mode        engine.Mode     `json:"mode"`
	OldMode     engine.Mode     `json:"-"`
	Flags       engine.Flags    `json:"flags"`
	Term        uint64          `json:"term"`
	Revision    engine.Version  `json:"revision"`
	Change      engine.ChangeID `json:"change,omitempty"`
	Origin      engine.Origin   `json:"-"` // it may become another while the mode stays, and a file would not
	Unavailable bool            `json:"unavailable"`
	Message     string          `json:"message,omitempty"`     // of a mode in which the service does not answer
	RetryAfter  int64           `json:"retry_after,omitempty"` // seconds; 0: not said
}

func factsOf(old, now *agent.State) facts {
	f := facts{
		Scope: now.Scope, Mode: now.Mode, OldMode: old.Mode, Flags: now.Flags, Term: now.Position.Term, Revision: now.Position.Revision,
		Change: now.Change, Origin: now.Origin, Unavailable: now.Unavailable != nil,
	}
	if f.Flags == nil {
		f.Flags = engine.Flags{} // {} and not null for whoever reads it
	}
	if u := now.Unavailable; u != nil {
		f.Message, f.RetryAfter = u.Message, u.RetryAfterSeconds
	}
	return f
}

// json is the facts as a document.
func (f *facts) json() ([]byte, error) {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err := e.Encode(f)
	return out.Bytes(), err
}

// variable is a fact by name.
type variable struct{ name, value string }

var noName = regexp.MustCompile(`[^A-Z0-9]`)

// variables are the facts by name, those of flags sorted and last.
func (f *facts) variables() ([]variable, error) {
	out := []variable{
		{"MODESHIFT_SCOPE", string(f.Scope)}, {"MODESHIFT_MODE", string(f.Mode)}, {"MODESHIFT_OLD_MODE", string(f.OldMode)},
		{"MODESHIFT_TERM", strconv.FormatUint(f.Term, 10)}, {"MODESHIFT_REVISION", strconv.FormatUint(uint64(f.Revision), 10)},
		{"MODESHIFT_CHANGE", string(f.Change)}, {"MODESHIFT_ORIGIN", string(f.Origin)},
		{"MODESHIFT_UNAVAILABLE", strconv.FormatBool(f.Unavailable)}, {"MODESHIFT_MESSAGE", f.Message},
		{"MODESHIFT_RETRY_AFTER", strconv.FormatInt(f.RetryAfter, 10)},
	}
	flagOf := map[string]string{}
	for _, flag := range slices.Sorted(maps.Keys(f.Flags)) {
		name := "MODESHIFT_FLAG_" + noName.ReplaceAllString(strings.ToUpper(flag), "_")
		if other, twice := flagOf[name]; twice {
			return nil, fmt.Errorf("the flags %q and %q have one variable, %s", other, flag, name)
		}
		flagOf[name] = flag
		value, isText := f.Flags[flag].(string)
		if !isText {
			text, err := json.Marshal(f.Flags[flag])
			if err != nil {
				return nil, fmt.Errorf("flag %q: %w", flag, err)
			}
			value = string(text)
		}
		out = append(out, variable{name, value})
	}
	for _, v := range out {
		if strings.ContainsRune(v.value, 0) {
			return nil, fmt.Errorf("the value of %s has NUL in it, which a variable cannot hold", v.name)
		}
	}
	return out, nil
}

var plain = regexp.MustCompile(`^[A-Za-z0-9_./:@%+,-]*$`)

// env is the facts as a file that a shell and systemd's EnvironmentFile read alike. Whatever a value holds, it stays a value.
func (f *facts) env() ([]byte, error) {
	all, err := f.variables()
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	for _, v := range all {
		if v.name == "MODESHIFT_OLD_MODE" || v.name == "MODESHIFT_ORIGIN" {
			continue // they are about the step, and not about the mode
		}
		value := v.value
		if !plain.MatchString(value) {
			value = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, `$`, `\$`, "`", "\\`").Replace(value) + `"`
		}
		fmt.Fprintf(&out, "%s=%s\n", v.name, value)
	}
	return out.Bytes(), nil
}

// parseTemplate parses a template over facts. A flag that the mode does not set is an error, and no empty text: {{index .Flags "x"}}
// is for those that may be absent. {{json .Flags}} writes a value as JSON.
func parseTemplate(name, text string) (*template.Template, error) {
	return template.New(name).Option("missingkey=error").Funcs(template.FuncMap{"json": func(v any) (string, error) {
		out, err := json.Marshal(v)
		return string(out), err
	}}).Parse(text)
}

func (f *facts) fill(t *template.Template) ([]byte, error) {
	var out bytes.Buffer
	err := t.Execute(&out, f)
	return out.Bytes(), err
}
