package browser

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
)

// browser is a tab of a Chromium.
type browser struct {
	t   *testing.T
	ctx context.Context

	mu       sync.Mutex // guards what follows
	requests []string
	said     []string // by the page's console: errors and what the security policy refused
}

// open starts one. It ends with the test.
func open(t *testing.T) *browser {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		say := t.Skipf
		if os.Getenv("CI") == "true" {
			say = t.Fatalf
		}
		say("Debian's package chromium is needed: %v", err)
	}
	opts := slices.Concat(chromedp.DefaultExecAllocatorOptions[:], []chromedp.ExecAllocatorOption{chromedp.ExecPath(path), chromedp.Flag("disable-gpu", true)})
	if os.Getuid() == 0 {
		opts = append(opts, chromedp.NoSandbox) // which root cannot have
	}
	within, end := context.WithTimeout(t.Context(), 3*time.Minute)
	alloc, stop := chromedp.NewExecAllocator(within, opts...)
	ctx, leave := chromedp.NewContext(alloc)
	b := &browser{t: t, ctx: ctx}
	t.Cleanup(func() {
		if err := chromedp.Cancel(ctx); err != nil && within.Err() == nil {
			t.Logf("end the browser: %v", err)
		}
		leave()
		stop()
		end()
	})
	if err := chromedp.Listen(ctx, b.hear); err != nil {
		t.Fatalf("start %s: %v", path, err)
	}
	b.do(call(network.Enable, network.EnableParams{}), call(cdplog.Enable, cdp.Empty{}))
	return b
}

// hear notes what the page asks for and says.
func (b *browser) hear(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *network.EventRequestWillBeSent:
		b.requests = append(b.requests, e.Request.URL)
	case *cdplog.EventEntryAdded:
		b.said = append(b.said, e.Entry.Text)
	}
}

// heard are the requests so far, and what the console said.
func (b *browser) heard() (requests, said []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.requests), slices.Clone(b.said)
}

func call[P, R any](c cdp.Command[P, R], p P) chromedp.Action[chromedp.Void] {
	return func(ctx context.Context, t *chromedp.Target) (chromedp.Void, error) {
		_, err := cdp.Call(ctx, t, c, p)
		return chromedp.Void{}, err
	}
}

func (b *browser) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, steps...); err != nil {
		b.t.Fatal(err)
	}
}

// look makes the window so wide, and the colours light or dark; media is screen or print.
func (b *browser) look(width int, scheme, media string) {
	b.t.Helper()
	b.do(chromedp.EmulateViewport(int64(width), 800), call(emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Media: media, Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
	}))
}

// ask evaluates a script, which gives something that JSON can hold.
func ask[T any](b *browser, script string) T {
	b.t.Helper()
	text, err := chromedp.Run(b.ctx, chromedp.Evaluate[string]("JSON.stringify("+script+")"))
	if err != nil {
		b.t.Fatalf("%s: %v", script, err)
	}
	var v T
	if err := json.NewDecoder(strings.NewReader(text)).Decode(&v); err != nil {
		b.t.Fatalf("%s gave %s: %v", script, text, err)
	}
	return v
}
