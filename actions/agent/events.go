package agent

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/modeshift/modeshift/engine"
)

// maxMessage is the size of a message above which it is refused, in bytes. A directive with its flags has a few hundred.
const maxMessage = 1 << 20

var errTooLarge = fmt.Errorf("a message has more than %d bytes", maxMessage)

// event is one server-sent event. Its ID is not kept: where the stream goes on is said by the hello.
type event struct {
	kind string
	data []byte // valid until the next call
}

// events reads server-sent events, as https://html.spec.whatwg.org/multipage/server-sent-events.html has them, except that
// a lone CR does not end a line: our servers never send one.
type events struct {
	r    *bufio.Reader
	line []byte
	data []byte
}

func newEvents(r io.Reader) *events { return &events{r: bufio.NewReader(r)} }

// next returns the next event that has data. One that is cut off by the end of the stream is none.
func (e *events) next() (event, error) {
	var kind string
	e.data = e.data[:0]
	some := false
	for {
		line, err := e.readLine()
		if err != nil {
			return event{}, err
		}
		if len(line) == 0 {
			if some {
				return event{kind, e.data}, nil
			}
			kind = ""
			continue
		}
		field, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(field) { // a comment has an empty one
		case "event":
			kind = string(value)
		case "data":
			if some {
				e.data = append(e.data, '\n')
			}
			if len(e.data)+len(value) > maxMessage {
				return event{}, errTooLarge
			}
			e.data, some = append(e.data, value...), true
		}
	}
}

// readLine returns a line without its end, valid until the next call.
func (e *events) readLine() ([]byte, error) {
	e.line = e.line[:0]
	for {
		part, err := e.r.ReadSlice('\n')
		if len(e.line)+len(part) > maxMessage+len("data: \r\n") {
			return nil, errTooLarge
		}
		e.line = append(e.line, part...)
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if err != nil {
			if errors.Is(err, io.EOF) && len(e.line) > 0 {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
		return bytes.TrimSuffix(e.line[:len(e.line)-1], []byte("\r")), nil
	}
}

// garbageError is in the error of a message that nobody can read.
type garbageError struct{ err error }

func (e *garbageError) Error() string { return "the server sent garbage: " + e.err.Error() }
func (e *garbageError) Unwrap() error { return e.err }

// decode reads a message. Fields that are not known are left out: a newer server may send more.
func decode(data []byte, v any) error {
	if err := json.Unmarshal(data, v); err != nil {
		return &garbageError{err}
	}
	return nil
}

// decodeTold reads a directive.
func decodeTold(data []byte) (*engine.Told, error) {
	t := new(engine.Told)
	if err := decode(data, t); err != nil {
		return nil, err
	}
	if err := validate(t); err != nil {
		return nil, &garbageError{err}
	}
	return t, nil
}

// validate reports what keeps a directive from being one.
func validate(t *engine.Told) error {
	switch {
	case t.Scope == "":
		return errors.New("a directive names no scope")
	case t.Mode == "":
		return errors.New("a directive names no mode")
	case t.Revision == 0:
		return errors.New("a directive has no revision")
	case t.LeaseMS < 0:
		return errors.New("a directive has a negative lease")
	case t.OnLoss != nil && t.OnLoss.Mode == "":
		return errors.New("a directive names no mode for the end of its lease")
	}
	return nil
}
