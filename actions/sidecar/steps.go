package sidecar

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/modeshift/modeshift/actions/agent"
	"github.com/modeshift/modeshift/engine"
)

const (
	callTimeout    = 10 * time.Second
	probeAttempts  = 10
	probeEvery     = time.Second
	maxProbeAnswer = 1 << 20 // what is read of an answer, in bytes
	maxOutput      = 4 << 10 // what is kept of a command's output, in bytes
)

// apply is the callback of the agent.
func (s *Sidecar) apply(ctx context.Context, old, now *agent.State) error {
	f := factsOf(old, now)
	s.serve(now) // first: a program that reads its flags here takes the mode by that, and is probed after
	again := now.Origin == engine.OriginDisk && old.Mode == "" && s.cfg.Probe != nil && s.cfg.Probe.ask(ctx, s.client, &f) == nil
	for i, step := range s.cfg.Apply {
		if again && step.File == nil {
			continue // the program is in the mode already, and this is a restart of the sidecar and not its own
		}
		if err := step.do(ctx, s, &f); err != nil {
			return fmt.Errorf("step %d: %w", i+1, err)
		}
	}
	if s.cfg.Probe == nil || again {
		return nil
	}
	if err := s.cfg.Probe.wait(ctx, s.client, &f); err != nil {
		return fmt.Errorf("probe: %w", err)
	}
	return nil
}

func (s *Step) do(ctx context.Context, of *Sidecar, f *facts) error {
	switch {
	case s.File != nil:
		return s.File.write(of.write, f)
	case s.Run != nil:
		return s.Run.run(ctx, f)
	case s.Signal != nil:
		return s.Signal.send()
	}
	return s.Call.call(ctx, of.client, f)
}

func (f *File) write(write func(string, []byte, os.FileMode) error, about *facts) error {
	content, err := f.content(about)
	if err != nil {
		return fmt.Errorf("file %s: %w", f.Path, err)
	}
	mode, err := f.permissions()
	if err != nil {
		return fmt.Errorf("file %s: %w", f.Path, err)
	}
	return write(f.Path, content, mode)
}

func (f *File) content(about *facts) ([]byte, error) {
	switch f.Format {
	case "env":
		return about.env()
	case "template":
		t, err := f.parse()
		if err != nil {
			return nil, err
		}
		return about.fill(t)
	}
	return about.json()
}

// run runs the command to its end.
func (r *Run) run(ctx context.Context, f *facts) error {
	variables, err := f.variables()
	if err != nil {
		return err
	}
	if r.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, time.Duration(r.Timeout), fmt.Errorf("it took longer than %v", r.Timeout))
		defer cancel()
	}
	env := inherited(os.Environ())
	for _, v := range variables {
		env = append(env, v.name+"="+v.value)
	}
	output := &tail{max: maxOutput}
	if err := runProgram(ctx, r.Argv, env, output); err != nil {
		err = fmt.Errorf("%s: %w", filepath.Base(r.Argv[0]), err)
		if text := strings.Join(strings.Fields(string(output.kept)), " "); text != "" {
			err = fmt.Errorf("%w: %s", err, text)
		}
		return err
	}
	return nil
}

// inherited is the environment without what is the sidecar's own: a command that sent readiness to NOTIFY_SOCKET would do so in
// its name.
func inherited(all []string) (out []string) {
	for _, v := range all {
		name, _, _ := strings.Cut(v, "=")
		if !strings.HasPrefix(name, "MODESHIFT_") && name != "NOTIFY_SOCKET" && !strings.HasPrefix(name, "WATCHDOG_") {
			out = append(out, v)
		}
	}
	return out
}

// tail keeps the last bytes of what is written to it: programs say last why they failed.
type tail struct {
	max  int
	kept []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.kept = append(t.kept, p...)
	if over := len(t.kept) - t.max; over > 0 {
		t.kept = append(t.kept[:0], t.kept[over:]...)
	}
	return len(p), nil
}

func (s *Signal) send() error {
	text, err := os.ReadFile(s.PIDFile)
	if err != nil {
		return fmt.Errorf("signal: %w", err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || pid <= 1 { // 0 and below are groups, 1 is the whole system's
		return fmt.Errorf("signal: %s does not hold the number of a process", s.PIDFile)
	}
	sig, err := signalOf(s.Signal)
	if err != nil {
		return fmt.Errorf("signal: %w", err)
	}
	p, err := os.FindProcess(pid)
	if err != nil {
		return fmt.Errorf("signal: process %d: %w", pid, err)
	}
	defer func() { _ = p.Release() }() // nothing to say
	if err := p.Signal(sig); err != nil {
		return fmt.Errorf("signal: process %d of %s: %w", pid, s.PIDFile, err)
	}
	return nil
}

func (c *Call) call(ctx context.Context, client *http.Client, f *facts) error {
	body, err := f.json()
	if err != nil {
		return err
	}
	limit := cmp.Or(time.Duration(c.Timeout), callTimeout)
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("no answer in %v", limit))
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, cmp.Or(c.Method, http.MethodPost), c.URL, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("call: %w", err)
	}
	r.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(r)
	if err != nil {
		return fmt.Errorf("call: %w", err)
	}
	defer func() { _ = resp.Body.Close() }() // only read from
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		answer, _ := io.ReadAll(io.LimitReader(resp.Body, 300)) // as much of the reason as there is
		return fmt.Errorf("call: %s answers %s: %s", c.URL, resp.Status, strings.Join(strings.Fields(string(answer)), " "))
	}
	return nil
}

// wait asks until the program says yes.
func (p *Probe) wait(ctx context.Context, client *http.Client, f *facts) error {
	attempts, every := cmp.Or(p.Attempts, probeAttempts), cmp.Or(time.Duration(p.Every), probeEvery)
	for n := 1; ; n++ {
		err := p.ask(ctx, client, f)
		if err == nil {
			return nil
		}
		if n == attempts {
			return fmt.Errorf("%w (asked %d times)", err, n)
		}
		t := time.NewTimer(every)
		select {
		case <-ctx.Done():
			t.Stop()
			return errors.Join(context.Cause(ctx), err)
		case <-t.C:
		}
	}
}

// ask asks once.
func (p *Probe) ask(ctx context.Context, client *http.Client, f *facts) error {
	if p.Run != nil {
		return p.Run.run(ctx, f)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, callTimeout, fmt.Errorf("no answer in %v", callTimeout))
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, p.URL, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(r)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }() // only read from
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxProbeAnswer))
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", p.URL, resp.Status)
	}
	t, err := parseTemplate("probe", cmp.Or(p.Equals, p.Contains, "{{.Mode}}"))
	if err != nil {
		return err
	}
	want, err := f.fill(t)
	if err != nil {
		return err
	}
	body = bytes.TrimSpace(body)
	if p.Equals != "" && !bytes.Equal(body, want) || p.Equals == "" && !bytes.Contains(body, want) {
		return fmt.Errorf("%s answers %.100q and not %q", p.URL, body, want)
	}
	return nil
}
