package server

import (
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"github.com/modeshift/modeshift/engine/api"
	"github.com/modeshift/modeshift/engine/secret"
)

// flaggedShop is a rule file that sets a flag and declares it.
func flaggedShop(value, tested string) string {
	return "version: modeshift/v1\nservice: shop\nowner: team-shop\nflags:\n  limit: {level: 2, expires: 2001-03-01, tested: " + tested + "}\n" +
		"modes:\n  - {name: normal, flags: {limit: " + value + "}}\n  - {name: degraded}\n"
}

// What a file says of its flags is shown as it is on the disk; what it makes of their types is refused, while the server runs
// and when it starts again.
func TestFlagsAreShownAndKeepTheirType(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "shop.yaml")
	put(t, path, flaggedShop("1", "2001-01-01"))
	cfg := testConfig(t, dir)
	start := func() (*Server, *api.Client, func() error) {
		s, stop := serve(t, Options{Config: cfg, Logger: slog.New(slog.DiscardHandler)})
		token, err := secret.Read(filepath.Join(cfg.Data, AdminTokenFile))
		if err != nil {
			t.Fatal(err)
		}
		client, err := api.NewClient(s.URL(), token, nil)
		if err != nil {
			t.Fatal(err)
		}
		return s, client, stop
	}
	flag := func(client *api.Client) api.Flag {
		t.Helper()
		list, err := client.Flags(t.Context())
		if err != nil || len(list.Flags) != 1 {
			t.Fatalf("%+v, %v", list, err)
		}
		return list.Flags[0]
	}
	s, client, stop := start()
	want := api.Flag{Scope: "shop", Name: "limit", Type: "number", Mode: "normal", Set: true, Value: 1.0, Declared: true, Owner: "team-shop", Level: 2,
		Expires: "2001-03-01", Tested: "2001-01-01", Position: path + ":5:3", Expired: true, Untested: true}
	if got := flag(client); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	// To write down a test is no change of the rules, and is seen at once.
	put(t, path, flaggedShop("1", "2099-01-01"))
	if err := s.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := flag(client); got.Tested != "2099-01-01" || got.Untested {
		t.Errorf("%+v", got)
	}

	const refusal = "flag limit is a string here, and a number in the rules in force"
	put(t, path, flaggedShop("'1'", "2099-01-01"))
	if err := s.Reload(t.Context()); err == nil || !strings.Contains(err.Error(), refusal) {
		t.Errorf("another type: %v", err)
	}
	if got := flag(client); got.Value != 1.0 {
		t.Errorf("%+v", got)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	_, client, stop = start()
	if got := flag(client); got.Value != 1.0 {
		t.Errorf("after a restart: %+v", got)
	}
	scope, err := client.Scope(t.Context(), "shop")
	if err != nil || !strings.Contains(scope.RulesProblem, refusal) {
		t.Errorf("after a restart: %q, %v", scope.RulesProblem, err)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
}
