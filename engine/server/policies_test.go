package server

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/modeshift/modeshift/engine"
)

func somePolicy(digest engine.Digest, position string) engine.Policy {
	return engine.Policy{Digest: digest, Scope: "checkout", Interval: time.Second, Modes: []engine.ModeRule{{Name: "normal", Flags: engine.Flags{"a": 1.5}}},
		Conditions:  []engine.Condition{{Name: "c"}},
		Transitions: []engine.Transition{{Name: "t", Position: position, Playbook: engine.Playbook{Verify: 1}}}}
}

func TestRulesAreKeptOnceAndFoundByTheirDigestTheNewestTextFirst(t *testing.T) {
	path := filepath.Join(t.TempDir(), PoliciesFile)
	a, moved, b := somePolicy("digest-a", "f:1:1"), somePolicy("digest-a", "f:9:1"), somePolicy("digest-b", "f:1:1")
	for range 2 { // the second time after a restart
		book, err := openPolicies(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, list := range [][]engine.Policy{{a, b}, {a, b}, {moved, b}} {
			if err := book.keep(list); err != nil {
				t.Fatal(err)
			}
		}
	}
	for digest, want := range map[engine.Digest][]engine.Policy{"digest-a": {moved, a}, "digest-b": {b}, "digest": nil, "digest-c": nil} {
		if got := KeptPolicies(path)("checkout", digest); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, want %+v", digest, got, want)
		}
	}
	if got := KeptPolicies(path)("payments", "digest-a"); got != nil {
		t.Errorf("of another scope: %+v", got)
	}
	if got := KeptPolicies(filepath.Join(t.TempDir(), "nowhere"))("checkout", "digest-a"); got != nil {
		t.Errorf("out of no file: %+v", got)
	}
}

func TestALineCutShortSpoilsNoOther(t *testing.T) {
	path := filepath.Join(t.TempDir(), PoliciesFile)
	book, err := openPolicies(path)
	if err != nil {
		t.Fatal(err)
	}
	a, b := somePolicy("digest-a", "f:1:1"), somePolicy("digest-b", "f:1:1")
	if err := book.keep([]engine.Policy{a, b}); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for cut := len(whole) - 1; cut > 0; cut -= 7 {
		if err := os.WriteFile(path, whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		book, err := openPolicies(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := book.keep([]engine.Policy{a, b}); err != nil {
			t.Fatal(err)
		}
		for _, p := range []engine.Policy{a, b} {
			if got := book.Policies("checkout", p.Digest); len(got) != 1 || !reflect.DeepEqual(got[0], p) {
				t.Fatalf("cut after %d bytes: %s gives %+v", cut, p.Digest, got)
			}
		}
	}
}

func TestRulesThatCannotBeKeptAreAnError(t *testing.T) {
	book, err := openPolicies(filepath.Join(t.TempDir(), "no", "folder"))
	if err != nil {
		t.Fatal(err)
	}
	if err := book.keep([]engine.Policy{somePolicy("d", "")}); err == nil {
		t.Error("nothing was said")
	}
}
