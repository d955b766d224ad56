package agent

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
)

func TestEventsAreReadAsTheStandardHasThem(t *testing.T) {
	for name, c := range map[string]struct {
		stream string
		want   []string // kind=data
		err    error
	}{
		"one":                         {"event: beat\ndata: {}\n\n", []string{"beat={}"}, io.EOF},
		"CR LF":                       {"event: beat\r\ndata: {}\r\n\r\n", []string{"beat={}"}, io.EOF},
		"no space after the colon":    {"event:beat\ndata:{}\n\n", []string{"beat={}"}, io.EOF},
		"one space is not the data's": {"data:  x\n\n", []string{"= x"}, io.EOF},
		"data of many lines":          {"data: a\ndata: b\ndata\n\n", []string{"=a\nb\n"}, io.EOF},
		"a comment":                   {": keep-alive\n\n: more\ndata: x\n\n", []string{"=x"}, io.EOF},
		"unknown fields":              {"id: 1-2\nretry: 5\nfoo: bar\ndata: x\n\n", []string{"=x"}, io.EOF},
		"an event without data":       {"event: a\n\ndata: x\n\n", []string{"=x"}, io.EOF},
		"the kind is not inherited":   {"event: a\ndata: 1\n\ndata: 2\n\n", []string{"a=1", "=2"}, io.EOF},
		"cut off in an event":         {"data: 1\n\ndata: 2\n", []string{"=1"}, io.EOF},
		"cut off in a line":           {"data: 1\n\ndata: 2", []string{"=1"}, io.ErrUnexpectedEOF},
		"the longest data":            {"data: " + strings.Repeat("x", maxMessage) + "\n\n", []string{"=" + strings.Repeat("x", maxMessage)}, io.EOF},
		"one byte longer":             {"data: " + strings.Repeat("x", maxMessage+1) + "\n\n", nil, errTooLarge},
		"one byte longer in two":      {"data: " + strings.Repeat("x", maxMessage-1) + "\ndata: xx\n\n", nil, errTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			from := newEvents(strings.NewReader(c.stream))
			var got []string
			for {
				e, err := from.next()
				if err != nil {
					if !errors.Is(err, c.err) {
						t.Errorf("ended with %v, want %v", err, c.err)
					}
					break
				}
				got = append(got, fmt.Sprintf("%s=%s", e.kind, e.data))
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got %.80q, want %.80q", got, c.want)
			}
		})
	}
}
