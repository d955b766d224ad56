package sidecar

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"text/template"
	"time"

	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v3"

	"github.com/modeshift/modeshift/engine"
)

// Config says what to follow and what to do with it. It is the file of modeshift agent.
type Config struct {
	Server    string        `yaml:"server"`     // the server's address
	CAFile    string        `yaml:"ca_file"`    // PEM certificates of who signed the server's; empty: the system's
	TokenFile string        `yaml:"token_file"` // read at each connection; empty: no token is sent
	Scope     engine.Scope  `yaml:"scope"`      // whose mode to follow
	Instance  string        `yaml:"instance"`   // name of this copy of the program, one of a kind in the scope; empty: the host's name
	Version   string        `yaml:"version"`    // of the program, to be shown
	StateDir  string        `yaml:"state_dir"`  // keeps the last directive
	Modes     []engine.Mode `yaml:"modes"`      // that the program knows; empty: any
	ColdStart *ColdStart    `yaml:"cold_start"` // for a start without the server and with nothing on disk; nil: no mode

	Apply   []Step         `yaml:"apply"`   // in order
	Probe   *Probe         `yaml:"probe"`   // says whether the program took the mode; nil: the steps alone say
	Timeout model.Duration `yaml:"timeout"` // of all steps and the probe together

	Listen string `yaml:"listen"` // loopback address for OFREP, /metrics and /-/ready; empty: nothing is served
	Flagd  string `yaml:"flagd"`  // loopback address for flagd's sync protocol; empty: not served
}

// ColdStart is a mode that is declared here.
type ColdStart struct {
	Mode  engine.Mode    `yaml:"mode"`
	Flags map[string]any `yaml:"flags"`
}

// Step is one thing to do: exactly one of its fields is set.
type Step struct {
	File   *File   `yaml:"file"`
	Run    *Run    `yaml:"run"`
	Signal *Signal `yaml:"signal"`
	Call   *Call   `yaml:"call"`
}

// File is written as a whole: whoever reads it sees the old one or the new one.
type File struct {
	Path     string `yaml:"path"`
	Format   string `yaml:"format"`   // json (the default), env or template
	Template string `yaml:"template"` // a file with a Go text/template, for that format; read each time
	Mode     string `yaml:"mode"`     // octal permissions; empty: 0644
}

// Run is a command.
type Run struct {
	Argv    []string       `yaml:"argv"`    // the program and its arguments, as they are; no shell
	Timeout model.Duration `yaml:"timeout"` // after which the command and all it started is killed; 0: that of all steps
}

// Signal is sent to a process.
type Signal struct {
	PIDFile string `yaml:"pid_file"`
	Signal  string `yaml:"signal"` // such as HUP
}

// Call is a request with the facts as JSON; an answer of 2xx is success.
type Call struct {
	URL     string         `yaml:"url"`
	Method  string         `yaml:"method"`  // empty: POST
	Timeout model.Duration `yaml:"timeout"` // 0: 10 s
}

// Probe asks the program, until it says yes: a command that exits 0, or an URL whose answer is 200 and has the mode.
type Probe struct {
	Run      *Run           `yaml:"run"`
	URL      string         `yaml:"url"`
	Equals   string         `yaml:"equals"`   // template of what the answer has to be, without white space around it
	Contains string         `yaml:"contains"` // or of what it has to contain; with neither: the mode
	Attempts int            `yaml:"attempts"` // at most; 0: 10
	Every    model.Duration `yaml:"every"`    // between two; 0: 1 s
}

// DefaultConfig is what holds where a file says nothing.
func DefaultConfig() Config {
	return Config{Server: "http://127.0.0.1:8470", StateDir: "modeshift-agent", Timeout: model.Duration(time.Minute)}
}

var unknownKey = regexp.MustCompile(`line (\d+): field (.+) not found in type sidecar\.\w+`)

// LoadConfig reads a file. It is strict: a key that is not known is an error, since it is most likely one that was misspelt.
func LoadConfig(path string) (Config, error) {
	c := DefaultConfig()
	data, err := os.ReadFile(path)
	if err != nil {
		return c, fmt.Errorf("read the configuration: %w", err)
	}
	d := yaml.NewDecoder(bytes.NewReader(data))
	d.KnownFields(true)
	if err := d.Decode(&c); err != nil && !errors.Is(err, io.EOF) { // an empty file is all defaults
		// The decoder's own words name types of this program.
		return c, fmt.Errorf("%s: %s", path, unknownKey.ReplaceAllString(err.Error(), "line $1: unknown key $2"))
	}
	return c, nil
}

// Validate reports everything that is wrong with the configuration, but for what agent.New says of the connection.
func (c *Config) Validate() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if c.Timeout <= 0 {
		fault("timeout has to be above 0")
	}
	for i, s := range c.Apply {
		if err := s.validate(); err != nil {
			fault("apply: step %d: %w", i+1, err)
		}
	}
	if c.Probe != nil {
		if err := c.Probe.validate(); err != nil {
			fault("probe: %w", err)
		}
	}
	for _, l := range []struct{ name, address string }{{"listen", c.Listen}, {"flagd", c.Flagd}} {
		if l.address == "" {
			continue
		}
		if host, _, err := net.SplitHostPort(l.address); err != nil {
			fault("%s: %q is no HOST:PORT", l.name, l.address)
		} else if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			fault("%s: %s is not on loopback, and what is served needs no token: use 127.0.0.1, ::1 or localhost", l.name, l.address)
		}
	}
	if len(c.Apply) == 0 && c.Listen == "" && c.Flagd == "" {
		fault("nothing is to be done with the mode: say what to apply, or where to serve flags")
	}
	return errors.Join(faults...)
}

func (s *Step) validate() error {
	n := 0
	var err error
	check := func(there bool, e func() error) {
		if there {
			n++
			err = e()
		}
	}
	check(s.File != nil, s.File.validate)
	check(s.Run != nil, s.Run.validate)
	check(s.Signal != nil, s.Signal.validate)
	check(s.Call != nil, func() error { return validURL(s.Call.URL) })
	if n != 1 {
		return errors.New("it has to have exactly one of file, run, signal and call")
	}
	return err
}

func (f *File) validate() error {
	switch {
	case f.Path == "":
		return errors.New("file: path is missing")
	case f.Format != "" && f.Format != "json" && f.Format != "env" && f.Format != "template":
		return fmt.Errorf("file: format %q is none of json, env and template", f.Format)
	case (f.Format == "template") != (f.Template != ""):
		return errors.New("file: format: template and template: FILE go together")
	}
	if f.Template != "" {
		if _, err := f.parse(); err != nil {
			return fmt.Errorf("file: %w", err)
		}
	}
	if _, err := f.permissions(); err != nil {
		return fmt.Errorf("file: mode %q is no octal number up to 0777", f.Mode)
	}
	return nil
}

func (f *File) permissions() (os.FileMode, error) {
	if f.Mode == "" {
		return 0o644, nil
	}
	n, err := strconv.ParseUint(f.Mode, 8, 32)
	if err == nil && n > 0o777 {
		err = errors.New("too large")
	}
	return os.FileMode(n), err
}

func (r *Run) validate() error {
	switch {
	case len(r.Argv) == 0 || r.Argv[0] == "":
		return errors.New("run: argv is missing")
	case r.Timeout < 0:
		return errors.New("run: the timeout is negative")
	case !canRun:
		return errors.New("run: commands are run on Unix only")
	}
	return nil
}

func (s *Signal) validate() error {
	if s.PIDFile == "" {
		return errors.New("signal: pid_file is missing")
	}
	if _, err := signalOf(s.Signal); err != nil {
		return fmt.Errorf("signal: %w", err)
	}
	return nil
}

func (p *Probe) validate() error {
	switch {
	case (p.Run != nil) == (p.URL != ""):
		return errors.New("it has to have exactly one of run and url")
	case p.Attempts < 0 || p.Every < 0:
		return errors.New("attempts and every must not be negative")
	case p.Equals != "" && p.Contains != "":
		return errors.New("it has at most one of equals and contains")
	case p.Run != nil && p.Equals+p.Contains != "":
		return errors.New("equals and contains are for an url")
	case p.Run != nil:
		return p.Run.validate()
	}
	for _, text := range []string{p.Equals, p.Contains} {
		if _, err := parseTemplate("probe", text); err != nil {
			return err
		}
	}
	return validURL(p.URL)
}

func validURL(text string) error {
	if u, err := url.Parse(text); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return fmt.Errorf("%q is no http URL", text)
	}
	return nil
}

func (f *File) parse() (*template.Template, error) {
	text, err := os.ReadFile(f.Template)
	if err != nil {
		return nil, err
	}
	return parseTemplate(f.Template, string(text))
}
