package browser

import (
	"context"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/api"
	"github.com/modeshift/modeshift/engine/explain"
	"github.com/modeshift/modeshift/engine/secret"
	"github.com/modeshift/modeshift/engine/server"
	"github.com/modeshift/modeshift/examples/demo"
)

var picture = flag.Bool("picture", false, "write engine/report/report.png, the picture of its README")

// asker is the script that says what is wrong with a page.
//
//go:embed page.js
var asker string

// shop is a server of the demo that is asked for the reports of what happened before it ends.
type shop struct {
	*server.Server
	ended   chan error
	token   string // file
	reports map[engine.ChangeID]api.PostMortem
	err     error
}

// start starts the server, as the demo wants it.
func (s *shop) start(ctx context.Context, config string) (demo.Modeshift, error) {
	cfg, err := server.LoadConfig(config)
	if err != nil {
		return nil, err
	}
	if s.Server, err = server.New(ctx, server.Options{Config: cfg, Logger: slog.New(slog.DiscardHandler)}); err != nil {
		return nil, err
	}
	s.token, s.ended = filepath.Join(filepath.Dir(config), "tokens", "admin"), make(chan error, 1)
	go func() { s.ended <- s.Run(context.WithoutCancel(ctx)) }()
	return s, nil
}

// Stop implements demo.Modeshift.
func (s *shop) Stop(ctx context.Context) error {
	s.reports, s.err = s.ask(ctx)
	return errors.Join(s.Server.Stop(), <-s.ended)
}

// ask asks for the report of each change.
func (s *shop) ask(ctx context.Context) (map[engine.ChangeID]api.PostMortem, error) {
	token, err := secret.Read(s.token)
	if err != nil {
		return nil, err
	}
	client, err := api.NewClient(s.URL(), token, nil)
	if err != nil {
		return nil, err
	}
	history, err := client.History(ctx, demo.Scope, 0, 1000)
	if err != nil {
		return nil, err
	}
	reports := map[engine.ChangeID]api.PostMortem{}
	for _, e := range history.Events {
		if f, ok := e.Fact.(engine.ChangeStarted); ok {
			if reports[f.Change], err = client.Report(ctx, demo.Scope, f.Change); err != nil {
				return nil, err
			}
		}
	}
	return reports, nil
}

// tell tells the demo's story, all of it, and returns the reports of its changes in their order.
func tell(t *testing.T) []api.PostMortem {
	t.Helper()
	s := &shop{}
	if err := demo.Run(t.Context(), demo.Options{Start: s.start, Once: true, Out: io.Discard}); err != nil {
		t.Fatal(err)
	}
	if s.err != nil {
		t.Fatal(s.err)
	}
	var list []api.PostMortem
	for _, r := range s.reports {
		list = append(list, r)
	}
	slices.SortFunc(list, func(a, b api.PostMortem) int { return started(a).Compare(started(b)) })
	return list
}

// started is when the change of a report did.
func started(r api.PostMortem) time.Time {
	for _, c := range r.Changes {
		if c.Asked {
			return c.Started
		}
	}
	return time.Time{}
}

// The reports of the demo's story, as anybody may open them: on a phone, at a desk, in the dark, on paper.
func TestTheReportsOfTheDemosStoryAreReadableEverywhere(t *testing.T) {
	t.Parallel()
	b := open(t) // first, so that a machine without a browser does not tell a story for nothing
	reports := tell(t)
	byName := map[string]api.PostMortem{}
	for _, r := range reports {
		if _, before := byName[r.Transition]; !before || r.Outcome == explain.Undone {
			byName[r.Transition] = r
		}
	}
	shed, failOver, relapse := byName["shed"], byName["fail-over"], byName["recover"]
	if shed.Outcome != explain.Done || len(shed.Changes) != 2 || shed.Open || shed.Home != "normal" {
		t.Errorf("shed: %s, %d changes, home %s", shed.Outcome, len(shed.Changes), shed.Home)
	}
	if failOver.Outcome != explain.Undone || len(failOver.People) != 2 || len(failOver.Changes[0].Steps) != 3 || failOver.Open {
		t.Errorf("fail-over: %s, people %+v, steps %+v", failOver.Outcome, failOver.People, failOver.Changes[0].Steps)
	}
	if relapse.Outcome != explain.Undone || len(relapse.Changes) != 3 || len(relapse.Changes[2].Waves) != 3 || relapse.Open {
		t.Errorf("the relapse: %s, changes %+v", relapse.Outcome, relapse.Changes)
	}
	for _, r := range reports {
		if len(r.LeftOut) > 0 || len(r.Budgets) != 2 || !r.Budgets[0].Before.Known {
			t.Errorf("%s: left out %v, budgets %+v", r.Change, r.LeftOut, r.Budgets)
		}
		seen := 0
		for i := range r.Budgets {
			seen += len(r.Budgets[i].Seen)
		}
		if seen == 0 {
			t.Errorf("%s: its charts have no reading", r.Change)
		}
	}
	for name, r := range map[string]api.PostMortem{"shed": shed, "fail-over": failOver, "relapse": relapse} {
		file := filepath.Join(t.TempDir(), name+".html")
		f, err := os.Create(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(r.HTML(f), f.Close()); err != nil {
			t.Fatal(err)
		}
		b.examine(name, file, "Post-mortem (draft): shop, ")
		if *picture && name == "fail-over" {
			b.photograph(filepath.Join("..", "..", "engine", "report", "report.png"))
		}
	}
}

// examine opens a page whose title begins so, and looks for what is wrong with it, at several widths and in both schemes.
func (b *browser) examine(name, file, title string) {
	t := b.t
	t.Helper()
	before, _ := b.heard()
	address := (&url.URL{Scheme: "file", Path: file}).String()
	b.do(chromedp.Navigate(address))
	ask[bool](b, asker)
	if is := ask[string](b, "document.title"); !strings.HasPrefix(is, title) {
		t.Errorf("%s: its title is %q", name, is)
	}
	wrong := func(where, what string) {
		t.Helper()
		for _, w := range ask[[]string](b, "page."+what+"()") {
			t.Errorf("%s, %s: %s: %s", name, where, what, w)
		}
	}
	for _, width := range []int{320, 380, 768, 1280} {
		for _, scheme := range []string{"light", "dark"} {
			for _, open := range []bool{false, true} {
				where := fmt.Sprintf("%d px, %s, tables shown: %v", width, scheme, open)
				b.look(width, scheme, "screen")
				ask[int](b, fmt.Sprintf("[...document.querySelectorAll('details')].map((d) => { d.open = %v; }).length", open))
				for _, what := range []string{"wide", "unreadable", "untold", "lost"} {
					wrong(where, what)
				}
			}
		}
	}
	if dark, light := b.ground("dark"), b.ground("light"); dark == light {
		t.Errorf("%s: it is %s, light or dark", name, dark)
	}
	ask[int](b, "[...document.querySelectorAll('details')].map((d) => { d.open = false; }).length")
	b.look(800, "light", "print")
	wrong("on paper", "unprinted")
	requests, said := b.heard()
	if requests = requests[len(before):]; len(requests) != 1 || requests[0] != address {
		t.Errorf("%s: it asks for %v", name, requests)
	}
	if len(said) > 0 {
		t.Errorf("%s: the browser says %v", name, said)
	}
}

// ground is the page's own colour in a scheme.
func (b *browser) ground(scheme string) string {
	b.look(800, scheme, "screen")
	return ask[string](b, "getComputedStyle(document.body).backgroundColor")
}

// maxPicture is how large the picture of a README may be, in bytes.
const maxPicture = 300_000

// photograph writes a picture of the page's upper part.
func (b *browser) photograph(path string) {
	b.t.Helper()
	b.look(820, "light", "screen")
	beyond := true
	shot, err := chromedp.Run(b.ctx, func(ctx context.Context, t *chromedp.Target) ([]byte, error) {
		r, err := cdp.Call(ctx, t, page.CaptureScreenshot, page.CaptureScreenshotParams{CaptureBeyondViewport: &beyond,
			Clip: &page.Viewport{Width: 820, Height: 1560, Scale: 1}})
		if err != nil {
			return nil, err
		}
		return r.Data, nil
	})
	if err != nil {
		b.t.Fatal(err)
	}
	if len(shot) > maxPicture {
		b.t.Errorf("the picture has %d bytes", len(shot))
	}
	if err := os.WriteFile(path, shot, 0o644); err != nil {
		b.t.Fatal(err)
	}
}
