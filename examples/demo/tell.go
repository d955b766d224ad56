package demo

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/modeshift/modeshift/test/receiver"
)

// Line is a step of the story, as Options.JSON writes it: one line each, and a last one whose step is "end".
type Line struct {
	Time    time.Time      `json:"time"`
	Elapsed float64        `json:"elapsed_seconds"` // since the demo started
	Step    string         `json:"step"`
	OK      bool           `json:"ok"` // it was seen to happen; at the end: all of it was
	Text    string         `json:"text"`
	Facts   map[string]any `json:"facts,omitempty"`   // what it was seen by
	Missing []string       `json:"missing,omitempty"` // at the end: the steps that did not happen
}

// colour is how a line looks on a terminal: an ANSI attribute.
type colour string

const (
	plain  colour = ""
	good   colour = "32" // green
	bad    colour = "31" // red
	shift  colour = "36" // cyan
	notice colour = "35" // magenta
	faint  colour = "2"
)

// teller writes the story as it happens. Its methods may be called from several goroutines.
type teller struct {
	json   bool
	colour bool
	began  time.Time

	mu  sync.Mutex // guards what follows
	out io.Writer
	err error // the first one of out
}

func newTeller(out io.Writer, json bool) *teller {
	return &teller{json: json, colour: !json && coloured(out), began: time.Now(), out: out}
}

// coloured reports whether out is a terminal whose user has not asked for plain text. Source: no-color.org.
func coloured(out io.Writer) bool {
	f, ok := out.(*os.File)
	if !ok || os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" {
		return false
	}
	s, err := f.Stat()
	return err == nil && s.Mode()&os.ModeCharDevice != 0
}

// say writes a line for people; programs get steps alone.
func (t *teller) say(c colour, format string, args ...any) {
	if t.json {
		return
	}
	text := fmt.Sprintf(format, args...)
	if t.colour && c != plain {
		text = "\x1b[" + string(c) + "m" + text + "\x1b[0m"
	}
	t.write(fmt.Sprintf("%6.1fs  %s\n", time.Since(t.began).Seconds(), text))
}

// block writes lines without a time.
func (t *teller) block(lines ...string) {
	if !t.json {
		t.write("\n         " + strings.Join(lines, "\n         ") + "\n\n")
	}
}

// step tells of a step that was seen to happen.
func (t *teller) step(name string, s sight) {
	if t.json {
		t.line(Line{Step: name, OK: true, Text: s.text, Facts: s.facts})
		return
	}
	t.say(good, "✓ %-9s %s", name, s.text)
}

// end tells how the story ended, and hands its error on.
func (t *teller) end(err error) error {
	l := Line{Step: "end", OK: err == nil, Text: "all of it happened"}
	if err != nil {
		l.Text = err.Error()
		var i *Incomplete
		if errors.As(err, &i) {
			l.Missing = i.Missing
		}
	}
	switch {
	case t.json:
		t.line(l)
	case err == nil:
		t.say(good, "✓ %s, in %.0f seconds.", l.Text, time.Since(t.began).Seconds())
	default:
		t.say(bad, "✗ %s", l.Text)
	}
	return errors.Join(err, t.failed())
}

// failed is the first error of the output.
func (t *teller) failed() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.err
}

func (t *teller) line(l Line) {
	l.Time = time.Now().UTC()
	l.Elapsed = float64(l.Time.Sub(t.began).Milliseconds()) / 1000
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // reasons quote conditions, which are full of < and &
	if err := enc.Encode(l); err != nil {
		panic(fmt.Sprintf("demo: a line that is no JSON: %v", err)) // facts are strings and finite numbers
	}
	t.write(b.String())
}

func (t *teller) write(s string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, err := io.WriteString(t.out, s); err != nil && t.err == nil {
		t.err = fmt.Errorf("tell the story: %w", err)
	}
}

// notice prints a page or ticket as it arrives.
func (t *teller) notice(e receiver.Event) {
	what := map[receiver.Target]string{receiver.Pages: "PAGE", receiver.Tickets: "TICKET"}[e.Target]
	switch e.Effect {
	case receiver.Opened:
		t.say(notice, "✉ %-9s %s", what, e.Summary)
	case receiver.Noted:
		t.say(notice, "✉ %-9s note: %s", what, e.Summary)
	case receiver.Resolved:
		t.say(notice, "✉ %-9s resolved: %s", what, e.Key)
	}
}
