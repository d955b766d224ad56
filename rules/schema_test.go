package rules

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// described are the kinds of the tests, of which one tells its keys.
var described = map[string]Kind{"webhook": describedKind{kinds["webhook"]}, "exec": kinds["exec"]}

type describedKind struct{ Kind }

func (describedKind) Keys() map[string]string {
	return map[string]string{"url": "Where it goes.", "json": "What is sent.", "method": "How.", "done": "Whether it happened."}
}

// compiled is the schema as an independent validator understands it.
func compiled(t *testing.T) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(Schema(described)))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("schema.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// valuesOf are the documents of a file as JSON values; false when it is not YAML.
func valuesOf(t *testing.T, name string) ([]any, bool) {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	r := &reader{src: newSource(name, string(data))}
	docs := r.parse(File{Name: name, Data: data})
	var out []any
	for _, n := range docs {
		v, ok := r.plain(n, "a document")
		if !ok {
			return nil, false
		}
		out = append(out, v)
	}
	return out, r.faults == 0
}

func TestTheSchemaAcceptsWhatLoads(t *testing.T) {
	s := compiled(t)
	n := 0
	for _, pattern := range []string{"testdata/good/*", "../examples/*/rules/*.yaml", "../examples/shop/*.rules.yaml"} {
		names, err := filepath.Glob(pattern)
		if err != nil || len(names) == 0 {
			t.Fatalf("%s: %v", pattern, err)
		}
		for _, name := range names {
			docs, ok := valuesOf(t, name)
			if !ok {
				t.Fatalf("%s is not YAML", name)
			}
			for _, v := range docs {
				n++
				if err := s.Validate(v); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
		}
	}
	// So do the examples of the page of findings: they load.
	for _, e := range Explanations() {
		for _, block := range yamlBlock.FindAllStringSubmatch(e.Text, -1) {
			text := block[1]
			if !strings.HasPrefix(text, "version:") {
				text = preamble + text
			}
			name := filepath.Join(t.TempDir(), "x.yaml")
			if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if docs, ok := valuesOf(t, name); !ok {
				t.Errorf("%s: not YAML", e.Code)
			} else if err := s.Validate(docs[0]); err != nil && e.Code != CodeDisabledByLabel && !strings.Contains(text, "objective: 0.999") {
				t.Errorf("%s: %v", e.Code, err)
			}
			n++
		}
	}
	if n < 75 {
		t.Errorf("%d documents", n)
	}
}

// What is wrong by its form alone the schema shows while it is typed. What the rest needs (names, PromQL, CEL) only the loader knows.
func TestTheSchemaRefusesMuchOfWhatDoesNotLoad(t *testing.T) {
	s := compiled(t)
	names, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	asked, refused := 0, 0
	var passed []string
	for _, name := range names {
		docs, ok := valuesOf(t, name)
		if !ok {
			continue // the editor's own YAML says so
		}
		asked++
		if slices.ContainsFunc(docs, func(v any) bool { return s.Validate(v) != nil }) {
			refused++
		} else {
			passed = append(passed, filepath.Base(name))
		}
	}
	t.Logf("%d of %d refused; not %v", refused, asked, passed)
	if refused*100 < asked*50 {
		t.Errorf("%d of %d refused; not %v", refused, asked, passed)
	}
}

// The loader and the schema know the same mappings with the same keys, and the schema asks for each key that the loader needs.
func TestTheSchemaKnowsWhatTheLoaderKnows(t *testing.T) {
	read := map[string]map[string]bool{} // shape to key to whether it is needed
	opts := Options{Kinds: kinds, seen: func(what string, lenient bool, fields []field) {
		switch {
		case lenient && what == "a rule file":
			what = slothFile
		case lenient && what == "an SLO":
			what = slothSLO
		}
		if read[what] == nil {
			read[what] = map[string]bool{}
		}
		for _, f := range fields {
			read[what][f.key] = f.required
		}
	}}
	for _, pattern := range []string{"testdata/good/*", "testdata/bad/*.yaml"} {
		files, err := ReadFiles(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			_, _ = Load([]File{f}, opts) // what they are told others test
		}
	}
	for _, s := range shapes(kinds) {
		keys := read[s.What]
		if keys == nil {
			t.Errorf("the schema has %s, and no file of testdata has one", s.What)
			continue
		}
		for _, k := range s.Keys {
			needed, known := keys[k.Name]
			switch {
			case !known:
				t.Errorf("the schema has the key %q of %s, and the loader has not", k.Name, s.What)
			case needed && !k.Required:
				t.Errorf("the loader needs the key %q of %s, and the schema does not ask for it", k.Name, s.What)
			case len(k.About) < 10:
				t.Errorf("the schema does not say what %q of %s is", k.Name, s.What)
			}
			delete(keys, k.Name)
		}
		for k := range keys {
			t.Errorf("the loader has the key %q of %s, and the schema has not", k, s.What)
		}
		delete(read, s.What)
	}
	for what := range read {
		t.Errorf("the loader reads %s, and the schema has none", what)
	}
}

// A key that is misspelt is refused in each mapping but those of Sloth, which ignores it.
func TestTheSchemaRefusesAKeyThatNobodyKnows(t *testing.T) {
	for _, s := range shapes(kinds) {
		closed := s.Schema()["additionalProperties"] == false
		if sloth := s.What == slothFile || s.What == slothSLO; closed == sloth {
			t.Errorf("%s refuses unknown keys: %v", s.What, closed)
		}
	}
	if _, err := jsonschema.UnmarshalJSON(bytes.NewReader(Schema(nil))); err != nil {
		t.Errorf("without kinds: %v", err)
	}
}
