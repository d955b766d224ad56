package api_test

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/api"
	"github.com/modeshift/modeshift/engine/secret"
)

func TestEachRoleMayDoWhatItsNameSaysAndNothingElse(t *testing.T) {
	const body = `{"mode":"degraded","reason":"x"}`
	const reason = `{"reason":"x"}`
	names := []string{"", "unknown", "admin", "operator-checkout", "operator-all", "viewer-checkout", "viewer-all", "instance-checkout"}
	w := newWorld(t)
	s := serve(t, w, nil)
	for _, row := range []struct {
		method, path, body string
		want               []int // in the order of names
	}{
		{"GET", "/scopes", "", []int{401, 401, 200, 200, 200, 200, 200, 403}},
		{"GET", "/scopes/checkout", "", []int{401, 401, 200, 200, 200, 200, 200, 403}},
		{"GET", "/scopes/payments", "", []int{401, 401, 200, 403, 200, 403, 200, 403}},
		{"GET", "/scopes/fleet", "", []int{401, 401, 200, 403, 200, 403, 200, 403}},
		{"GET", "/scopes/nobody", "", []int{401, 401, 404, 403, 404, 403, 404, 403}},
		{"GET", "/scopes/checkout/history", "", []int{401, 401, 200, 200, 200, 200, 200, 403}},
		{"GET", "/scopes/payments/history", "", []int{401, 401, 200, 403, 200, 403, 200, 403}},
		{"GET", "/status", "", []int{401, 401, 200, 200, 200, 200, 200, 403}},
		{"GET", "/events?after=x", "", []int{401, 401, 400, 400, 400, 400, 400, 403}}, // 400: it was let in and then not understood
		{"GET", "/events?after=x&scope=payments", "", []int{401, 401, 400, 403, 400, 403, 400, 403}},
		{"POST", "/scopes/checkout/set", body, []int{401, 401, 200, 200, 200, 403, 403, 403}},
		{"POST", "/scopes/payments/set", body, []int{401, 401, 200, 403, 200, 403, 403, 403}},
		{"POST", "/scopes/checkout/unpin", reason, []int{401, 401, 200, 200, 200, 403, 403, 403}},
		{"POST", "/scopes/checkout/freeze", reason, []int{401, 401, 200, 200, 200, 403, 403, 403}},
		{"POST", "/scopes/checkout/unfreeze", reason, []int{401, 401, 200, 200, 200, 403, 403, 403}},
		{"POST", "/scopes/fleet/freeze", reason, []int{401, 401, 200, 403, 200, 403, 403, 403}},
		{"GET", "/openapi.json", "", []int{200, 200, 200, 200, 200, 200, 200, 200}},
	} {
		for i, name := range names {
			w.begin(t, "checkout", "payments")
			w.freezes(t, engine.Fleet, 1)
			w.decide(t, "checkout", engine.Actor{}, &engine.SetRequested{Mode: "degraded", Reason: "x"})
			w.freezes(t, "checkout", 1)
			header := as(name)
			if name == "" {
				header.Del("Authorization")
			}
			before := len(w.log)
			resp, text := s.do(t, row.method, "/api/v1"+row.path, row.body, header)
			if resp.StatusCode != row.want[i] {
				t.Errorf("%s %s as %q: got %d %s, want %d", row.method, row.path, name, resp.StatusCode, text, row.want[i])
			}
			if resp.StatusCode != 200 && len(w.log) != before {
				t.Errorf("%s %s as %q: answered %d and changed the log", row.method, row.path, name, resp.StatusCode)
			}
			if got := resp.Header.Get("WWW-Authenticate"); (got != "") != (resp.StatusCode == 401) {
				t.Errorf("%s %s as %q: %d with WWW-Authenticate %q", row.method, row.path, name, resp.StatusCode, got)
			}
		}
	}
}

func TestAForbiddenRequestIsToldWhatIsMissing(t *testing.T) {
	s := serve(t, newWorld(t, "checkout", "payments"), nil)
	_, err := s.client(t, "viewer-checkout").Unpin(t.Context(), "checkout", "x")
	if got, want := err.Error(), "the token of board has no role operator"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	_, err = s.client(t, "operator-checkout").Unpin(t.Context(), "payments", "x")
	if got, want := err.Error(), "the token of bob-laptop has the role operator, but not in payments"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestFlagsAreForInstancesOfTheirScopes(t *testing.T) {
	tokens := testTokens(t)
	ask := func(bearer string, scope engine.Scope, header string) int {
		r := httptest.NewRequest(http.MethodPost, "/ofrep/v1/evaluate/flags", nil)
		if header == "X-API-Key" {
			r.Header.Set(header, secretOf(bearer))
		} else {
			r.Header.Set("Authorization", "bearer "+secretOf(bearer))
		}
		status, detail := tokens.Instance(r, scope)
		if (status == 0) != (detail == "") {
			t.Errorf("status %d with %q", status, detail)
		}
		return status
	}
	for _, c := range []struct {
		bearer string
		scope  engine.Scope
		want   int
	}{
		{"instance-checkout", "checkout", 0}, {"instance-checkout", "", 0}, {"instance-checkout", "payments", 403},
		{"admin", "payments", 0}, {"viewer-all", "checkout", 403}, {"operator-all", "checkout", 403}, {"nobody", "checkout", 401},
	} {
		for _, header := range []string{"Authorization", "X-API-Key"} {
			if got := ask(c.bearer, c.scope, header); got != c.want {
				t.Errorf("%s in %q by %s: %d, want %d", c.bearer, c.scope, header, got, c.want)
			}
		}
	}
}

const goodFile = `# who may do what
- sha256: %s
  principal: ada-laptop
  person: ada
  roles: [operator, viewer]
  scopes: [checkout]
- {"sha256": "%s", "principal": "root", "roles": ["admin"]}
`

func hash(text string) string { return api.HashToken(secret.New(text)) }

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func holder(tokens *api.Tokens, text string) (api.Token, error) {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Set("Authorization", "Bearer "+text)
	return tokens.Authenticate(r)
}

func TestATokenFileIsReadAgainWhenItChangedAndABadOneChangesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens.yaml")
	write(t, path, fmt.Sprintf(goodFile, hash("one"), strings.ToUpper(hash("two"))))
	plain, sum := api.NewAdminToken()
	tokens, err := api.OpenTokens(path, api.Token{SHA256: sum, Principal: "bootstrap", Roles: []api.Role{api.RoleAdmin}})
	if err != nil {
		t.Fatal(err)
	}
	want := func(text, principal string) {
		t.Helper()
		token, err := holder(tokens, text)
		if (err == nil) != (principal != "") || token.Principal != principal {
			t.Errorf("got %q, %v; want %q", token.Principal, err, principal)
		}
	}
	want("one", "ada-laptop")
	want("two", "root")
	want(plain.Reveal(), "bootstrap")
	want("three", "")
	if token, _ := holder(tokens, "one"); token.Person != "ada" || !slices.Equal(token.Scopes, []engine.Scope{"checkout"}) {
		t.Errorf("token: %+v", token)
	}
	if changed, err := tokens.Reload(); changed || err != nil {
		t.Errorf("an unchanged file: %v, %v", changed, err)
	}
	write(t, path, "- sha256: nonsense\n")
	if changed, err := tokens.Reload(); changed || err == nil {
		t.Errorf("a bad file: %v, %v", changed, err)
	}
	want("one", "ada-laptop")
	write(t, path, fmt.Sprintf(goodFile, hash("three"), hash("two")))
	if changed, err := tokens.Reload(); !changed || err != nil {
		t.Errorf("a changed file: %v, %v", changed, err)
	}
	want("one", "")
	want("three", "ada-laptop")
	want(plain.Reveal(), "bootstrap")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := tokens.Reload(); err == nil {
		t.Error("a file that is gone is no error")
	}
	want("three", "ada-laptop")
}

func TestAFaultyTokenFileNamesEveryFaultWithItsPlace(t *testing.T) {
	h := hash("x")
	for name, c := range map[string]struct {
		text string
		want []string // parts, in order; the path stands before each position
	}{
		"an unknown key":     {"- sha256: " + h + "\n  principal: a\n  rolez: [viewer]\n", []string{`:3:3: unknown key "rolez"`}},
		"a short hash":       {"- {sha256: abc, principal: a, roles: [viewer], scopes: ['*']}\n", []string{":1:3: sha256 has to be the 64 hex digits"}},
		"a hash of no hex":   {"- {sha256: " + strings.Repeat("z", 64) + ", principal: a, roles: [viewer], scopes: ['*']}\n", []string{":1:3: sha256 has to be"}},
		"no principal":       {"- {sha256: " + h + ", roles: [viewer], scopes: ['*']}\n", []string{":1:3: principal is missing"}},
		"an unknown role":    {"- {sha256: " + h + ", principal: a, roles: [vewer], scopes: ['*']}\n", []string{`:1:3: no role "vewer"`, "admin operator viewer instance"}},
		"no role":            {"- {sha256: " + h + ", principal: a, scopes: ['*']}\n", []string{":1:3: roles are missing"}},
		"no scope":           {"- {sha256: " + h + ", principal: a, roles: [viewer]}\n", []string{":1:3: scopes are missing"}},
		"a bounded admin":    {"- {sha256: " + h + ", principal: a, roles: [admin], scopes: [checkout]}\n", []string{":1:3: an admin may act in every scope"}},
		"roles as a text":    {"- {sha256: " + h + ", principal: a, roles: viewer, scopes: ['*']}\n", []string{":1:99: roles has to be a list"}},
		"a key twice":        {"- principal: a\n  principal: b\n", []string{":2:3: principal is there twice"}},
		"a mapping":          {"tokens: []\n", []string{":1:1: a list of tokens is wanted"}},
		"the same token":     {"- {sha256: " + h + ", principal: a, roles: [viewer], scopes: [a]}\n- {sha256: " + h + ", principal: b, roles: [admin]}\n", []string{":2:3: the same sha256 as in line 1"}},
		"two faults at once": {"- 1\n- {person: x}\n", []string{":1:3: a token is wanted", ":2:3: sha256"}},
		"no YAML":            {"- [\n", []string{"yaml: line"}},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "tokens.yaml")
			write(t, path, c.text)
			_, err := api.OpenTokens(path)
			if err == nil {
				t.Fatal("no error")
			}
			rest := err.Error()
			for _, want := range c.want {
				if strings.HasPrefix(want, ":") {
					want = path + want
				}
				at := strings.Index(rest, want)
				if at < 0 {
					t.Fatalf("got %s\nwant %q in it, in its place", err, want)
				}
				rest = rest[at+len(want):]
			}
		})
	}
	path := filepath.Join(t.TempDir(), "tokens.yaml")
	write(t, path, "- sha256: canary-plain-token\n  principal: a\n  roles: [canary-plain-token-too\n")
	if _, err := api.OpenTokens(path); err == nil || strings.Contains(err.Error(), "canary") {
		t.Errorf("a token written in the place of its hash is repeated: %v", err)
	}
}

func TestNoTokenComesBackInAnAnswerOrALogLine(t *testing.T) {
	s := serve(t, newWorld(t, "checkout"), nil)
	var answers strings.Builder
	names := append(slices.Collect(maps.Keys(bearers)), "unknown")
	for _, name := range names {
		for _, header := range []http.Header{as(name), {"X-Api-Key": {secretOf(name)}}, {"Authorization": {secretOf(name)}}, {"Authorization": {"Basic " + secretOf(name)}}} {
			for _, q := range [][3]string{
				{"GET", "/api/v1/scopes", ""}, {"GET", "/api/v1/status", ""}, {"GET", "/api/v1/nothing", ""}, {"PUT", "/api/v1/scopes", ""},
				{"GET", "/api/v1/scopes/nobody", ""}, {"POST", "/api/v1/scopes/checkout/set", `{"mode":1}`}, {"POST", "/api/v1/scopes/checkout/set", "{"},
				{"GET", "/api/v1/events?after=x", ""},
			} {
				resp, text := s.do(t, q[0], q[1], q[2], header)
				answers.WriteString(text)
				for name, values := range resp.Header {
					answers.WriteString(name + ": " + strings.Join(values, ", ") + "\n")
				}
			}
		}
		c := s.client(t, name)
		_, err := c.Set(t.Context(), "nobody", api.SetRequest{Mode: "x", Reason: "y"})
		fmt.Fprintf(&answers, "%v %+v %#v", err, c, c)
	}
	if logged := s.logs.String(); !strings.Contains(logged, "level=DEBUG") || !strings.Contains(logged, "path=/api/v1/scopes") {
		t.Fatalf("nothing was logged at debug level: %s", logged)
	}
	for where, text := range map[string]string{"an answer": answers.String(), "the log": s.logs.String()} {
		if at := strings.Index(text, "canary"); at >= 0 {
			t.Errorf("%s holds a token: …%s…", where, text[max(0, at-80):min(len(text), at+40)])
		}
	}
}

func TestAReaderOfFlagsIsKnownByANameThatIsNotItsToken(t *testing.T) {
	tokens := testTokens(t)
	names := map[string]bool{}
	for _, c := range []struct {
		token  string
		status int
		reads  []engine.Scope
	}{
		{"instance-checkout", 0, []engine.Scope{"checkout"}},
		{"admin", 0, []engine.Scope{"checkout", "payments"}},
		{"viewer-all", 403, nil},
		{"nobody", 401, nil},
	} {
		name, status, detail := tokens.Reader(secretOf(c.token))
		if status != c.status || (status == 0) != (detail == "") || (status == 0) != (name != "") || names[name] || strings.Contains(secretOf(c.token), name) && name != "" {
			t.Errorf("%s is %q: %d %s", c.token, name, status, detail)
		}
		if status != 0 {
			continue
		}
		names[name] = true
		for _, scope := range []engine.Scope{"checkout", "payments"} {
			if status, _ := tokens.May(name, scope); (status == 0) != slices.Contains(c.reads, scope) {
				t.Errorf("%s reads %s: %d", c.token, scope, status)
			}
		}
		if only, one := tokens.Only(name); one != (len(c.reads) == 1) || one && only != c.reads[0] {
			t.Errorf("%s is for %q alone: %v", c.token, only, one)
		}
		if _, status, _ := tokens.Reader(name); status != 401 {
			t.Errorf("the name of %s is as good as its token", c.token)
		}
	}
	if status, _ := tokens.May("", "checkout"); status != 401 {
		t.Errorf("somebody without a name: %d", status)
	}
	if _, status, _ := tokens.Reader(""); status != 401 {
		t.Errorf("somebody without a token: %d", status)
	}
}
