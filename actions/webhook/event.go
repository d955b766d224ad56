package webhook

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/modeshift/modeshift/actions/spec"
	"github.com/modeshift/modeshift/engine"
)

// The types of events that steps send, unless they name their own.
const (
	TypeStep = "io.modeshift.change.step.v1"
	TypeUndo = "io.modeshift.change.undo.v1"
)

// cloudEvent is the envelope of a step that is sent as an event.
// Source: CloudEvents 1.0.2, and its HTTP protocol binding, sections 3.1 (binary) and 3.2 (structured).
//
// id is the key, so that (source, id) is the same for every attempt, which is what receivers know duplicates by. There is no
// time: it would be another one at each attempt, and a retry repeats a request byte for byte.
type cloudEvent struct {
	kind   string // its type; empty: TypeStep or TypeUndo
	source string // empty: the server's
	binary bool
}

func readEvent(f *spec.Form, o spec.Object) *cloudEvent {
	if yes, ok := o.Value("cloudevents").(bool); ok {
		if yes {
			return &cloudEvent{}
		}
		return nil
	}
	if !o.Has("cloudevents") {
		return nil
	}
	e := o.Object("cloudevents", "type", "source", "mode")
	out := &cloudEvent{kind: e.Text("type"), source: e.Text("source")}
	if out.source != "" {
		if _, err := url.Parse(out.source); err != nil {
			f.Fault(e.At("source"), "the source of an event is a URI", "such as https://modeshift.example")
		}
	}
	switch mode := e.Text("mode"); mode {
	case "", "structured":
	case "binary":
		out.binary = true
	default:
		f.Fault(e.At("mode"), mode+" is not a mode of events", spec.Suggest(mode, []string{"structured", "binary"}))
	}
	return out
}

// attributes are those of one job's event, in the order in which they are shown.
func (e *cloudEvent) attributes(job engine.StepJob, source string) [][2]string {
	kind := e.kind
	if kind == "" {
		kind = TypeStep
		if job.Undo {
			kind = TypeUndo
		}
	}
	if e.source != "" {
		source = e.source
	}
	return [][2]string{{"specversion", "1.0"}, {"id", job.Key}, {"source", source}, {"type", kind}, {"subject", string(job.Scope)}}
}

// headerValue writes an attribute as a header. Source: the HTTP protocol binding, section 3.1.3.2: space, quote, percent
// and all that is not printable ASCII are percent-encoded.
func headerValue(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c > '~' || c == '"' || c == '%' {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}
