package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/rules"
	"github.com/modeshift/modeshift/rules/convert"
)

type rulesImportCmd struct {
	Tool  string   `arg:"" enum:"sloth,openslo,pyrra" help:"Whose files they are: sloth, openslo or pyrra."`
	Paths []string `arg:"" name:"file" help:"Files, folders of them, globs."`

	Into      string `placeholder:"PATH" help:"Write into this file (*.yaml, *.yml), or into this folder a file for each service; to standard output when left out, as documents of one file."`
	Overwrite bool   `help:"Write over files that are there and say something else."`

	Period   span              `default:"30d" placeholder:"30d" help:"Sloth: the period of the SLOs, which its files do not say (sloth's --default-slo-period)."`
	Windows  []string          `placeholder:"FILE" help:"Sloth: files of kind AlertWindows (sloth's --slo-period-windows-path). They replace the built-in ones of 28d and 30d."`
	Dialect  string            `name:"openslo-dialect" placeholder:"NAME" help:"OpenSLO: how its queries are meant: sloth, osko, nobl9 or literal. As their shape tells when left out."`
	Service  string            `placeholder:"NAME" help:"Pyrra: the service of SLOs without a label pyrra.dev/service."`
	Severity map[string]string `placeholder:"WORD=page|ticket" help:"OpenSLO and Pyrra: what a severity of the files means here."`

	Verify sourceURL `placeholder:"URL" help:"Compare both definitions over a past of this Prometheus."`
	Since  span      `default:"3d" placeholder:"3d" help:"With --verify: over the last 3d before --to."`
	From   *instant  `placeholder:"TIME" help:"With --verify: in place of --since, from 2026-11-01T00:00:00Z, 2026-11-01, or 30d for 30 days before --to."`
	To     *instant  `placeholder:"TIME" help:"With --verify: up to this time (as --from), or now if not said."`
}

// Help shows real examples.
func (rulesImportCmd) Help() string {
	return `Examples:
  modeshift rules import sloth slos/*.yml --into rules/
  modeshift rules import sloth slo.yml --period 7d --windows 7d.yaml
  modeshift rules import openslo slo.yaml --openslo-dialect osko --severity sev3=ticket
  modeshift rules import sloth slo.yml --into rules/ --verify http://prometheus:9090 --since 7d
  modeshift rules import pyrra objectives/ --service checkout --into rules/checkout.yaml

It writes rule files that mean the same, and says on standard error (with -o json on standard output) of everything that
does not, with its place: what behaves otherwise (changed), what is not carried over (dropped), and what a person has to
decide, which stands in the rule file as a comment too. A file that says something else is not written over without
--overwrite: it may have modes by now.

With --verify it asks a Prometheus what both definitions would have made of its past: for each window the greatest difference of
the error ratios, and for how long an alert of one would have fired and none of the other, each minute (tickets as often as they
are decided), their for included. Theirs are asked for by their tool's own expressions from raw series, not from what its rules
recorded; ours are decided by what decides in production. What is intended is told as such: for, unknown, short window, groups.
Where theirs has several series, the one that differs most is named; groups explain what all of them together make, and nothing else.
The files are written before.

Exits 0 when it wrote the rule files, and with --verify when all differences are intended; 1 when something is wrong with the files (nothing is written then) or both do not come
to the same, 2 for wrong use, 3 when the Prometheus cannot tell.`
}

// importDifference is a difference as programs read it.
type importDifference struct {
	Kind    convert.Kind `json:"kind"`
	Code    string       `json:"code"`
	File    string       `json:"file"`
	Line    int          `json:"line"`
	Column  int          `json:"column"`
	Service string       `json:"service,omitempty"`
	SLO     string       `json:"slo,omitempty"`
	Message string       `json:"message"`
	Hint    string       `json:"hint,omitempty"`
}

// importedFile is a rule file as programs read it.
type importedFile struct {
	Service string `json:"service"`
	SLOs    int    `json:"slos"`
	File    string `json:"file,omitempty"`
	Text    string `json:"text"`
}

// Run implements the verb.
func (v *rulesImportCmd) Run(s *streams, c *cli) error {
	opts, err := v.options()
	if err != nil {
		return err
	}
	files, err := rules.ReadFiles(v.Paths...)
	if err != nil {
		return &exitError{exitUsage, err}
	}
	result, err := convert.Import(convert.Tool(v.Tool), files, opts)
	var faults rules.Diagnostics
	var wrong *convert.UsageError
	switch {
	case errors.As(err, &wrong):
		return &exitError{exitUsage, err}
	case errors.As(err, &faults):
		return v.refuse(s, c, faults)
	case err != nil:
		return err
	}
	paths, err := v.destinations(result)
	if err != nil {
		return err
	}
	for i, path := range paths {
		if err := writeRules(path, result.Services[i].Text); err != nil {
			return err
		}
	}
	var compared []convert.Verified
	var missing error // why some services are not compared
	if v.Verify != "" {
		if compared, missing = v.verify(s, result); missing != nil && compared == nil {
			return missing
		}
	}
	if err := v.show(s, c, len(files), paths, result, compared, missing == nil); err != nil {
		return err
	}
	if missing != nil {
		return missing
	}
	return importVerdict(compared)
}

func (v *rulesImportCmd) options() (convert.Options, error) {
	opts := convert.Options{Period: time.Duration(v.Period), Dialect: convert.Dialect(v.Dialect), Service: v.Service, Severities: map[string]engine.Severity{}}
	for word, severity := range v.Severity {
		switch s := engine.Severity(severity); s {
		case engine.SeverityPage, engine.SeverityTicket:
			opts.Severities[word] = s
		default:
			return opts, exit(exitUsage, "--severity %s=%s: a severity is page or ticket", word, severity)
		}
	}
	dialects := []convert.Dialect{convert.DialectSloth, convert.DialectOsko, convert.DialectNobl9, convert.DialectLiteral}
	if opts.Dialect != "" && !slices.Contains(dialects, opts.Dialect) {
		return opts, exit(exitUsage, "--openslo-dialect: there is no %q: a dialect is sloth, osko, nobl9 or literal", v.Dialect)
	}
	if _, to := v.between(time.Now()); to.After(time.Now()) { // both would be asked for what nobody has seen, and come to the same
		return opts, exit(exitUsage, "--to %s is not past yet", to.Format(time.RFC3339))
	}
	if len(v.Windows) > 0 {
		var err error
		if opts.Windows, err = rules.ReadFiles(v.Windows...); err != nil {
			return opts, &exitError{exitUsage, err}
		}
	}
	return opts, nil
}

// between is the time over which both definitions are compared.
func (v *rulesImportCmd) between(now time.Time) (from, to time.Time) {
	to = now
	if v.To != nil {
		to = v.To.from(now)
	}
	if v.From != nil {
		return v.From.from(to), to
	}
	return to.Add(-time.Duration(v.Since)), to
}

// refuse says what is wrong with the files.
func (v *rulesImportCmd) refuse(s *streams, c *cli, all rules.Diagnostics) error {
	err := c.show(s, map[string]any{"ok": false, "faults": faultsOf(all)}, func() error {
		_, err := fmt.Fprintf(s.err, "%v\n\nnothing is written: %s\n", all, count(len(all), "error"))
		return err
	})
	if err != nil {
		return err
	}
	return &exitError{exitNo, errors.New("")}
}

// destinations are the files to write, one for each service; none for standard output. Nothing that is there and says something
// else is written over unasked. What is not there yet is a file if its name is a rule file's, and else a folder: a folder called
// shop.yaml would hide among files, and of a file called rules nothing would ever be loaded.
func (v *rulesImportCmd) destinations(result *convert.Result) ([]string, error) {
	if v.Into == "" {
		return nil, nil
	}
	info, err := os.Stat(v.Into)
	folder := strings.HasSuffix(v.Into, "/")
	switch ext := filepath.Ext(v.Into); {
	case folder:
	case err == nil:
		folder = info.IsDir()
	default:
		folder = ext != ".yaml" && ext != ".yml"
	}
	if !folder && len(result.Services) > 1 {
		return nil, exit(exitUsage, "there are %d services, and --into %s is a file: name a folder, for a file of each", len(result.Services), v.Into)
	}
	var paths []string
	for _, one := range result.Services {
		path := v.Into
		if folder {
			path = filepath.Join(v.Into, one.Name+".yaml")
		}
		was, err := os.ReadFile(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return nil, &exitError{exitUsage, err}
		case !v.Overwrite && !bytes.Equal(was, one.Text):
			return nil, exit(exitNo, "%s is there and says something else; nothing is written: compare, and say --overwrite if it may go", path)
		}
		paths = append(paths, path)
	}
	if folder {
		if err := os.MkdirAll(v.Into, 0o755); err != nil {
			return nil, &exitError{exitUsage, err}
		}
	}
	return paths, nil
}

// writeRules writes a file whole or not at all: a server may be reading the folder.
func writeRules(path string, text []byte) error {
	part, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	_, err = part.Write(text)
	err = errors.Join(err, part.Chmod(0o644), part.Close())
	if err == nil {
		err = os.Rename(part.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(part.Name()))
	}
	return nil
}

func (v *rulesImportCmd) show(s *streams, c *cli, files int, paths []string, result *convert.Result, compared []convert.Verified, whole bool) error {
	out := make([]importedFile, len(result.Services))
	slos, decide := 0, 0
	for i, one := range result.Services {
		out[i] = importedFile{Service: one.Name, SLOs: one.SLOs, Text: string(one.Text)}
		if paths != nil {
			out[i].File = paths[i]
		}
		slos += one.SLOs
	}
	differences := make([]importDifference, len(result.Differences))
	for i, d := range result.Differences {
		differences[i] = importDifference(d)
		if d.Kind == convert.Decide {
			decide++
		}
	}
	said := map[string]any{"ok": whole && importVerdict(compared) == nil, "services": out, "differences": differences}
	if v.Verify != "" {
		said["verified"] = comparedSLOs(compared)
	}
	return c.show(s, said, func() error {
		for i, one := range result.Services {
			if paths != nil {
				if _, err := fmt.Fprintf(s.out, "%s: service %s, %s\n", paths[i], one.Name, count(one.SLOs, "SLO")); err != nil {
					return err
				}
				continue
			}
			text := string(one.Text)
			if i > 0 {
				text = "---\n" + text
			}
			if _, err := io.WriteString(s.out, text); err != nil {
				return err
			}
		}
		for _, d := range alikeDifferences(result.Differences) {
			if err := printImportDifference(s, d.first, d.more); err != nil {
				return err
			}
		}
		_, err := fmt.Fprintf(s.err, "%s, %s, %s: %s, %d to decide\n", count(files, "file"), count(len(out), "service"), count(slos, "SLO"),
			count(len(differences), "difference"), decide)
		if err != nil || v.Verify == "" {
			return err
		}
		return printVerified(s, compared)
	})
}

// toldDifference is a difference as people are told of it, and at how many more places it is the same.
type toldDifference struct {
	first convert.Difference
	more  int
}

// alikeDifferences tells of what is the same at many places once: a hundred files of a tool differ a hundred times in what the tool does.
func alikeDifferences(all []convert.Difference) []*toldDifference {
	var out []*toldDifference
	known := map[convert.Difference]*toldDifference{}
	for _, d := range all {
		key := convert.Difference{Kind: d.Kind, Code: d.Code, Message: d.Message, Hint: d.Hint}
		if t := known[key]; t != nil {
			t.more++
			continue
		}
		t := &toldDifference{first: d}
		known[key] = t
		out = append(out, t)
	}
	return out
}

func printImportDifference(s *streams, d convert.Difference, more int) error {
	of := ""
	if d.SLO != "" {
		of = " of " + d.SLO
	}
	if more > 0 {
		of += fmt.Sprintf(" (and at %s more)", count(more, "place"))
	}
	_, err := fmt.Fprintf(s.err, "%s: %s: %s%s: %s\n", d.Position(), d.Kind, d.Code, of, oneLine(d.Message))
	if err == nil && d.Hint != "" {
		_, err = fmt.Fprintf(s.err, "  = %s\n", oneLine(d.Hint))
	}
	return err
}
