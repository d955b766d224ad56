package engine_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/explain"
)

var update = flag.Bool("update", false, "rewrite the expected output of the transcripts that are not pending")

// TestTranscript runs testdata/*.txt, which are the specification of the core; testdata/README.md describes their language.
// A file that is listed in testdata/pending describes what is not built yet: it has to be well formed and must not pass.
func TestTranscript(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts in testdata (%v)", err)
	}
	pending := readPending(t, files)
	for _, path := range files {
		name := filepath.Base(path)
		t.Run(strings.TrimSuffix(name, ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			tr, err := parseTranscript(string(text))
			if err != nil {
				t.Fatalf("%s:%v", path, err)
			}
			got, err := tr.run()
			if err != nil {
				t.Fatalf("%s:%v", path, err)
			}
			switch same := bytes.Equal(text, []byte(got)); {
			case slices.Contains(pending, name):
				if same {
					t.Errorf("%s passes: remove it from testdata/pending", name)
				}
				if testing.Verbose() {
					t.Logf("pending\n%s", difference(string(text), got))
				}
			case same:
			case *update:
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			default:
				t.Errorf("%s (rewrite with: go test ./engine -run Transcript -update)\n%s", path, difference(string(text), got))
			}
		})
	}
}

// transcriptName is what a file may be called: a sentence with dashes.
var transcriptName = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+){2,}\.txt$`)

// readPending reads the names of the files that describe what is not built yet, and checks all files' names.
func readPending(t *testing.T, files []string) []string {
	t.Helper()
	text, err := os.ReadFile("testdata/pending")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for i, line := range strings.Split(strings.TrimRight(string(text), "\n"), "\n") {
		name, part, _ := strings.Cut(line, "#")
		if name = strings.TrimSpace(name); name == "" {
			continue
		}
		if strings.TrimSpace(part) == "" {
			t.Errorf("testdata/pending:%d: %s: say after a # which part it waits for", i+1, name)
		}
		if !slices.Contains(files, filepath.Join("testdata", name)) {
			t.Errorf("testdata/pending:%d: there is no file %s", i+1, name)
		}
		names = append(names, name)
	}
	if !slices.IsSorted(names) || len(slices.Compact(slices.Clone(names))) != len(names) {
		t.Error("testdata/pending: one name a line, sorted, each once")
	}
	for _, path := range files {
		if name := filepath.Base(path); !transcriptName.MatchString(name) {
			t.Errorf("testdata/%s: the name is to be a sentence in small letters, digits and dashes", name)
		}
	}
	return names
}

// difference shows the lines that are not the same, with the number they have in the file.
func difference(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	// The longest common subsequence; transcripts are short.
	n := make([][]int, len(w)+1)
	for i := range n {
		n[i] = make([]int, len(g)+1)
	}
	for i := len(w) - 1; i >= 0; i-- {
		for j := len(g) - 1; j >= 0; j-- {
			if w[i] == g[j] {
				n[i][j] = n[i+1][j+1] + 1
			} else {
				n[i][j] = max(n[i+1][j], n[i][j+1])
			}
		}
	}
	var b strings.Builder
	for i, j := 0, 0; i < len(w) || j < len(g); {
		switch {
		case i < len(w) && j < len(g) && w[i] == g[j]:
			i, j = i+1, j+1
		case j == len(g) || i < len(w) && n[i+1][j] >= n[i][j+1]:
			fmt.Fprintf(&b, "%4d - %s\n", i+1, w[i])
			i++
		default:
			fmt.Fprintf(&b, "%4d + %s\n", i+1, g[j])
			j++
		}
	}
	return b.String()
}

// transcript is a parsed file: blocks of commands and what is expected of them.
type transcript struct {
	blocks []block
	tail   string // what follows the last block
}

type block struct {
	head     string // as written, from the comments before it to the line ----
	commands []command
	want     []bodyLine // the expected output, as written
}

// parseTranscript reads a file. Every command has to be well formed, whether it is built or not.
func parseTranscript(text string) (transcript, error) {
	var tr transcript
	if !strings.HasPrefix(text, "# ") {
		return tr, fmt.Errorf("1: the file has to begin with a comment that says the rule and why")
	}
	lines := strings.SplitAfter(text, "\n")
	for i := 0; i < len(lines); {
		var b block
		closed := false
		for ; i < len(lines) && !closed; i++ {
			line := strings.TrimRight(lines[i], "\n")
			b.head += lines[i]
			switch {
			case line == "----":
				closed = true
			case strings.TrimSpace(line) == "" || strings.HasPrefix(line, "#"):
			case strings.HasPrefix(line, " "):
				if len(b.commands) == 0 {
					return tr, fmt.Errorf("%d: an indented line belongs to a command", i+1)
				}
				c := &b.commands[len(b.commands)-1]
				c.body = append(c.body, bodyLine{line: i + 1, text: line})
			default:
				b.commands = append(b.commands, command{line: i + 1, text: line})
			}
		}
		if !closed {
			if len(b.commands) > 0 {
				return tr, fmt.Errorf("%d: no ---- after the command", b.commands[0].line)
			}
			tr.tail = b.head
			break
		}
		if len(b.commands) == 0 {
			return tr, fmt.Errorf("%d: ---- without a command", i)
		}
		for k := range b.commands {
			if err := b.commands[k].parse(); err != nil {
				return tr, err
			}
		}
		for i < len(lines) && strings.TrimRight(lines[i], "\n") != "" {
			b.want = append(b.want, bodyLine{line: i + 1, text: strings.TrimRight(lines[i], "\n")})
			i++
		}
		tr.blocks = append(tr.blocks, b)
	}
	if len(tr.blocks) == 0 {
		return tr, fmt.Errorf("1: no commands")
	}
	return tr, nil
}

// run carries the commands out and returns the file as it would be if all of it were expected. In the end the fold of the
// stored events has to be the live state.
func (tr transcript) run() (string, error) {
	var file strings.Builder
	s := &session{streams: map[engine.Scope]*stream{}, term: 1}
	for _, b := range tr.blocks {
		file.WriteString(b.head)
		var out strings.Builder
		for _, c := range b.commands {
			text, err := s.do(c)
			if err != nil {
				return "", fmt.Errorf("%d: %w", c.line, err)
			}
			out.WriteString(text)
		}
		if out.Len() == 0 {
			out.WriteString("(no events)\n")
		}
		file.WriteString(out.String())
	}
	file.WriteString(tr.tail)
	return file.String(), s.checkFold()
}

// start is the instant the offsets in transcripts count from. It is aligned to every interval in use.
var start = time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)

// session is a transcript while it runs.
type session struct {
	streams map[engine.Scope]*stream
	names   []engine.Scope // in the order of their first mention
	term    uint64
	last    []engine.Event  // of the last command that yielded any
	digests []engine.Digest // of proposals, in the order the file meets them
}

// stream is one scope, or the fleet, with what the loop would keep of it.
type stream struct {
	policy engine.Policy
	past   []engine.Policy // all there were, by which decisions are made again
	state  engine.State
	events []engine.Event
	prev   time.Time // the instant of the observation before
	known  int       // instances
	report engine.Instances
	loaded int // policies so far
}

// on finds the stream a command is for: on=…, else the first scope of the file.
func (s *session) on(name string) (*stream, error) {
	if name == "" {
		if len(s.names) == 0 {
			return nil, fmt.Errorf("a policy has to come first")
		}
		name = string(s.names[0])
	}
	if st := s.streams[engine.Scope(name)]; st != nil {
		return st, nil
	}
	if name == string(engine.Fleet) {
		return s.add(engine.Policy{Scope: engine.Fleet, Digest: "rules-1", Interval: 15 * time.Second, BlindAfter: 5 * time.Minute}), nil
	}
	return nil, fmt.Errorf("there is no scope %q", name)
}

func (s *session) add(p engine.Policy) *stream {
	st := &stream{policy: p, past: []engine.Policy{p}, loaded: 1}
	s.streams[p.Scope] = st
	if p.Scope != engine.Fleet {
		s.names = append(s.names, p.Scope)
	}
	return st
}

// decide gives an input to a stream, folds what comes of it and prints it.
func (s *session) decide(st *stream, c command, at time.Time, what engine.Happening) string {
	if at.Before(st.state.At) {
		at = st.state.At // the caller's duty: time in a stream does not run backwards
	}
	by := engine.Actor{Principal: c.key("by"), Person: c.key("person")}
	if by.Person == "" {
		by.Person = by.Principal
	}
	in := engine.Input{At: at, Term: s.term, Frozen: c.key("frozen"), By: by, What: what, Instances: st.instances(at)}
	if fleet := s.streams[engine.Fleet]; fleet != nil {
		in.Term = max(in.Term, fleet.state.Term)
		if st != fleet {
			in.Deposed, in.Recovered = fleet.state.Deposed(), fleet.state.Term
			in.Brake = fleet.state.Brake(s.braking(fleet), st.policy.Scope, at)
			if v := fleet.state.Checkpoint; v > 0 {
				in.Checkpoint = fmt.Sprintf("fleet-%d:hash-of-fleet-%d", v, v)
			}
		}
	}
	in.Above = engine.Ancestry(&st.policy, func(name engine.Scope) (engine.State, *engine.Policy) {
		above := s.streams[name]
		if above == nil {
			return engine.State{}, nil
		}
		return above.state, &above.policy
	})
	events := engine.Decide(st.policy, st.state, in)
	var b strings.Builder
	if permit := engine.PermitOf(st.policy, in, events); permit != nil {
		b.WriteString(s.decide(s.streams[engine.Fleet], command{}, at, permit))
	}
	for _, e := range events {
		st.state = engine.Apply(st.state, e)
		s.printEvent(&b, e)
	}
	st.events = append(st.events, events...)
	if len(events) > 0 {
		s.last = events
	}
	return b.String()
}

// braking is the policy of the fleet with as many scopes as the file has.
func (s *session) braking(fleet *stream) *engine.Policy {
	p := fleet.policy
	for _, st := range s.streams {
		if len(st.policy.Modes) > 0 {
			p.Brake.Scopes++
		}
	}
	return &p
}

// checkFold reports an error unless folding the stored events gives the live state, and making the decisions again from the
// stored inputs the stored events, for each stream.
func (s *session) checkFold() error {
	for scope, st := range s.streams {
		var folded engine.State
		var stored []engine.Event
		for _, e := range st.events {
			b, err := e.Encode()
			if err != nil {
				return err
			}
			d, err := engine.Decode(b)
			if err != nil {
				return err
			}
			folded = engine.Apply(folded, d)
			stored = append(stored, d)
		}
		if r := explain.Run(stored, replayable(st.past)); r.Difference != nil || r.NotKept > 0 {
			return fmt.Errorf("%s: %s", scope, r)
		}
		if err := explainAll(stored, replayable(st.past)); err != nil {
			return fmt.Errorf("%s: %w", scope, err)
		}
		want, err := json.Marshal(st.state)
		if err != nil {
			return err
		}
		got, err := json.Marshal(folded)
		if err != nil {
			return err
		}
		if !bytes.Equal(want, got) {
			return fmt.Errorf("the fold of %s is not its live state:\nlive   %s\nfolded %s", scope, want, got)
		}
	}
	return nil
}

// replayable finds policies by their digests.
func replayable(policies []engine.Policy) explain.Policies {
	return func(_ engine.Scope, digest engine.Digest) (list []engine.Policy) {
		for _, p := range policies {
			if p.Digest == digest {
				list = append(list, p)
			}
		}
		return list
	}
}

// explainAll explains every change and proposal: all of its life is told, and it can be decided again.
func explainAll(events []engine.Event, policies explain.Policies) error {
	for _, e := range events {
		var id engine.ChangeID
		switch f := e.Fact.(type) {
		case engine.ChangeStarted:
			id = f.Change
		case engine.ChangeProposed:
			id = f.Proposal.ID
		default:
			continue
		}
		x, err := explain.Change(events, id, policies)
		switch {
		case err != nil:
			return err
		case x.Replay.Difference != nil || x.Replay.NotKept > 0 || x.Replay.Decisions == 0:
			return fmt.Errorf("%s: %s", id, x.Replay)
		case len(x.Timeline) == 0 || !slices.ContainsFunc(x.Timeline, func(m explain.Moment) bool { return m.Version == e.Version }):
			return fmt.Errorf("%s: its beginning is not told", id)
		}
		if err := reportable(events, id, policies); err != nil {
			return err
		}
		for _, s := range x.Steps {
			for i, a := range s.Attempts {
				if a.Outcome == "" && i < len(s.Attempts)-1 {
					return fmt.Errorf("%s: %s has an attempt without an answer, and is %s: %+v", id, s.Step, x.Outcome, s)
				}
			}
		}
	}
	return nil
}
