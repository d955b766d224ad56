package engine_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/modeshift/modeshift/engine"
)

// What is expected of a pending transcript is written by hand and compared with nothing yet. So that it does not rot, its form
// is checked: versions follow each other, time does not run backwards, what is referred to has been, kinds are in the README.

var (
	eventLine  = regexp.MustCompile(`^([+-]\S+) ([a-z-]+)/(\d+) ([A-Z]\w+)( .*)?$`)
	headLine   = regexp.MustCompile(`^([a-z-]+)/(\d+) [a-z-]+$`)
	identifier = regexp.MustCompile(`(?:^|[ =/])([a-z]+)-(\d+)\b`)
	effectLine = regexp.MustCompile(`^  -> (exec|page|ticket|info|ask|tell|do|find|undo) \S`)
)

func TestExpectationsAreWellFormed(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile("testdata/README.md")
	if err != nil {
		t.Fatal(err)
	}
	for word := range commands {
		if !strings.Contains(string(readme), "`"+word) {
			t.Errorf("testdata/README.md does not explain the command %s", word)
		}
	}
	for word, g := range policyWords {
		if !strings.Contains(string(readme), "`"+word) && !strings.Contains(string(readme), "`  "+word) {
			t.Errorf("testdata/README.md does not explain the policy's word %s", word)
		}
		for key := range g.keys {
			if !strings.Contains(string(readme), key+"=") {
				t.Errorf("testdata/README.md does not explain %s= of %s", key, word)
			}
		}
	}
	later := map[string]bool{}
	_, table, _ := strings.Cut(string(readme), "## Events that are not built yet")
	table, _, _ = strings.Cut(table, "\n## ")
	for _, kind := range regexp.MustCompile(`\b[A-Z][a-z]+[A-Z]\w+`).FindAllString(table, -1) {
		if isBuilt(kind) {
			t.Errorf("testdata/README.md: %s is built: it belongs to engine/event.go alone", kind)
		}
		later[kind] = false
	}
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		tr, err := parseTranscript(string(text))
		if err != nil {
			t.Errorf("%s:%v", path, err)
			continue
		}
		f := form{path: path, versions: map[string]int{}, at: map[string]time.Duration{}, later: later}
		for _, b := range tr.blocks {
			for _, l := range b.want {
				if err := f.read(l, b); err != nil {
					t.Errorf("%s:%d: %v\n%s", path, l.line, err, l.text)
				}
			}
			if len(b.want) == 0 {
				t.Errorf("%s:%d: a command yields something, or (no events)", path, b.commands[0].line)
			}
		}
	}
	for kind, seen := range later {
		if !seen {
			t.Errorf("testdata/README.md: no transcript has the event %s", kind)
		}
	}
}

// form is what is known of a file's streams while its expectations are read.
type form struct {
	path     string
	versions map[string]int
	at       map[string]time.Duration
	later    map[string]bool
	event    bool // the line before was an event or one of its effects
}

func (f *form) read(l bodyLine, b block) error {
	event := f.event
	f.event = false
	has := func(names ...string) bool {
		return slices.ContainsFunc(b.commands, func(c command) bool { return slices.Contains(names, c.name) })
	}
	switch m := eventLine.FindStringSubmatch(l.text); {
	case m != nil:
		f.event = true
		return f.readEvent(m[1], m[2], m[3], m[4], m[5])
	case strings.HasPrefix(l.text, "  -> "):
		if f.event = true; !event {
			return fmt.Errorf("an effect belongs to an event")
		}
		if !effectLine.MatchString(l.text) {
			return fmt.Errorf("an effect of no known kind")
		}
		return f.refer(l.text)
	case headLine.MatchString(l.text) && has("given"):
		m := headLine.FindStringSubmatch(l.text)
		v, err := strconv.Atoi(m[2])
		f.versions[m[1]] = v
		return err
	case l.text == "(no events)":
		if len(b.want) != 1 {
			return fmt.Errorf("there are no events, or there are")
		}
		return nil
	case has("state", "evidence", "check"):
		return f.refer(l.text)
	}
	return fmt.Errorf("neither an event nor an effect")
}

func (f *form) readEvent(offset, stream, version, kind, rest string) error {
	at, err := time.ParseDuration(strings.TrimPrefix(offset, "+"))
	if err != nil {
		return err
	}
	if offset != "+"+at.String() && offset != at.String() {
		return fmt.Errorf("an instant is written +%v", at)
	}
	if at < f.at[stream] {
		return fmt.Errorf("the time of %s runs backwards", stream)
	}
	f.at[stream] = at
	v, err := strconv.Atoi(version)
	if err != nil || v != f.versions[stream]+1 {
		return fmt.Errorf("after %s/%d comes %s/%d", stream, f.versions[stream], stream, f.versions[stream]+1)
	}
	f.versions[stream] = v
	if _, known := f.later[kind]; known {
		f.later[kind] = true
	} else if !isBuilt(kind) {
		return fmt.Errorf("%s is neither built nor in the README", kind)
	}
	fields, _, reason := strings.Cut(rest, " | ")
	if !reason {
		return fmt.Errorf("an event says why")
	}
	return f.refer(fields)
}

// refer checks that the changes, proposals and incidents a line names have been: an identity is that of an event.
func (f *form) refer(line string) error {
	for _, m := range identifier.FindAllStringSubmatch(line, -1) {
		have, stream := f.versions[m[1]]
		// A permit is taken in the append that starts its change.
		permit := strings.HasPrefix(line, " scope="+m[1]+" change=")
		if v, err := strconv.Atoi(m[2]); stream && (err != nil || v > have) && !permit {
			return fmt.Errorf("%s-%s has not been yet", m[1], m[2])
		}
	}
	return nil
}

// isBuilt reports whether the core knows the kind of event.
func isBuilt(kind string) bool {
	e, err := engine.Decode([]byte(`{"stream":"checkout","version":1,"at":"2026-03-02T09:00:00Z","kind":"` + kind + `","fact":{}}`))
	if err != nil {
		return false
	}
	_, unknown := e.Fact.(engine.Unrecognised)
	return !unknown
}
