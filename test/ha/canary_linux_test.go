package ha

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/api"
	"github.com/modeshift/modeshift/engine/approval"
	"github.com/modeshift/modeshift/engine/secret"
	"github.com/modeshift/modeshift/engine/server"
)

// mirror is the worst target there is: at first it refuses, and whatever it answers repeats everything it was sent.
type mirror struct {
	mu   sync.Mutex
	seen map[string]int    // requests by path
	sent map[string]string // what came by path, in full, the last request
}

func (m *mirror) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var all bytes.Buffer
	if _, err := fmt.Fprintf(&all, "%s %s\n", r.Method, r.URL); err != nil {
		return
	}
	if err := r.Header.Write(&all); err != nil {
		return
	}
	if _, err := io.Copy(&all, r.Body); err != nil {
		return
	}
	m.mu.Lock()
	m.seen[r.URL.Path]++
	n := m.seen[r.URL.Path]
	m.sent[r.URL.Path] = all.String()
	m.mu.Unlock()
	status := []int{http.StatusOK, http.StatusInternalServerError}[n%2]
	if r.URL.Path == "/token" {
		status = http.StatusUnauthorized // else a client that gets no token says nothing of the answer
	}
	body := all.Bytes()
	if strings.Contains(r.URL.Path, "/prometheus/") {
		status = http.StatusServiceUnavailable
		if n%2 == 0 { // as Prometheus itself refuses
			status = http.StatusBadRequest
			w.Header().Set("Content-Type", "application/json")
			var err error
			if body, err = json.Marshal(map[string]string{"status": "error", "errorType": "bad_data", "error": all.String()}); err != nil {
				return
			}
		}
	}
	if status == http.StatusOK && strings.HasPrefix(r.URL.Path, "/page") {
		status = http.StatusAccepted
	}
	w.WriteHeader(status)
	_, _ = w.Write(body) // whoever does not read it misses it
}

func (m *mirror) got(path string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.sent[path]
}

func (m *mirror) times(path string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.seen[path]
}

// tell is a program that says everything it knows. The first attempt fails; the second waits until it is let go.
func tell(dir string) int {
	fmt.Println(strings.Join(os.Environ(), "\n"))
	fmt.Fprintln(os.Stderr, os.Getenv("STEP_TOKEN"))
	if os.Getenv("MODESHIFT_ATTEMPT") == "1" {
		return 1
	}
	if err := os.WriteFile(filepath.Join(dir, "told"), nil, 0o600); err != nil {
		return 1
	}
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if _, err := os.Stat(filepath.Join(dir, "go")); err == nil {
			return 0
		}
	}
	return 1
}

// canaries are secrets by what they are, each one of its own, and the forms in which they would be seen.
type canaries map[string]string

func (c canaries) add(name string) string {
	c[name] = "c4nary" + rand.Text()
	return c[name]
}

// in names the canaries that a text holds.
func (c canaries) in(text string) (found []string) {
	for name, value := range c {
		if strings.Contains(text, value) || strings.Contains(text, base64.StdEncoding.EncodeToString([]byte(value))) {
			found = append(found, name)
		}
	}
	slices.Sort(found)
	return found
}

const canaryRules = `version: modeshift/v1
service: guarded
owner: team
slis: [{name: up, query: vector(1)}]
modes: [{name: normal}, {name: degraded}, {name: failover, beside: true}]
transitions:
  - {name: seen, from: [normal], to: degraded, when: 'sli("up") > 2.0', severity: page}
  - name: fail-over
    from: [normal]
    to: failover
    when: '` + never + `'
    approval: {groups: [{role: oncall, count: 1}, {role: lead, count: 1}], within: 1h}
    actions:
      - name: repoint
        destructive: true
        attempts: 3
        webhook: {url: 'URL/step/{{.to}}', bearer_file: bearer, signature: {secret_file: signing}, json: {reason: '{{.reason}}'}, done: {url: 'URL/step/done', expect: {cel: 'body.contains("it has happened")'}}}
        undo: {webhook: {url: 'URL/step/{{.from}}', bearer_file: bearer}}
      - {name: fence, destructive: true, irreversible: true, attempts: 3, exec: {program: program, keyed: true, timeout: 1h, args: [` + programWord + `, DIR, tell]}}
`

// timed is a service that opens a ticket by itself.
const timed = `version: modeshift/v1
service: timed
modes: [{name: normal}, {name: degraded}]
transitions:
  - {name: shed, from: [normal], to: degraded, when: 'dwell() > duration("1s")', severity: ticket}
`

// asking is a service that asks a source of its own name.
const asking = `version: modeshift/v1
service: SOURCE
source: SOURCE
slis: [{name: up, query: vector(1)}]
modes: [{name: normal}, {name: degraded}]
transitions:
  - {name: shed, from: [normal], to: degraded, when: 'sli("up") > 2.0'}
`

// sources are further Prometheis, one for each way in which a secret comes into the configuration, with the paths that are asked
// for it; empty where nobody answers.
func (c canaries) sources(echo string) (config string, paths map[string]string) {
	host := strings.TrimPrefix(echo, "http://")
	both := func(user, name string) string { // as it is said, in whatever form
		c["user and password: "+name] = user + ":" + c.add(name)
		return c[name]
	}
	var b strings.Builder
	paths = map[string]string{}
	add := func(name, path, url, more string) {
		fmt.Fprintf(&b, "  - {name: %s, url: %q, http_config: {%s}}\n", name, url, more)
		paths[name] = path
	}
	add("oauth", "/token", echo+"/oauth/prometheus", fmt.Sprintf("oauth2: {client_id: me, client_secret: %s, token_url: %q}", both("me", "the secret of an OAuth client"), echo+"/token"))
	add("bearer", "/bearer/prometheus/api/v1/query", echo+"/bearer/prometheus",
		fmt.Sprintf("authorization: {credentials: %s}, http_headers: {X-Key: {secrets: [%s]}}", c.add("the credentials of a Prometheus"), c.add("the header of a Prometheus")))
	add("proxied", "/proxied/prometheus/api/v1/query", "http://prometheus.example/proxied/prometheus", fmt.Sprintf("proxy_url: %q", "http://ann:"+both("ann", "the password of a proxy")+"@"+host))
	add("inside", "/inside/prometheus/api/v1/query", "http://ann:"+both("ann", "the password in a URL")+"@"+host+"/inside/prometheus", "")
	add("away", "", "http://ann:"+both("ann", "the password in the URL of what does not answer")+"@127.0.0.1:1", "")
	add("unproxied", "", "http://prometheus.example", fmt.Sprintf("proxy_url: %q", "http://ann:"+both("ann", "the password of a proxy that does not answer")+"@127.0.0.1:1"))
	return b.String(), paths
}

// Where a secret is meant to be, and nowhere else: with whom it is for; in the file it was given in; a token also in the
// hands of its bearer. What a program is passed is in its environment (/proc/PID/environ, which its own user alone can
// read), and of course in that of the server it comes from.
func TestNoSecretIsSeenWhereItIsNotMeantToBe(t *testing.T) {
	t.Parallel()
	all := canaries{}
	m := &mirror{seen: map[string]int{}, sent: map[string]string{}}
	echo := httptest.NewServer(m)
	t.Cleanup(echo.Close)
	s := &site{dir: t.TempDir(), address: freeAddress(t)}
	s.config, s.data, s.url = filepath.Join(s.dir, "modeshift.yaml"), filepath.Join(s.dir, "data"), "http://"+s.address
	for _, dir := range []string{"rules", "secrets", "data"} {
		if err := os.Mkdir(filepath.Join(s.dir, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	file := func(name, value string) { t.Helper(); write(t, filepath.Join(s.dir, name), value+"\n") }
	place := strings.NewReplacer("URL", echo.URL, "DIR", s.dir)
	file("rules/guarded.yaml", place.Replace(canaryRules))
	file("rules/timed.yaml", timed)
	file("secrets/bearer", all.add("the token of a step"))
	file("secrets/signing", all.add("the signing secret of a step"))
	file("routing", all.add("PagerDuty's routing key"))
	file("hmac", all.add("the signing secret of tickets"))
	file("ticket-token", all.add("the token of tickets"))
	file("prometheus-password", all.add("Prometheus's password"))
	all["Prometheus's user and password"] = "ann:" + all["Prometheus's password"]
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	tokens := ""
	people := map[string]string{}
	for _, one := range [][2]string{{"root", "admin"}, {"dave", "operator"}, {"bob", "oncall"}, {"carol", "lead"}} {
		people[one[0]] = all.add("the token of " + one[0])
		tokens += fmt.Sprintf("- {principal: %s, roles: [%s], scopes: ['*'], sha256: %s}\n", one[0], one[1], api.HashToken(secret.New(people[one[0]])))
	}
	file("tokens.yaml", tokens)
	file("token", people["root"])
	more, paths := all.sources(echo.URL)
	for name := range paths {
		file("rules/"+name+".yaml", strings.ReplaceAll(asking, "SOURCE", name))
	}
	write(t, s.config, fmt.Sprintf(`rules: [rules]
data: data
listen: %s
tokens_file: tokens.yaml
evaluation: {interval: 500ms, blind_after: 2s}
prometheus:
  - {name: main, url: "%[2]s/prometheus", http_config: {basic_auth: {username: ann, password_file: prometheus-password}}}
%[7]sreceivers:
  page: {pagerduty: {routing_key_file: routing, url: "%[2]s/page"}}
  ticket: {webhook: {url: "%[2]s/ticket/%[3]s?key=%[4]s", hmac_secret_file: hmac, http_config: {authorization: {credentials_file: ticket-token}, proxy_url: "http://ann:%[9]s@%[10]s"}}}
  approvals: {pagerduty: {routing_key: %[8]s, url: "%[2]s/asked/%[5]s"}}
actions:
  webhook: {allow: [127.0.0.1], secrets_dir: secrets}
  exec: {programs: {program: %[6]q}, env: [STEP_TOKEN]}
`, s.address, echo.URL, all.add("the path of tickets"), all.add("the query of tickets"), all.add("the path of approvals"), self, more, all.add("the routing key of approvals"), all.add("the password of the proxy of tickets"), strings.TrimPrefix(echo.URL, "http://")))
	all["user and password: the proxy of tickets"] = "ann:" + all["the password of the proxy of tickets"]

	// The real program, at the level that says most.
	p := &process{cmd: exec.Command(binary, "run", "-c", s.config, "--log-level", "debug"), out: &output{}, done: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), "STEP_TOKEN="+all.add("the variable of programs"), "SERVER_TOKEN="+all.add("the server's own variable"))
	p.cmd.Stdout, p.cmd.Stderr, p.cmd.SysProcAttr = p.out, p.out, endWithParent()
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.done)
		p.err = p.cmd.Wait()
	}()
	t.Cleanup(p.kill)
	s.ready(t)
	seen := func(where, text string) {
		t.Helper()
		if found := all.in(text); len(found) > 0 {
			i := strings.Index(text, "c4nary")
			t.Errorf("%s shows %q: …%s…", where, found, text[max(0, i-200):min(len(text), i+200)])
		}
	}
	as := func(name string) *api.Client {
		t.Helper()
		c, err := api.NewClient(s.url, secret.New(people[name]), nil)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}

	// Tokens where they do not belong: one that nobody knows, and one in a query.
	for _, path := range []string{"/api/v1/status", "/api/v1/scopes?token=" + people["dave"], "/approvals?token=" + people["dave"], "/-/reload"} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+all.add("a token nobody knows"))
		if text, _ := do(t, http.DefaultClient, req); strings.Contains(text, all["a token nobody knows"]) {
			t.Errorf("GET %s repeats a token", path)
		}
	}
	if _, err := as("dave").Set(t.Context(), "guarded", api.SetRequest{Mode: "failover", Reason: "drill"}); err != nil {
		t.Fatal(err)
	}
	proposals, err := as("bob").Approvals(t.Context())
	if err != nil || len(proposals) != 1 {
		t.Fatalf("%+v, %v", proposals, err)
	}
	id := proposals[0].ID
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	browser := &http.Client{Jar: jar}
	page := func(what string, form url.Values) string {
		t.Helper()
		method := http.MethodGet
		if form != nil {
			method = http.MethodPost
		}
		req, err := http.NewRequestWithContext(t.Context(), method, s.url+what, strings.NewReader(form.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		text, _ := do(t, browser, req)
		seen("the page "+what, text)
		return text
	}
	page("/approvals/"+string(id), nil)
	page("/approvals/sign-in", url.Values{"token": {all["a token nobody knows"]}, "id": {string(id)}})
	if text := page("/approvals/sign-in", url.Values{"token": {people["carol"]}, "id": {string(id)}}); !strings.Contains(text, "/step/failover") {
		t.Fatalf("the page does not show the step:\n%s", text)
	}
	page("/approvals", nil)
	for _, c := range jar.Cookies(&url.URL{Scheme: "http", Host: s.address}) {
		all["carol's session"] = c.Value
	}
	for _, name := range []string{"bob", "carol"} {
		if _, err := as(name).Review(t.Context(), id, api.ReviewRequest{Verdict: api.VerdictYes, Digest: proposals[0].Digest, Reason: "agreed"}); err != nil {
			t.Fatal(err)
		}
	}

	// While the program runs: what the system shows of it.
	eventually(t, "the program", func() bool { _, err := os.Stat(filepath.Join(s.dir, "told")); return err == nil })
	pids := programs(t, s.dir)
	if len(pids) != 1 {
		t.Fatalf("programs %v run", pids)
	}
	proc := func(pid int, name string) string {
		t.Helper()
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	seen("the program's command line", proc(pids[0], "cmdline"))
	seen("the server's command line", proc(p.cmd.Process.Pid, "cmdline"))
	if found := all.in(proc(pids[0], "environ")); !slices.Equal(found, []string{"the variable of programs"}) {
		t.Errorf("in the program's environment are %q, want the variable it is passed alone", found)
	}
	write(t, filepath.Join(s.dir, "go"), "")
	admin := as("root")
	asked := "/asked/" + all["the path of approvals"] + "/v2/enqueue"
	eventually(t, "the change, a page and a ticket", func() bool {
		sc := scope(t, admin, "guarded")
		return sc.Mode == "failover" && sc.Change == nil && m.times("/page/v2/enqueue")+m.times("/page") > 1 &&
			m.times("/ticket/"+all["the path of tickets"]) > 1 && m.times(asked) > 1
	})
	a, err := admin.Approval(t.Context(), id)
	if err != nil || a.Ended == nil || a.Ended.How != approval.Started {
		t.Fatalf("%+v, %v", a, err)
	}

	for name, path := range paths {
		eventually(t, name+" is out of sight", func() bool {
			text, _ := s.modeshift(t, "--token-file", filepath.Join(s.dir, "token"), "history", "fleet")
			return (path == "" || m.times(path) > 1) && strings.Contains(text, "source "+name+" cannot be seen")
		})
	}

	// Each secret did get to whom it is meant for, or this would show nothing.
	for path, want := range map[string][]string{
		"/step/failover":                        {"the token of a step"},
		"/ticket/" + all["the path of tickets"]: {"the path of tickets", "the query of tickets", "the token of tickets", "user and password: the proxy of tickets"},
		asked:                                   {"the path of approvals", "the routing key of approvals"},
		"/prometheus/api/v1/query":              {"Prometheus's user and password"},
		paths["oauth"]:                          {"the secret of an OAuth client"}, // the second way: in a form
		paths["bearer"]:                         {"the credentials of a Prometheus", "the header of a Prometheus"},
		paths["proxied"]:                        {"user and password: the password of a proxy"},
		paths["inside"]:                         {"user and password: the password in a URL"},
	} {
		if found := all.in(m.got(path)); !slices.Equal(found, want) {
			t.Errorf("%s got %q, want %q", path, found, want)
		}
	}
	for path, header := range map[string]string{"/step/failover": "Modeshift-Signature", "/ticket/" + all["the path of tickets"]: "Modeshift-Signature"} {
		if !strings.Contains(m.got(path), header+": ") {
			t.Errorf("what %s got is not signed:\n%s", path, m.got(path))
		}
	}
	if text := m.got("/page") + m.got("/page/v2/enqueue"); !slices.Contains(all.in(text), "PagerDuty's routing key") {
		t.Errorf("PagerDuty got no routing key: %q", text)
	}

	s.checkReads(t, seen, people["root"], id, a.Ended.Change)
	s.checkCommands(t, seen, id, a.Ended.Change)
	for name := range paths { // each says why it cannot be known, and exits accordingly
		for _, args := range [][]string{{"evaluate", name}, {"status", name}, {"history", name}, {"history", "fleet"}, {"budget"}} {
			for _, form := range []string{"table", "json"} {
				text, code := s.modeshift(t, append([]string{"--token-file", filepath.Join(s.dir, "token"), "-o", form}, args...)...)
				if code == 2 || len(text) < 10 {
					t.Errorf("%v -o %s exits %d: %s", args, form, code, text)
				}
				seen(fmt.Sprint(args, " -o ", form), text)
			}
		}
	}
	if err := p.stop(t); err != nil {
		t.Errorf("the server ended with %v", err)
	}
	log := p.said()
	for _, word := range []string{"level=DEBUG", "step unknown", "step failed", "notice not taken", "<secret>"} {
		if !strings.Contains(log, word) {
			t.Errorf("the log does not say %q, so it shows nothing", word)
		}
	}
	for line := range strings.Lines(log) {
		seen("the log", line)
	}
	err = filepath.WalkDir(s.data, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if err == nil {
			seen("the file "+d.Name(), string(text))
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	if out, code := s.modeshift(t, "-o", "json", "audit", "verify", filepath.Join(s.data, server.LogFile)); code != 0 {
		t.Errorf("audit verify exits %d: %s", code, out)
	}
}

// do returns what a request is answered, and its status.
func do(t *testing.T, c *http.Client, req *http.Request) (text string, status int) {
	t.Helper()
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Fatal(err)
	}
	return string(body), resp.StatusCode
}

// checkReads reads everything that can be read over HTTP: each GET of the API's own description, and what is beside it.
func (s *site) checkReads(t *testing.T, seen func(where, text string), token string, proposal, change engine.ChangeID) {
	t.Helper()
	get := func(path string) string {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
		text, status := do(t, http.DefaultClient, req)
		if status != http.StatusOK {
			t.Errorf("GET %s is answered %d: %s", path, status, text)
		}
		seen("GET "+path, text)
		return text
	}
	var description struct {
		Paths map[string]map[string]any `json:"paths"`
	}
	if err := json.Unmarshal([]byte(get(api.Prefix+"/openapi.json")), &description); err != nil {
		t.Fatal(err)
	}
	fill := strings.NewReplacer("{scope}", "guarded", "{id}", string(proposal), "{change}", string(change))
	read := 0
	for path, operations := range description.Paths {
		switch _, reads := operations["get"]; {
		case strings.HasSuffix(path, "/events"):
			s.follow(t, path+"?after=0", token, seen)
			read++
		case reads:
			get(fill.Replace(path))
			read++
		}
	}
	if read < 7 {
		t.Errorf("%d paths of the API were read: %v", read, description.Paths)
	}
	for _, path := range []string{"/", "/metrics", "/-/healthy", "/-/ready", api.Prefix + "/scopes/fleet", api.Prefix + "/scopes/fleet/history?limit=1000",
		api.Prefix + "/scopes/timed/history?limit=1000", api.Prefix + "/scopes/guarded/history?limit=1000"} {
		get(path)
	}
}

// follow reads the stream of events up to the last event there is.
func (s *site) follow(t *testing.T, path, token string, seen func(where, text string)) {
	t.Helper()
	want := len(s.events(t, ""))
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }() // a stream does not end by itself
	lines := bufio.NewReader(resp.Body)
	for n := 0; n < want; {
		line, err := lines.ReadString('\n')
		if err != nil {
			t.Fatalf("the stream ended after %d of %d events: %v", n, want, err)
		}
		if strings.HasPrefix(line, "data:") {
			n++
		}
		seen("the stream of events", line)
	}
}

// checkCommands reads everything that the command line shows.
func (s *site) checkCommands(t *testing.T, seen func(where, text string), proposal, change engine.ChangeID) {
	t.Helper()
	for _, args := range [][]string{
		{"status"}, {"status", "guarded"}, {"history", "guarded"}, {"approvals", string(proposal)}, {"explain", string(change)}, {"explain", string(change), "--data", s.data},
		{"audit", "verify", s.data},
	} {
		for _, form := range []string{"table", "json"} {
			cmd := exec.CommandContext(t.Context(), binary, append([]string{"-o", form}, args...)...)
			cmd.Env = append(os.Environ(), "MODESHIFT_SERVER="+s.url, "MODESHIFT_TOKEN_FILE="+filepath.Join(s.dir, "token"))
			text, err := cmd.CombinedOutput()
			if err != nil || len(text) < 10 {
				t.Errorf("%v -o %s: %v: %s", args, form, err, text)
			}
			seen(fmt.Sprint(args, " -o ", form), string(text))
		}
	}
}
