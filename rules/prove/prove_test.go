package prove

import (
	"path/filepath"
	"slices"
	"testing"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/server"
	"github.com/modeshift/modeshift/rules"
)

func load(t testing.TB, paths ...string) *rules.Set {
	t.Helper()
	files, err := rules.ReadFiles(paths...)
	if err != nil {
		t.Fatal(err)
	}
	return compile(t, files...)
}

// formKinds are the kinds of action that there are.
func formKinds(t testing.TB) map[string]rules.Kind {
	t.Helper()
	kinds, err := server.FormKinds()
	if err != nil {
		t.Fatal(err)
	}
	return kinds
}

func compile(t testing.TB, files ...rules.File) *rules.Set {
	t.Helper()
	set, err := rules.Load(files, rules.Options{Kinds: formKinds(t)})
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// finding finds the answer to a property in the only report there is.
func find(t testing.TB, reports []Report, p Property) Finding {
	t.Helper()
	if len(reports) != 1 {
		t.Fatalf("there are %d reports", len(reports))
	}
	i := slices.IndexFunc(reports[0].Findings, func(f Finding) bool { return f.Property == p })
	return reports[0].Findings[i]
}

func TestTheExamplesAreProved(t *testing.T) {
	examples := filepath.Join("..", "..", "examples")
	for _, paths := range [][]string{
		{filepath.Join(examples, "automation", "rules")},
		{filepath.Join(examples, "checkout", "rules")},
		{filepath.Join(examples, "connect", "rules")},
		{filepath.Join(examples, "windows", "rules")},
		{filepath.Join(examples, "shop", "product.rules.yaml"), filepath.Join(examples, "shop", "service.rules.yaml")},
		{filepath.Join(examples, "shop", "product.rules.yaml"), filepath.Join(examples, "shop", "maintenance.rules.yaml")},
		{filepath.Join(examples, "writing", "rules")},
		{filepath.Join("..", "testdata", "good", "gateway.yaml")},
	} {
		if name := filepath.Base(paths[0]); testing.Short() && (name == "gateway.yaml" || filepath.Base(filepath.Dir(paths[0])) == "checkout") {
			continue // thousands of states: once is enough
		}
		for _, r := range Run(t.Context(), load(t, paths...), nil, Options{}) {
			for _, f := range r.Findings {
				if f.Answer != Proved {
					t.Errorf("%v: %s: %s: %s", r.Scopes, f.Says, f.Answer, f.Detail)
				}
			}
			if r.States == 0 || r.Decisions < int64(r.States) {
				t.Errorf("%v: %d states and %d decisions are not all there is", r.Scopes, r.States, r.Decisions)
			}
		}
	}
}

// The demo's shop goes back from its failover by hand, with undo: nothing that it declares leads back.
func TestTheShopHasNoDeclaredWayBackFromItsFailover(t *testing.T) {
	reports := Run(t.Context(), load(t, filepath.Join("..", "..", "examples", "shop", "shop.rules.yaml")), nil, Options{})
	for _, p := range properties {
		f := find(t, reports, p)
		if want := map[bool]Answer{true: CounterExample, false: Proved}[p == WayBack]; f.Answer != want {
			t.Errorf("%s: %s, want %s: %s", f.Says, f.Answer, want, f.Detail)
		}
	}
	if !slices.Contains(reports[0].Modes, ModeBack{"shop", "failover", BackNever}) || !slices.Contains(reports[0].Modes, ModeBack{"shop", engine.Mode("degraded"), BackAlone}) {
		t.Errorf("the ways back are %v", reports[0].Modes)
	}
}
