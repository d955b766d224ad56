package flags

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/modeshift/modeshift/engine"
)

// ahead is what the first wave of a recovery is told while the rest stays degraded.
var ahead = engine.Directive{Term: 1, Revision: 8, Mode: "normal", Flags: engine.Flags{"payment_gateway": "backup", "retries": 3.0}}

func as(instance string) string {
	return fmt.Sprintf(`{"context":{"targetingKey":%q,"service":"checkout"}}`, instance)
}

func TestInAWaveEachInstanceIsToldWhatIsMeantForIt(t *testing.T) {
	s := newServices(shop())
	h := Handler(s, Options{})
	s.wave("checkout", ahead, "pod-1", "pod-2")
	for _, c := range []struct{ name, body, key, want string }{
		{"a member", as("pod-1"), "mode", `"value":"normal","reason":"SPLIT","variant":"normal","metadata":{"revision":8`},
		{"another member", as("pod-2"), "mode", `"value":"normal","reason":"SPLIT"`},
		{"one of the rest", as("pod-3"), "mode", `"value":"degraded","reason":"SPLIT","variant":"degraded","metadata":{"revision":7`},
		{"one who has no name", `{"context":{"service":"checkout"}}`, "mode", `"value":"degraded","reason":"SPLIT"`},
		{"one whose name is no text", `{"context":{"service":"checkout","instance":1,"targetingKey":["pod-1"]}}`, "mode", `"value":"degraded"`},
		{"a member by the key instance", `{"context":{"service":"checkout","instance":"pod-1","targetingKey":"user 7"}}`, "mode", `"value":"normal"`},
		{"one of the rest whose user has a member's name", `{"context":{"service":"checkout","instance":"pod-3","targetingKey":"pod-1"}}`, "mode", `"value":"degraded"`},
		{"an empty instance leaves it to the targeting key", `{"context":{"service":"checkout","instance":"","targetingKey":"pod-1"}}`, "mode", `"value":"normal"`},
		{"a flag that is the same for all", as("pod-1"), "payment_gateway", `"value":"backup","reason":"STATIC"`},
		{"a flag with another value", as("pod-1"), "retries", `"value":3,"reason":"SPLIT","variant":"normal"`},
		{"the same for the rest", as("pod-3"), "retries", `"value":2,"reason":"SPLIT","variant":"degraded"`},
		{"a flag that a member's mode does not set", as("pod-1"), "recommendations", `{"key":"recommendations","reason":"DISABLED"`},
		{"the same for the rest", as("pod-3"), "recommendations", `"value":false,"reason":"SPLIT"`},
		{"a flag that nobody's mode sets", as("pod-1"), "writes", `{"key":"writes","reason":"DISABLED"`},
	} {
		if w := (request{path: Path + "/" + c.key, body: c.body}).do(t, h); w.Code != 200 || !strings.Contains(w.Body.String(), c.want) {
			t.Errorf("%s: %s: %d %s, want %s", c.name, c.key, w.Code, w.Body, c.want)
		}
	}
	tag := func(body string) string { return request{path: Path, body: body}.do(t, h).Header().Get("ETag") }
	content := func(body string) string { before, _, _ := strings.Cut(tag(body), "."); return before }
	if content(as("pod-1")) == content(as("pod-3")) {
		t.Error("answers that differ have one tag")
	}
	if content(as("pod-1")) != content(as("pod-2")) || content(as("pod-3")) != content(as("pod-4")) {
		t.Error("answers that are the same have two tags")
	}
	member := tag(as("pod-1"))
	s.change("checkout", func(v *engine.View) { v.State.Directive = ahead })
	s.wave("checkout", ahead)
	for _, instance := range []string{"pod-1", "pod-3"} {
		w := request{path: Path + "/mode", body: as(instance)}.do(t, h)
		if !strings.Contains(w.Body.String(), `"value":"normal","reason":"STATIC"`) {
			t.Errorf("%s, when the roll-out is over: %s", instance, w.Body)
		}
	}
	if tag(as("pod-1")) == member {
		t.Error("the reasons are others when the roll-out is over, and the tag is not")
	}
}

// configured is the document that flagd is sent.
func configured(t *testing.T, s *services) (text string, flags map[string]json.RawMessage) {
	t.Helper()
	sheet, there := newBook(s, nil).open("checkout")
	if !there {
		t.Fatal("there is no checkout")
	}
	text, _, err := sheet.configured()
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		Flags map[string]json.RawMessage `json:"flags"`
	}
	if err := json.Unmarshal([]byte(text), &d); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(text), d.Flags
}

func TestFlagdGetsEveryFlagWithTheValueOfEachMode(t *testing.T) {
	text, _ := configured(t, newServices(shop()))
	const want = `{"$schema":"https://flagd.dev/schema/v0/flags.json",` +
		`"metadata":{"flagSetId":"checkout","version":"1.7"},` +
		`"flags":{` +
		`"a/b c":{"state":"ENABLED","variants":{"read-only":true},"defaultVariant":null},` +
		`"limits":{"state":"ENABLED","variants":{"degraded":{"cart":10}},"defaultVariant":"degraded"},` +
		`"mode":{"state":"ENABLED","variants":{"degraded":"degraded","normal":"normal","read-only":"read-only"},"defaultVariant":"degraded","metadata":{"revision":7,"scope":"checkout","term":1}},` +
		`"payment_gateway":{"state":"ENABLED","variants":{"degraded":"backup"},"defaultVariant":"degraded"},` +
		`"recommendations":{"state":"ENABLED","variants":{"degraded":false},"defaultVariant":"degraded"},` +
		`"retries":{"state":"ENABLED","variants":{"degraded":2},"defaultVariant":"degraded"},` +
		`"writes":{"state":"ENABLED","variants":{"read-only":false},"defaultVariant":null}}}`
	if text != want {
		t.Errorf("got\n%s\nwant\n%s", text, want)
	}
}

func TestInAWaveFlagdLooksForTheInstanceInTheList(t *testing.T) {
	s := newServices(shop())
	s.wave("checkout", ahead, "pod-2", "pod-1")
	text, flags := configured(t, s)
	if want := `"$evaluators":{"wave":{"in":[{"if":[{"var":"instance"},{"var":"instance"},{"var":"targetingKey"}]},["pod-1","pod-2"]]}}`; !strings.Contains(text, want) {
		t.Errorf("got\n%s\nwant in it\n%s", text, want)
	}
	if want := `"version":"1.8"`; !strings.Contains(text, want) {
		t.Errorf("got\n%s\nwant in it %s", text, want)
	}
	for key, want := range map[string]string{
		"mode": `{"state":"ENABLED","variants":{"degraded":"degraded","normal":"normal","read-only":"read-only"},"defaultVariant":null,` +
			`"targeting":{"if":[{"$ref":"wave"},"normal","degraded"]},"metadata":{"revision":7,"scope":"checkout","term":1}}`,
		"payment_gateway": `{"state":"ENABLED","variants":{"degraded":"backup","normal":"backup"},"defaultVariant":"degraded"}`,
		"retries":         `{"state":"ENABLED","variants":{"degraded":2,"normal":3},"defaultVariant":null,"targeting":{"if":[{"$ref":"wave"},"normal","degraded"]}}`,
		"recommendations": `{"state":"ENABLED","variants":{"degraded":false},"defaultVariant":null,"targeting":{"if":[{"$ref":"wave"},null,"degraded"]}}`,
	} {
		if got := string(flags[key]); got != want {
			t.Errorf("%s: got\n%s\nwant\n%s", key, got, want)
		}
	}
}

func TestVariantsKeepTheirNamesAndHaveOneType(t *testing.T) {
	odd := shop()
	odd.Policy = &engine.Policy{Scope: "checkout", Modes: []engine.ModeRule{
		{Name: "normal", Flags: engine.Flags{"retries": "many", "nothing": nil}},
		{Name: "degraded", Flags: engine.Flags{"retries": 5.0, "list": []any{1.0}}}, // the rules changed since the directive
	}}
	s := newServices(odd)
	_, flags := configured(t, s)
	if got, want := string(flags["retries"]), `{"state":"ENABLED","variants":{"degraded":2},"defaultVariant":"degraded"}`; got != want {
		t.Errorf("what is told counts: got %s, want %s", got, want)
	}
	for _, key := range []string{"nothing", "list"} {
		if got, there := flags[key]; there {
			t.Errorf("%s has no value that flagd knows, and is told as %s", key, got)
		}
	}
	// In one mode two directives, because the rules changed in between.
	s.wave("checkout", engine.Directive{Term: 1, Revision: 8, Mode: "degraded", Flags: engine.Flags{"retries": 5.0}}, "pod-1")
	_, flags = configured(t, s)
	if got, want := string(flags["retries"]), `{"state":"ENABLED","variants":{"degraded":2,"degraded@8":5},"defaultVariant":null,"targeting":{"if":[{"$ref":"wave"},"degraded@8","degraded"]}}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestAScopeThatWasNeverToldAModeHasNoFlags(t *testing.T) {
	s := newServices(engine.View{Policy: &engine.Policy{Scope: "checkout"}, State: engine.State{Scope: "checkout", Version: 1}})
	if text, flags := configured(t, s); len(flags) != 0 {
		t.Errorf("flagd is told %s", text)
	}
}

func TestWhatIsKnownOfAFlagIsItsMetadata(t *testing.T) {
	meta := func(_ engine.Scope, key string) map[string]any {
		if key != "retries" {
			return nil
		}
		return map[string]any{"owner": "team-payments", "level": 2, "tested": true, "expires": "2027-01-31", "saves": []string{"no", "list"}}
	}
	s := newServices(shop())
	w := request{path: Path, body: inCheckout}.do(t, Handler(s, Options{Meta: meta}))
	const want = `{"key":"retries","value":2,"reason":"STATIC","variant":"degraded","metadata":{"expires":"2027-01-31","level":2,"owner":"team-payments","tested":true}}`
	if !strings.Contains(w.Body.String(), want) {
		t.Errorf("got %s\nwant in it %s", w.Body, want)
	}
	sheet, _ := newBook(s, meta).open("checkout")
	config, _, err := sheet.configured()
	if err != nil || !strings.Contains(config, `"defaultVariant":"degraded","metadata":{"expires":"2027-01-31","level":2,"owner":"team-payments","tested":true}}`) {
		t.Errorf("flagd is told %s, %v", config, err)
	}
}

func TestTheLastDirectiveIsServedWithoutRules(t *testing.T) {
	var l Latest
	h := Handler(&l, Options{Default: func(string) (engine.Scope, bool) { return "checkout", true }})
	flag := func(key string) string {
		return strings.TrimSpace(request{path: Path + "/" + key, body: `{"context":{}}`}.do(t, h).Body.String())
	}
	if got := flag("mode"); !strings.Contains(got, "FLAG_NOT_FOUND") {
		t.Errorf("before anything was told: %s", got)
	}
	changed := l.Changed()
	l.Tell(engine.Told{Scope: "checkout", Directive: shop().State.Directive})
	select {
	case <-changed:
	default:
		t.Error("nobody is told that something changed")
	}
	if got := flag("mode"); !strings.Contains(got, `"value":"degraded","reason":"STATIC"`) {
		t.Errorf("the mode is %s", got)
	}
	l.Tell(engine.Told{Scope: "checkout", Directive: engine.Directive{Term: 1, Revision: 8, Mode: "normal"}})
	if got := flag("recommendations"); !strings.Contains(got, `"reason":"DISABLED"`) {
		t.Errorf("a flag of the mode before: %s", got)
	}
	for i := range 10 * maxModes {
		l.Tell(engine.Told{Scope: "checkout", Directive: engine.Directive{Term: 1, Revision: engine.Version(9 + i), Mode: engine.Mode(fmt.Sprint("m", i))}})
	}
	if v, _ := l.View("checkout"); len(v.Policy.Modes) > maxModes {
		t.Errorf("%d modes are remembered", len(v.Policy.Modes))
	}
}

// With ten thousand readers it matters who is woken by a commit: those whom it tells something.
func TestASheetIsReplacedOnlyWhenItSaysSomethingElse(t *testing.T) {
	other := shop()
	other.State.Scope = "payments"
	s := newServices(shop(), other)
	b := newBook(s, nil)
	leave := b.follow("checkout")
	second := b.follow("checkout")
	present := func() *sheet {
		sheet, _ := b.open("checkout")
		return sheet
	}
	for _, c := range []struct {
		name   string
		change func()
		moves  bool
	}{
		{"another scope's directive", func() { s.change("payments", next(8)) }, false},
		{"an event that publishes nothing", func() { s.change("checkout", func(v *engine.View) { v.State.Version++ }) }, false},
		{"a directive", func() { s.change("checkout", next(8)) }, true},
		{"a wave", func() { s.wave("checkout", ahead, "pod-1") }, true},
		{"the same wave, told anew", func() { s.wave("checkout", ahead, "pod-1") }, false},
		{"one more in it", func() { s.wave("checkout", ahead, "pod-1", "pod-2") }, true},
		{"another scope's directive meanwhile", func() { s.change("payments", next(9)) }, false},
		{"its end", func() { s.wave("checkout", ahead) }, true},
		{"other rules", func() { s.change("checkout", func(v *engine.View) { p := *v.Policy; v.Policy = &p }) }, true},
	} {
		before := present()
		c.change()
		if c.moves {
			select { // nobody opens it: that is the follower's doing
			case <-before.moved:
			case <-time.After(patience):
				t.Fatalf("%s: nobody is told", c.name)
			}
			continue
		}
		if after := present(); after.moved != before.moved || after.groups[0] != before.groups[0] {
			t.Errorf("%s: all is made out anew", c.name)
		}
	}
	leave()
	if b.watch == nil {
		t.Error("nobody looks any more, and one still follows")
	}
	second()
	if b.watch != nil || len(b.followed) != 0 {
		t.Error("somebody still looks, and nobody follows")
	}
}
