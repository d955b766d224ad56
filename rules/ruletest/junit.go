package ruletest

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"
)

// WriteJUnit writes results as the XML that pipelines read: a suite for each file, a case for each test.
func WriteJUnit(w io.Writer, results []Result) error {
	type failure struct {
		Message string `xml:"message,attr"`
		Text    string `xml:",chardata"`
	}
	type testcase struct {
		Name    string   `xml:"name,attr"`
		File    string   `xml:"file,attr"`
		Time    string   `xml:"time,attr"`
		Failure *failure `xml:"failure,omitempty"`
	}
	type suite struct {
		Name     string     `xml:"name,attr"`
		Tests    int        `xml:"tests,attr"`
		Failures int        `xml:"failures,attr"`
		Cases    []testcase `xml:"testcase"`
	}
	var suites struct {
		XMLName xml.Name `xml:"testsuites"`
		Suites  []*suite `xml:"testsuite"`
	}
	for _, r := range results {
		file := r.Position
		for range 2 { // without line and column
			file = file[:strings.LastIndexByte(file, ':')]
		}
		if n := len(suites.Suites); n == 0 || suites.Suites[n-1].Name != file {
			suites.Suites = append(suites.Suites, &suite{Name: file})
		}
		s := suites.Suites[len(suites.Suites)-1]
		one := testcase{Name: r.Name, File: file, Time: fmt.Sprintf("%.3f", r.Took.Seconds())}
		s.Tests++
		if !r.Passed {
			s.Failures++
			one.Failure = &failure{Message: r.Error}
			for _, f := range r.Failures {
				if one.Failure.Message == "" {
					one.Failure.Message = fmt.Sprintf("at %s, %s: expected %s, got %s", f.When, f.What, f.Want, f.Got)
				}
				one.Failure.Text += fmt.Sprintf("%s: at %s, %s: expected %s, got %s\n", f.Position, f.When, f.What, f.Want, f.Got)
				for _, line := range f.Why {
					one.Failure.Text += "  " + line + "\n"
				}
			}
		}
		s.Cases = append(s.Cases, one)
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	e := xml.NewEncoder(w)
	e.Indent("", "  ")
	if err := e.Encode(suites); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}
