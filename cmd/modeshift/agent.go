package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/prometheus/common/model"

	"github.com/modeshift/modeshift/actions/sidecar"
	"github.com/modeshift/modeshift/engine"
)

type agentCmd struct {
	Config    string        `short:"c" type:"existingfile" placeholder:"FILE" help:"agent.yaml; the flags are laid over it."`
	Scope     string        `placeholder:"SCOPE" help:"Whose mode to follow."`
	Instance  string        `placeholder:"NAME" help:"Name of this copy of the program, one of a kind in the scope; the host's name unless said otherwise."`
	StateDir  string        `placeholder:"DIR" help:"Where the last directive is kept; ./modeshift-agent unless said otherwise."`
	Mode      []string      `placeholder:"MODE" help:"The modes the program knows; any unless said otherwise."`
	ColdStart string        `placeholder:"MODE" help:"The mode to begin in when the server is away and nothing is on disk."`
	File      string        `placeholder:"PATH" help:"Write the mode to this file."`
	Format    string        `placeholder:"FORMAT" help:"Of the file: json or env; json unless said otherwise."`
	Template  string        `placeholder:"PATH" help:"Write the file by this Go template."`
	PIDFile   string        `name:"pid-file" placeholder:"PATH" help:"Signal the process whose number is in this file."`
	Signal    string        `default:"HUP" placeholder:"NAME" help:"The signal: HUP unless said otherwise."`
	Call      string        `placeholder:"URL" help:"Post the mode to this URL."`
	ProbeURL  string        `name:"probe-url" placeholder:"URL" help:"Ask here whether the program took the mode: the answer has to contain it."`
	Timeout   time.Duration `placeholder:"DURATION" help:"How long it may take until the program has the mode; 1m unless said otherwise."`
	Listen    string        `placeholder:"HOST:PORT" help:"Loopback address on which to serve flags by OFREP, /metrics and /-/ready."`
	Flagd     string        `placeholder:"HOST:PORT" help:"Loopback address on which to serve flagd's sync protocol."`
	LogLevel  string        `enum:"debug,info,warn,error" default:"info" help:"How much to log: debug, info, warn or error."`
	LogFormat string        `enum:"text,json" default:"text" help:"text or json."`
	Command   []string      `arg:"" optional:"" passthrough:"" placeholder:"COMMAND" help:"A command to run at each change, after --. Facts are in its environment, such as MODESHIFT_MODE."`
}

// Help shows one real example.
func (agentCmd) Help() string {
	return `Example:
  modeshift agent --scope checkout --file /run/checkout/mode.json
  modeshift agent --scope checkout --file /run/checkout/mode.env --format env -- systemctl reload checkout
  modeshift agent --scope checkout --listen 127.0.0.1:8471
  modeshift agent -c agent.yaml

It follows the mode of a scope for a program that knows nothing of modeshift: it writes the file, runs the command, signals the process and
calls the URL, in this order, asks the probe whether the program took the mode, and reports what came of it. What fails is
tried again. When the server is away it goes on with what is on disk. SIGINT and SIGTERM stop it; the mode stays.`
}

// Run implements the verb.
func (a *agentCmd) Run(s *streams, c *cli) error {
	cfg, err := a.config(c)
	if err != nil {
		return &exitError{exitUsage, err}
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(a.LogLevel)); err != nil {
		return &exitError{exitUsage, err}
	}
	var handler slog.Handler = slog.NewTextHandler(s.err, &slog.HandlerOptions{Level: level})
	if a.LogFormat == "json" {
		handler = slog.NewJSONHandler(s.err, &slog.HandlerOptions{Level: level})
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal does what it does by default, should stopping hang
	car, err := sidecar.New(sidecar.Options{Config: cfg, Logger: slog.New(handler)})
	if _, busy := errors.AsType[*net.OpError](err); busy {
		return err
	}
	if err != nil {
		return &exitError{exitUsage, err}
	}
	return car.Run(ctx)
}

// config is the file with the flags laid over it. What the flags say to do comes after what the file says.
func (a *agentCmd) config(c *cli) (sidecar.Config, error) {
	cfg := sidecar.DefaultConfig()
	if a.Config != "" {
		var err error
		if cfg, err = sidecar.LoadConfig(a.Config); err != nil {
			return cfg, err
		}
	}
	set := func(to *string, value string) {
		if value != "" {
			*to = value
		}
	}
	if c.Server != sidecar.DefaultConfig().Server { // the flag has a default of its own, which is no word of anybody
		cfg.Server = c.Server
	}
	set(&cfg.TokenFile, c.TokenFile)
	set((*string)(&cfg.Scope), a.Scope)
	set(&cfg.Instance, a.Instance)
	set(&cfg.StateDir, a.StateDir)
	set(&cfg.Listen, a.Listen)
	set(&cfg.Flagd, a.Flagd)
	if len(a.Mode) > 0 {
		cfg.Modes = nil
		for _, m := range a.Mode {
			cfg.Modes = append(cfg.Modes, engine.Mode(m))
		}
	}
	if a.ColdStart != "" {
		cfg.ColdStart = &sidecar.ColdStart{Mode: engine.Mode(a.ColdStart)}
	}
	if a.Timeout != 0 {
		cfg.Timeout = model.Duration(a.Timeout)
	}
	if a.File != "" {
		f := sidecar.File{Path: a.File, Format: a.Format, Template: a.Template}
		if f.Template != "" && f.Format == "" {
			f.Format = "template"
		}
		cfg.Apply = append(cfg.Apply, sidecar.Step{File: &f})
	} else if a.Format != "" || a.Template != "" {
		return cfg, errors.New("--format and --template say how to write a file, and --file is missing")
	}
	command := a.Command
	if len(command) > 0 && command[0] == "--" {
		command = command[1:]
	}
	if len(command) > 0 {
		cfg.Apply = append(cfg.Apply, sidecar.Step{Run: &sidecar.Run{Argv: command}})
	}
	if a.PIDFile != "" {
		cfg.Apply = append(cfg.Apply, sidecar.Step{Signal: &sidecar.Signal{PIDFile: a.PIDFile, Signal: a.Signal}})
	}
	if a.Call != "" {
		cfg.Apply = append(cfg.Apply, sidecar.Step{Call: &sidecar.Call{URL: a.Call}})
	}
	if a.ProbeURL != "" {
		cfg.Probe = &sidecar.Probe{URL: a.ProbeURL}
	}
	return cfg, cfg.Validate()
}
