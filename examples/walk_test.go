package examples_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/modeshift/modeshift/test/receiver"
)

// walk is a page whose commands are carried out, in a copy of its folder.
type walk struct {
	t     *testing.T
	from  string // the page's folder
	least int    // so many commands the page has
	dir   string
	env   []string
	swap  *strings.Replacer  // addresses of the page for those of the test
	world map[string]func()  // what happens, by the comments of the page
	pager *receiver.Receiver // who is paged
	ids   map[string]string  // of the page, to those of this run
}

// asking are the commands that change nothing: they are repeated until they say what the page says.
var asking = regexp.MustCompile(`^(modeshift (status|history|rules check|evaluate|explain)|cat)( |$)`)

// linksLead demands that the links of a folder's page to files lead to some, and that there are so many at least.
func linksLead(t *testing.T, folder string, least int) {
	t.Helper()
	page, err := os.ReadFile(filepath.Join(folder, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	links := regexp.MustCompile(`\]\(([^)#:]+)(?:#[^)]*)?\)`).FindAllStringSubmatch(string(page), -1)
	if len(links) < least {
		t.Fatalf("%d links", len(links))
	}
	for _, l := range links {
		if _, err := os.Stat(filepath.Join(folder, l[1])); err != nil {
			t.Error(err)
		}
	}
}

func (w *walk) write(name, text string) {
	w.t.Helper()
	path := filepath.Join(w.dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
		w.t.Fatal(err)
	}
}

func (w *walk) copies(names ...string) {
	w.t.Helper()
	for _, name := range names {
		text, err := os.ReadFile(filepath.Join(w.from, name))
		if err != nil {
			w.t.Fatal(err)
		}
		w.write(name, w.swap.Replace(string(text)))
	}
}

// through carries out what a page says, from its beginning to its end.
func (w *walk) through(page string) {
	w.t.Helper()
	ran, code, paged := 0, 0, false
	for _, m := range regexp.MustCompile("(?ms)^<!-- (world: [^>]+|exits \\d|paged) -->$|^```(console|text)\n(.*?)^```$").FindAllStringSubmatch(page, -1) {
		switch event, known := strings.CutPrefix(m[1], "world: "); {
		case known:
			if w.world[event] == nil {
				w.t.Fatalf("nothing makes %q happen", event)
			}
			w.world[event]()
		case m[1] == "paged":
			paged = true
		case m[1] != "":
			code = int(m[1][len("exits ")] - '0')
		case m[2] == "text" && paged:
			w.paged(m[3])
			paged = false
		case m[2] == "console":
			for _, part := range strings.Split("\n"+m[3], "\n$ ")[1:] {
				command, output, _ := strings.Cut(strings.TrimSuffix(part, "\n"), "\n")
				w.command(command, output, code)
				ran++
			}
			code = 0
		}
	}
	if ran < w.least {
		w.t.Errorf("the page has %d commands", ran)
	}
}

// paged waits until people have been told the lines of a text.
func (w *walk) paged(text string) {
	w.t.Helper()
	for _, line := range strings.Split(strings.TrimSpace(text), "\n") {
		eventually(w.t, "a page says "+line, func() bool {
			return slices.ContainsFunc(w.pager.Events(), func(e receiver.Event) bool { return e.Target == receiver.Pages && e.Summary == line })
		})
	}
}

// command carries out a command, and compares what it says with the page.
func (w *walk) command(command, output string, code int) {
	w.t.Helper()
	w.t.Log("$ " + command)
	shell := func() *exec.Cmd {
		text := w.swap.Replace(command)
		for ours, theirs := range w.ids {
			text = strings.ReplaceAll(text, ours, theirs)
		}
		cmd := exec.Command("sh", "-c", text)
		cmd.Dir, cmd.Env = w.dir, w.env
		return cmd
	}
	if strings.HasPrefix(command, "modeshift run ") || strings.HasPrefix(command, "modeshift agent ") {
		w.background(shell())
		return
	}
	var said bytes.Buffer
	try := func() (missing string, exit int) {
		said.Reset()
		cmd := shell()
		cmd.Stdout, cmd.Stderr = &said, &said
		if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
			w.t.Fatal(err)
		}
		return w.missing(output, said.String()), cmd.ProcessState.ExitCode()
	}
	missing, exit := try()
	for deadline := time.Now().Add(time.Minute); asking.MatchString(command) && (missing != "" || exit != code) && time.Now().Before(deadline); missing, exit = try() {
		time.Sleep(50 * time.Millisecond)
	}
	if missing != "" || exit != code {
		w.t.Fatalf("$ %s\nexits %d, want %d, and does not say %q:\n%s", command, exit, code, missing, said.String())
	}
}

// background starts a command that goes on until the test ends.
func (w *walk) background(cmd *exec.Cmd) {
	w.t.Helper()
	var said bytes.Buffer
	cmd.Args[2] = "exec " + cmd.Args[2] // so that the signal reaches it
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &said, io.Discard, 10*time.Second
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt) // it may have ended by itself, which Wait tells
		if err := cmd.Wait(); err != nil {
			w.t.Errorf("%v: %v\n%s", cmd.Args, err, said.String())
		}
	})
}

var (
	instants = regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d`)
	spans    = regexp.MustCompile(`\b(\d+(h|m|s|ms))+\b`)
	ids      = regexp.MustCompile(`\b(checkout|search)[-/]\d+\b`)
	numbers  = regexp.MustCompile(`directive \d+`)
	blanks   = regexp.MustCompile(` +`)
)

// plainly is a line without what differs from run to run.
func plainly(line string) string {
	line = instants.ReplaceAllString(line, "TIME")
	line = ids.ReplaceAllStringFunc(line, func(id string) string {
		if strings.HasSuffix(id, "-1") { // an instance
			return id
		}
		return "ID"
	})
	line = numbers.ReplaceAllString(line, "directive N")
	return strings.TrimSpace(blanks.ReplaceAllString(spans.ReplaceAllString(line, "SPAN"), " "))
}

// missing is the first line of the page that a command did not say, in the order of the page; empty when it said them all. A line
// may be a part of one that was said; "…" stands for anything. Identities are noted, for the commands that follow.
func (w *walk) missing(want, got string) string {
	lines := strings.Split(got, "\n")
	for _, line := range strings.Split(want, "\n") {
		parts := strings.Split(plainly(line), "…")
		i := slices.IndexFunc(lines, func(said string) bool {
			said = plainly(said)
			for _, part := range parts {
				_, rest, found := strings.Cut(said, strings.TrimSpace(part))
				if !found {
					return false
				}
				said = rest
			}
			return true
		})
		if i < 0 {
			return line
		}
		ours, theirs := ids.FindAllString(line, -1), ids.FindAllString(lines[i], -1)
		for k := range min(len(ours), len(theirs)) {
			if strings.HasPrefix(theirs[len(theirs)-1-k], "checkout-") {
				w.ids[ours[len(ours)-1-k]] = theirs[len(theirs)-1-k]
			}
		}
		lines = lines[i+1:]
	}
	return ""
}
