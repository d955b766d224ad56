package api_test

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

var update = flag.Bool("update", false, "rewrite the files in testdata")

func TestTheDescriptionIsTheOneThatWasReviewed(t *testing.T) {
	s := serve(t, newWorld(t, "checkout"), nil)
	resp, text := s.do(t, "GET", "/api/v1/openapi.json", "", nil)
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "application/openapi+json" {
		t.Fatalf("%d %s", resp.StatusCode, resp.Header.Get("Content-Type"))
	}
	golden := filepath.Join("testdata", "openapi.json")
	if *update {
		if err := os.WriteFile(golden, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if text != string(want) {
		t.Errorf("the description is not %s; if that is meant, run the test with -update and review the difference", golden)
	}
	_, inYAML := s.do(t, "GET", "/api/v1/openapi.yaml", "", nil)
	var fromJSON, fromYAML any
	if err := json.Unmarshal([]byte(text), &fromJSON); err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal([]byte(inYAML), &fromYAML); err != nil {
		t.Fatal(err)
	}
	again, err := json.Marshal(fromYAML)
	if err != nil {
		t.Fatal(err)
	}
	once, err := json.Marshal(fromJSON)
	if err != nil {
		t.Fatal(err)
	}
	if string(again) != string(once) {
		t.Error("the YAML and the JSON say different things")
	}
}

// operation is what the test checks of an operation.
type operation struct {
	OperationID string                `json:"operationId"`
	Summary     string                `json:"summary"`
	Description string                `json:"description"`
	Security    []map[string][]string `json:"security"`
	Parameters  []struct {
		Name     string `json:"name"`
		In       string `json:"in"`
		Required bool   `json:"required"`
	} `json:"parameters"`
	RequestBody *struct {
		Required bool           `json:"required"`
		Content  map[string]any `json:"content"`
	} `json:"requestBody"`
	Responses map[string]struct {
		Description string `json:"description"`
	} `json:"responses"`
}

func TestTheDescriptionHoldsTogether(t *testing.T) {
	s := serve(t, newWorld(t, "checkout"), nil)
	_, text := s.do(t, "GET", "/api/v1/openapi.json", "", nil)
	var doc struct {
		OpenAPI string `json:"openapi"`
		Info    struct{ Title, Version string }
		Paths   map[string]map[string]operation `json:"paths"`
	}
	if err := json.Unmarshal([]byte(text), &doc); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(doc.OpenAPI, "3.1") || doc.Info.Title == "" || doc.Info.Version == "" {
		t.Errorf("openapi %q, info %+v", doc.OpenAPI, doc.Info)
	}
	want := map[string]string{
		"list-scopes": "get /api/v1/scopes", "get-scope": "get /api/v1/scopes/{scope}", "get-history": "get /api/v1/scopes/{scope}/history",
		"get-status": "get /api/v1/status", "stream-events": "get /api/v1/events", "set-mode": "post /api/v1/scopes/{scope}/set",
		"unpin": "post /api/v1/scopes/{scope}/unpin", "freeze": "post /api/v1/scopes/{scope}/freeze", "unfreeze": "post /api/v1/scopes/{scope}/unfreeze",
		"list-approvals": "get /api/v1/approvals", "get-approval": "get /api/v1/approvals/{id}", "review-approval": "post /api/v1/approvals/{id}/review",
		"cancel-change": "post /api/v1/scopes/{scope}/changes/{change}/cancel", "undo-change": "post /api/v1/scopes/{scope}/changes/{change}/undo",
		"settle-change": "post /api/v1/scopes/{scope}/changes/{change}/settle",
		"list-budgets":  "get /api/v1/budgets", "get-budget": "get /api/v1/scopes/{scope}/budget",
		"get-gate": "get /api/v1/scopes/{scope}/gate", "list-flags": "get /api/v1/flags", "get-flags": "get /api/v1/scopes/{scope}/flags",
		"correct-budget":      "post /api/v1/scopes/{scope}/budget/corrections",
		"withdraw-correction": "delete /api/v1/scopes/{scope}/budget/corrections/{correction}",
		"explain-change":      "get /api/v1/scopes/{scope}/changes/{change}/explain",
		"review":              "get /api/v1/review",
		"review-scope":        "get /api/v1/scopes/{scope}/review",
		"report-change":       "get /api/v1/scopes/{scope}/changes/{change}/report",
		"get-suggestions":     "get /api/v1/scopes/{scope}/suggestions",
		"evaluate-scope":      "get /api/v1/scopes/{scope}/evaluation",
		"get-readiness":       "get /api/v1/scopes/{scope}/readiness",
		"list-rules":          "get /api/v1/rules", "get-rules": "get /api/v1/scopes/{scope}/rules",
		"list-instances": "get /api/v1/scopes/{scope}/instances", "recover": "post /api/v1/recover",
		"stream-instance": "post /api/v1/instances/stream", "exchange-instance": "post /api/v1/instances/exchange",
	}
	parameter := regexp.MustCompile(`\{([^}]+)\}`)
	for path, operations := range doc.Paths {
		for method, o := range operations {
			if want[o.OperationID] != method+" "+path {
				t.Errorf("%s %s is operation %q", method, path, o.OperationID)
			}
			delete(want, o.OperationID)
			if o.Summary == "" || !strings.Contains(o.Description, "Needs the role ") || len(o.Security) == 0 {
				t.Errorf("%s: summary %q, description %q, security %v", o.OperationID, o.Summary, o.Description, o.Security)
			}
			for _, status := range []string{"200", "401", "403"} {
				if o.Responses[status].Description == "" {
					t.Errorf("%s does not describe %s", o.OperationID, status)
				}
			}
			for _, m := range parameter.FindAllStringSubmatch(path, -1) {
				found := false
				for _, p := range o.Parameters {
					found = found || p.Name == m[1] && p.In == "path" && p.Required
				}
				if !found {
					t.Errorf("%s does not describe {%s}", o.OperationID, m[1])
				}
			}
			if (method == "post") != (o.RequestBody != nil && o.RequestBody.Required) {
				t.Errorf("%s %s: request body %+v", method, path, o.RequestBody)
			}
			// Every path described is served: without a token it answers 401, not 404.
			resp, _ := s.do(t, strings.ToUpper(method), strings.ReplaceAll(path, "{scope}", "checkout"), "", nil)
			if resp.StatusCode != 401 {
				t.Errorf("%s %s without a token: %d", method, path, resp.StatusCode)
			}
		}
	}
	if len(want) > 0 {
		t.Errorf("not described: %v", want)
	}

	// Every reference leads somewhere.
	var all map[string]any
	if err := json.Unmarshal([]byte(text), &all); err != nil {
		t.Fatal(err)
	}
	var refs []string
	var walk func(any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			for key, e := range v {
				if ref, is := e.(string); is && key == "$ref" {
					refs = append(refs, ref)
				}
				walk(e)
			}
		case []any:
			for _, e := range v {
				walk(e)
			}
		}
	}
	walk(all)
	if len(refs) < 10 {
		t.Errorf("only %d references", len(refs))
	}
	slices.Sort(refs)
	for _, ref := range slices.Compact(refs) {
		var at any = all
		for _, part := range strings.Split(strings.TrimPrefix(ref, "#/"), "/") {
			m, _ := at.(map[string]any)
			at = m[part]
		}
		if at == nil {
			t.Errorf("%s leads nowhere", ref)
		}
	}
}
