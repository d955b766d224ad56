package exec

import (
	"fmt"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/modeshift/modeshift/actions/spec"
)

// How long a program may run.
const (
	defaultTimeout = 30 * time.Second
	maxTimeout     = time.Hour
)

// ownPrefix begins the names of the variables that tell a program its key and facts.
const ownPrefix = "MODESHIFT_"

// step is a specification, understood.
type step struct {
	command
	env     map[string]*spec.Template
	dir     string // relative to Options.Dir
	timeout time.Duration
	keyed   bool
	done    *command
}

// command is one program with its arguments and what is expected of it.
type command struct {
	name   string // as the file has it
	path   string
	args   []*spec.Template
	stdin  *spec.Template // nil: nothing to read
	expect expectation
}

// expectation says which ends mean yes.
type expectation struct {
	exit   []int          // empty: 0
	stdout *regexp.Regexp // nil: whatever
}

func (e *expectation) exits(code int) bool {
	if len(e.exit) == 0 {
		return code == 0
	}
	return slices.Contains(e.exit, code)
}

// fails returns what is not as expected; empty: nothing.
func (e *expectation) fails(got end) string {
	switch {
	case !e.exits(got.exit):
		return fmt.Sprintf("exit status %d", got.exit)
	case e.stdout != nil && !e.stdout.Match(got.stdout):
		return fmt.Sprintf("exit status %d, and its output does not match %s", got.exit, strconv.Quote(e.stdout.String()))
	}
	return ""
}

func (e *expectation) String() string {
	codes := "0"
	for i, c := range e.exit {
		if i == 0 {
			codes = strconv.Itoa(c)
		} else {
			codes += " or " + strconv.Itoa(c)
		}
	}
	s := "exit status " + codes
	if e.stdout != nil {
		s += " and an output that matches " + strconv.Quote(e.stdout.String())
	}
	return s
}

// read understands a specification. The form has its faults.
func (k *Kind) read(data []byte) (*step, *spec.Form) {
	f := spec.Read(data)
	o := f.Root(keys.Names()...)
	if len(f.Problems) > 0 && o.Keys() == nil {
		return nil, f
	}
	o.Required("program", "the name or path of a program on the server's allow-list")
	s := &step{command: k.readCommand(f, o)}
	s.env = k.readEnv(f, o)
	if s.dir = o.Text("dir"); s.dir != "" {
		s.dir = k.readDir(f, o, s.dir)
	}
	s.timeout = o.Duration("timeout", defaultTimeout, maxTimeout)
	s.keyed = o.Bool("keyed", false)
	if d := o.Object("done", "program", "args", "stdin", "expect"); o.Has("done") {
		c := k.readCommand(f, d)
		if c.name == "" {
			c.name, c.path = s.name, s.path
		}
		s.done = &c
	}
	return s, f
}

func (k *Kind) readCommand(f *spec.Form, o spec.Object) command {
	c := command{name: o.Text("program"), stdin: o.Template("stdin")}
	if c.name != "" {
		var known bool
		c.path, known = k.opts.Programs[c.name]
		if !known && filepath.IsAbs(c.name) && slices.Contains(slices.Collect(maps.Values(k.opts.Programs)), c.name) {
			c.path, known = c.name, true
		}
		switch {
		case strings.Contains(c.name, "{{"):
			f.Fault(o.At("program"), "the program is fixed: a fact cannot choose what is run", "put the fact into args")
		case !known && !k.opts.FormOnly:
			hint := spec.Suggest(c.name, slices.Sorted(maps.Keys(k.opts.Programs)))
			if strings.ContainsAny(c.name, " \t") {
				hint = "the arguments go into args, one entry each"
			}
			if hint == "" {
				hint = "the list is empty"
			}
			f.Fault(o.At("program"), strconv.Quote(c.name)+" is not on the server's list of programs", hint)
		}
	}
	if _, list := o.Value("args").([]any); o.Has("args") && !list {
		f.Fault(o.At("args"), "this has to be a list, one entry for each argument", "such as [--to, eu-2]")
		return c
	}
	for i, v := range o.List("args") {
		at := o.At("args", strconv.Itoa(i))
		text := fmt.Sprint(v)
		switch v.(type) {
		case nil, map[string]any, []any:
			f.Fault(at, "an argument is a text", "put it into quotes")
			continue
		}
		t := f.Parse(at, text)
		if t == nil {
			continue
		}
		if strings.ContainsRune(text, 0) {
			f.Fault(at, "an argument cannot hold NUL", "")
		}
		c.args = append(c.args, t)
	}
	c.expect = readExpectation(f, o.Object("expect", "exit", "stdout"))
	return c
}

func readExpectation(f *spec.Form, o spec.Object) expectation {
	var e expectation
	list := o.List("exit")
	if o.Has("exit") && len(list) == 0 {
		f.Fault(o.At("exit"), "no exit status is expected at all", "such as 0 or [0, 3]")
	}
	for _, v := range list {
		n, err := strconv.Atoi(fmt.Sprint(v))
		if err != nil || n < 0 || n > 255 {
			f.Fault(o.At("exit"), fmt.Sprintf("%q is not an exit status", fmt.Sprint(v)), "a number from 0 to 255")
			continue
		}
		e.exit = append(e.exit, n)
	}
	if text := o.Text("stdout"); text != "" {
		var err error
		if e.stdout, err = regexp.Compile(text); err != nil {
			f.Fault(o.At("stdout"), "this is not a regular expression: "+strings.TrimPrefix(err.Error(), "error parsing regexp: "), "in the syntax of RE2, such as ^done")
		}
	}
	return e
}

func (k *Kind) readEnv(f *spec.Form, o spec.Object) map[string]*spec.Template {
	env := o.Templates("env")
	m := o.Object("env")
	for _, name := range slices.Sorted(maps.Keys(env)) {
		switch {
		case !isVariable(name):
			f.Fault(m.At(name), strconv.Quote(name)+" is not the name of a variable", "letters, digits and underscores")
		case strings.HasPrefix(name, ownPrefix):
			f.Fault(m.At(name), "the variables "+ownPrefix+"… are set by modeshift", "give yours another name")
		case !slices.Contains(k.opts.Environment, name) && !k.opts.FormOnly:
			hint := spec.Suggest(name, slices.Sorted(slices.Values(k.opts.Environment)))
			if hint == "" {
				hint = "the list is empty"
			}
			f.Fault(m.At(name), name+" is not on the server's list of variables that programs may have", hint)
		}
	}
	return env
}

func (k *Kind) readDir(f *spec.Form, o spec.Object, dir string) string {
	if k.opts.FormOnly {
		return dir
	}
	if k.opts.Dir == "" {
		f.Fault(o.At("dir"), "the server's configuration names no folder for programs", "leave it out")
		return ""
	}
	local := dir
	if filepath.IsAbs(dir) {
		var err error
		if local, err = filepath.Rel(k.opts.Dir, dir); err != nil {
			local = ".."
		}
	}
	if !filepath.IsLocal(local) {
		f.Fault(o.At("dir"), "the folder is outside of the one for programs", "name one in "+k.opts.Dir)
		return ""
	}
	return local
}

// isVariable reports whether s can be the name of a variable.
func isVariable(s string) bool {
	for i := range len(s) {
		c := s[i]
		if c != '_' && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}
