package rules

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/modeshift/modeshift/engine"
)

// quiet makes a second the bound of what is fuzzed or hostile: on a machine that does something else it says nothing.
var quiet = flag.Bool("quiet", false, "fail when one input takes more than a second: for a machine that does nothing else")

// hostile are files made to cost much.
func hostile() map[string]string {
	head := "version: modeshift/v1\nservice: a\n"
	fill := func(s string) string { return strings.Repeat(s, (maxFileBytes-1000)/len(s)) }
	each := func(n int, format string) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, format, i)
		}
		return b.String()
	}
	transitions := func(n int, when string) string {
		return "modes: [{name: x}, {name: y}]\ntransitions:\n" + each(n, "- {name: t%d, from: [x], to: y, when: '"+when+"'}\n")
	}
	var deep strings.Builder
	for i := range 1400 {
		deep.WriteString(strings.Repeat(" ", i+1) + "a:\n")
	}
	bomb := "labels:\n  a0: &a0 [x,x,x,x,x,x,x,x,x]\n"
	for i := range 30 {
		bomb += fmt.Sprintf("  a%d: &a%d [%s]\n", i+1, i+1, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d,", i), 9), ","))
	}
	return map[string]string{
		"brackets":        head + "labels: " + fill("["),
		"braces":          head + "labels: " + fill("{a: "),
		"dashes":          head + "labels:\n" + fill("- "),
		"one line":        head + "labels: {" + fill("a: 1, ") + "}",
		"many labels":     head + "labels: {" + fill("é: 1, é: 2, ") + "}",
		"many modes":      head + "modes:\n" + fill("- name: x\n"),
		"many from":       head + "modes: [{name: x}, {name: y}]\ntransitions:\n- name: t\n  from: [" + fill("xx, ") + "]\n",
		"many conditions": head + "transitions:\n" + fill("- when: sli('a') > 1\n"),
		"deep condition":  head + "transitions:\n- when: " + strings.Repeat("(", 4000) + "\n",
		"negations":       head + "transitions:\n- when: '" + strings.Repeat("!", 4000) + "alert(\"x\")'\n",
		"deep query":      head + "slis:\n- {name: a, query: '" + strings.Repeat("(", 60_000) + "'}\n",
		"anchors":         head + "labels:\n" + fill("- &a x\n- *a\n"),
		"tabs":            head + fill("\t"),
		"quote":           head + "owner: \"" + fill("x\n  "),
		"many actions":    head + "transitions:\n- name: t\n  actions:\n" + fill("  - {name: x, webhook: {}}\n"),
		"many until":      head + "modes: [{name: x}, {name: y}]\ntransitions:\n" + fill("- {from: [x], to: y, when: alert('a'), until: alert('a'), undo: entry}\n"),
		"long action":     head + "transitions:\n- name: t\n  actions: [{name: x, webhook: {url: '" + fill("x") + "'}}]\n",
		"aliased text":    head + "owner: &a \"" + strings.Repeat("x", 500_000) + "\"\ntransitions:\n- actions: [{webhook: {url: [" + strings.Repeat("*a, ", 90_000) + "]}}]\n",
		"many groups":     head + "transitions:\n- approval: {groups: [" + fill("{role: x}, ") + "]}\n",
		"merges":          head + "labels: {" + fill("<<: {a: b}, ") + "}",
		"documents":       fill("---\nx\n"),
		"empty documents": fill("---\n"),
		"one service":     fill("---\nversion: modeshift/v1\nservice: a\n"),
		"deep blocks":     head + "labels:\n" + deep.String(),
		"zeros":           fill("\x00"),
		"bomb":            head + bomb,
		"itself":          head + "labels: &a {x: *a}\n",
		"long name":       strings.Replace(head, "a\n", fill("x")+"\n", 1),
		"comment":         head + "#" + strings.Repeat("x", maxFileBytes),
		"many signs":      head + "slis:\n" + each(16, "- {name: a%d, query: '"+strings.Repeat("-", 60_000)+"x'}\n"),
		"signs":           head + "slis:\n" + each(450, "- {name: a%d, query: '"+strings.Repeat("-", 2000)+"x'}\n"),
		"many sums":       head + "slis:\n" + each(16, "- {name: a%d, query: 'x"+strings.Repeat("+x", 30_000)+"'}\n"),
		"repetitions":     head + "slis:\n" + each(990, `- {name: a%d, query: 'max(x{a=~"(((a{1,10}){1,10}){1,10})"})'}`+"\n"),
		"letters":         head + "slis:\n" + each(16, `- {name: a%d, query: 'max(x{a=~"`+strings.Repeat(`\\pL`, 14_000)+`"})'}`+"\n"),
		"variants": head + "slis:\n" + each(16, `- {name: a%d, query: 'max(x{a=~"`+strings.Repeat("x", 60_000)+
			`(a|b|c|d|e|f|g|h|i|j|k|l|m|n|o|p)(a|b|c|d|e|f|g|h|i|j|k|l|m|n|o)"})'}`+"\n"),
		"matches":            head + transitions(500, `mode("a").matches("(((a{1,10}){1,10}){1,10})")`),
		"macros":             head + transitions(500, strings.Repeat("[1,2].all(x, ", 60)+`alert("x")`+strings.Repeat(")", 60)),
		"semicolons":         head + transitions(30, strings.Repeat(strings.Repeat("a", 50)+";", 78)),
		"alerts":             head + transitions(250, strings.Repeat(`alert("a") || `, 270)+`alert("a")`),
		"one line of faults": head + "slis: [" + each(500, "{name: a%d, unit: "+strings.Repeat("é", 300)+", query: max(x))}, ") + "]\n",
	}
}

// However hostile a file is, Load refuses it, and soon. The bound of time is generous, the point is that nothing here grows like a
// square; what is allocated is the same on any machine, and most of it is garbage at any time.
func TestHostileFilesEndSoon(t *testing.T) {
	for name, text := range hostile() {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		began := time.Now()
		_, diags := load(t, Options{Kinds: kinds}, text)
		took := time.Since(began)
		runtime.ReadMemStats(&after)
		if len(diags.Errors()) == 0 {
			t.Errorf("%s loads", name)
		}
		if *quiet && took > time.Second {
			t.Errorf("%s takes %v", name, took)
		}
		const most = 300 << 20
		if n := after.TotalAlloc - before.TotalAlloc; n > most {
			t.Errorf("%s allocates %d MB", name, n>>20)
		} else {
			t.Logf("%s takes %v and allocates %d MB", name, took.Round(time.Millisecond), n>>20)
		}
	}
}

// What is too much says what to do. These would be large files of testdata/bad.
func TestLimitsSayWhatToDo(t *testing.T) {
	head := "version: modeshift/v1\nservice: a\n"
	each := func(n int, format string) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, format, i)
		}
		return b.String()
	}
	long := strings.TrimSuffix(strings.Repeat(`alert("A000") || `, 240), " || ")
	for name, c := range map[string]struct{ text, message, hint string }{
		"values":     {head + "labels: [" + strings.Repeat("x, ", maxNodes) + "]\n", "f.yaml:3:299989: the file holds more than 100000 values", "split it: one service a file"},
		"entries":    {head + "slis:\n" + each(1001, "- {name: s%d, query: up}\n"), "f.yaml:1004:3: slis has 1001 entries, and may have at most 1000", "split it into several services, or generate less"},
		"documents":  {each(1001, "---\nversion: prometheus/v1\nservice: s%d\n"), "f.yaml:3001:1: the file holds more than 1000 documents", "split the file"},
		"long query": {head + "slis:\n- {name: s, query: 'up{a=\"" + strings.Repeat("x", maxQueryBytes) + "\"}'}\n", "f.yaml:4:20: the query has 65544 bytes, and may have at most 65536", "record it as a series, and query that"},
		"long queries": {head + "slis:\n" + each(101, "- {name: s%d, query: 'up"+strings.Repeat("+up", 499)+"'}\n"),
			"f.yaml:104:23: the long queries of this file are too many: this one has 999 names, numbers and operators", "record part of it as a series, and query that"},
		"conditions": {head + "modes: [{name: x}, {name: y}]\ntransitions:\n" + each(33, "- {name: t%d, from: [x], to: y, when: '"+long+"'}\n"),
			"f.yaml:37:39: the conditions of this file have more than 131072 bytes together", "split the file: one service each"},
	} {
		_, err := Load([]File{{Name: "f.yaml", Data: []byte(c.text)}}, Options{})
		var diags Diagnostics
		if !errors.As(err, &diags) || diags[0].Summary() != c.message || diags[0].Hint != c.hint {
			t.Errorf("%s: %.300v", name, err)
		}
	}
}

// A file that is far too large costs nothing but itself.
func TestAFileThatIsTooLargeIsNotCopied(t *testing.T) {
	files := []File{{Name: "a.yaml", Data: make([]byte, 100<<20)}}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := Load(files, Options{})
	runtime.ReadMemStats(&after)
	if err == nil || !strings.Contains(err.Error(), "a.yaml: the file is larger than 1048576 bytes") {
		t.Errorf("%v", err)
	}
	if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
		t.Errorf("%d bytes were allocated", n)
	}
}

// Many files are refused in a time that does not grow like a square, whatever they say of each other.
func TestManyFilesThatReferToEachOther(t *testing.T) {
	const n = 2000
	service := func(i int, more string) string {
		return fmt.Sprintf("version: modeshift/v1\nservice: s%d\nmodes: [{name: normal}, {name: degraded}]\n%s", i, more)
	}
	for name, c := range map[string]struct {
		text   func(i int) string
		faults int // of each but the last
		says   string
	}{
		// The last refers to nobody, and each of the others to the next.
		"conditions": {func(i int) string {
			return service(i, fmt.Sprintf("transitions:\n- {name: t, from: [normal], to: degraded, when: 'mode(\"s%d\") == \"normal\"'}\n", i+1))
		}, 1, `s0.yaml:5:56: service "s1" does not load (s1.yaml)`},
		"parents": {func(i int) string { return service(i, fmt.Sprintf("parent: s%d\n", i+1)) }, 0, `s0.yaml:4:9: "s0" stands below more than 19 others`},
		"a circle of parents": {func(i int) string { return service(i, fmt.Sprintf("parent: s%d\n", (i+1)%n)) }, 1,
			`s0.yaml:4:9: "s0" stands below more than 19 others`},
		"one name": {func(int) string { return service(7, "") }, 1, `s0.yaml:2:10: service "s7" is declared by s1.yaml:2:10 and by s2.yaml:2:10 and by s3.yaml:2:10 and by 1996 more too`},
	} {
		files := make([]File, n)
		for i := range files {
			files[i] = File{Name: fmt.Sprintf("s%d.yaml", i), Data: []byte(c.text(i))}
		}
		set, err := Load(files, Options{})
		var diags Diagnostics
		if !errors.As(err, &diags) || len(set.Services) > 0 {
			t.Fatalf("%s: %d services, %v", name, len(set.Services), err)
		}
		bad := map[string]bool{}
		for _, d := range diags {
			bad[d.File] = true
		}
		if len(bad) < n-1 {
			t.Errorf("%s: only %d files are said to be bad", name, len(bad))
		}
		if first := diags[0].Summary(); first != c.says {
			t.Errorf("%s: %s", name, first)
		}
	}
}

// More is not shown than anybody reads, and still each bad file is told of.
func TestFaultsOfAllFilesAreCutShort(t *testing.T) {
	var many strings.Builder
	for i := range 90 {
		fmt.Fprintf(&many, "key%d: 1\n", i)
	}
	files := make([]File, 200)
	for i := range files {
		files[i] = File{Name: fmt.Sprintf("s%03d.yaml", i), Data: fmt.Appendf(nil, "version: modeshift/v1\nservice: s%d\n%s", i, many.String())}
	}
	_, err := Load(files, Options{})
	var diags Diagnostics
	if !errors.As(err, &diags) || len(diags) != maxAllDiagnostics+200-56+1 {
		t.Fatalf("%d are shown", len(diags))
	}
	if last := diags[len(diags)-1]; last.Level != LevelError || last.Message != fmt.Sprintf("18000 faults and warnings; %d of them are not shown", 18000-len(diags)+1) {
		t.Errorf("%v", last)
	}
}

// A file of Sloth's with more unknown keys than are shown loads all the same.
func TestWarningsWithoutEndAreNoError(t *testing.T) {
	var b strings.Builder
	b.WriteString("version: prometheus/v1\nservice: a\nslos:\n- {name: a, objective: 99, sli: {raw: {error_ratio_query: 'rate(x[{{.window}}])'}}, alerting: {name: A}}\n")
	for i := range 300 {
		fmt.Fprintf(&b, "key%d: 1\n", i)
	}
	set := mustLoad(t, Options{}, b.String())
	if n := len(set.Warnings); n != maxDiagnostics+1 || !strings.Contains(set.Warnings[0].Message, "not shown") {
		t.Errorf("%d warnings, first %v", n, set.Warnings[0])
	}
	_, diags := load(t, Options{}, b.String()+"servic: b\nslos: 7\n")
	if errs := diags.Errors(); len(errs) != 1 || !strings.Contains(errs[0].Message, "duplicate key") {
		t.Errorf("\n%v", errs)
	}
}

func TestMoreFilesThanRulesHaveAreRefused(t *testing.T) {
	dir := t.TempDir()
	for i := range maxAllBytes/maxFileBytes + 1 { // sparse: they take no room
		name := filepath.Join(dir, fmt.Sprintf("%d.yaml", i))
		if err := errors.Join(os.WriteFile(name, nil, 0o600), os.Truncate(name, 100<<30)); err != nil {
			t.Skipf("no sparse files here: %v", err)
		}
	}
	if _, err := ReadFiles(dir); err == nil || !strings.Contains(err.Error(), "more than 64 MB together") {
		t.Errorf("%v", err)
	}
	dir = t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a.yaml"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for i := range 100 { // with names for the folder itself one file has 100 × 100 of them
		if err := os.Symlink(".", filepath.Join(dir, strconv.Itoa(i))); err != nil {
			t.Fatal(err)
		}
	}
	if files, err := ReadFiles(dir + "/*/*/a.yaml"); err != nil || len(files) != maxFiles {
		t.Errorf("%d files, %v", len(files), err)
	}
	if _, err := ReadFiles(dir+"/*/*/a.yaml", dir); err == nil || !strings.Contains(err.Error(), "there are 10001 files, and may be at most 10000") {
		t.Errorf("%v", err)
	}
}

// panicKind fails on some specifications, as nothing should.
type panicKind struct{ webhookKind }

func (k panicKind) Check(spec []byte) ([]byte, engine.Traits, []engine.SpecProblem) {
	if strings.Contains(string(spec), "boom") {
		var nothing []int
		return nil, engine.Traits{}, []engine.SpecProblem{{Message: fmt.Sprint(nothing[len(spec)])}}
	}
	return k.webhookKind.Check(spec)
}

// A panic while one service is read is a fault of that service: the file is named, the service stays on the rules it had, the
// others load.
func TestAPanicIsAFaultOfOneService(t *testing.T) {
	opts := Options{Kinds: map[string]Kind{"webhook": panicKind{}}}
	text := func(service, url string) string {
		return fmt.Sprintf("version: modeshift/v1\nservice: %s\nmodes: [{name: normal}, {name: degraded}]\ntransitions:\n"+
			"- {name: t, from: [normal], to: degraded, when: alert(\"x\"), actions: [{name: a, webhook: {url: \"https://%s\"}}]}\n", service, url)
	}
	last := mustLoad(t, opts, text("a", "one"), text("b", "one")+"---\n"+text("c", "one"))
	set, diags := reload(t, last, opts, text("a", "two"), text("b", "boom")+"---\n"+text("c", "two"))
	if len(diags) != 1 {
		t.Fatalf("\n%v", diags)
	}
	d := diags[0]
	if d.Position() != "b.yaml:1:1" || d.Code != CodeOurFault || !strings.Contains(d.Message, "a fault of its own: runtime error: index out of range") ||
		!strings.Contains(d.Hint, "bounds_test.go:") {
		t.Errorf("%v", d)
	}
	for scope, kept := range map[engine.Scope]bool{"a": false, "b": true, "c": false} {
		s := set.Service(scope)
		if s == nil || (s.Digest == last.Service(scope).Digest) != kept || (s.Problem != "") != kept {
			t.Errorf("%s: %+v", scope, s)
		}
	}
}
