// Package secret holds values that must not be seen: routing keys, tokens, signing keys.
//
// A Secret prints as <secret> whichever way it is printed: by fmt with any verb, by slog, as JSON, YAML or text, alone or
// inside of something else. Only Reveal gives the value, so that the places where a secret leaves the program can be found
// by looking for that word. What a target answers may repeat what it was sent; Scrub takes the secrets out of such text
// before it is kept anywhere.
//
// The package is a leaf: it imports the standard library alone, and everything that holds a secret may import it.
package secret

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"unique"
)

// Shown stands where a secret would.
const Shown = "<secret>"

// ErrEmpty is in the error of Read when the file holds nothing but white space.
var ErrEmpty = errors.New("the file is empty")

// maxFile is the size above which a file is taken for something else than a secret, in bytes.
const maxFile = 64 << 10

// Secret is a text that prints as <secret>. The zero value is no secret and prints as nothing, so that "not set" can be
// seen.
//
// The text stands behind a pointer: fmt cannot call methods of what is in an unexported field, and there shows an address
// and no more. The pointer is one for all secrets of the same text, so that == compares the texts. Where whoever offers
// one of the two may measure the time it takes, compare with crypto/subtle instead.
type Secret struct{ text unique.Handle[string] }

// New makes a secret of a text, as it is.
func New(text string) Secret {
	if text == "" {
		return Secret{} // the only empty one, for == and for IsZero
	}
	return Secret{unique.Make(text)}
}

// Reveal returns the text, to be sent to whom it is meant for and to nobody else.
func (s Secret) Reveal() string {
	if s.IsZero() {
		return ""
	}
	return s.text.Value()
}

// IsZero reports whether there is no secret; encoders ask it for omitempty (YAML) and omitzero (JSON).
func (s Secret) IsZero() bool { return s == Secret{} }

func (s Secret) String() string {
	if s.IsZero() {
		return ""
	}
	return Shown
}

// GoString keeps %#v from showing more than the other verbs.
func (s Secret) GoString() string { return fmt.Sprintf("%q", s.String()) }

// Format answers every verb of fmt, also those that do not ask for a String.
func (s Secret) Format(f fmt.State, verb rune) {
	text := s.String()
	if verb == 'v' && f.Flag('#') {
		text = s.GoString()
	}
	// A printer that cannot take the text reports that to its own caller.
	_, _ = io.WriteString(f, text)
}

// MarshalText keeps JSON, YAML and text encodings from showing it.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText takes a secret from a configuration, as it is. It refuses what MarshalText writes: who loads a configuration
// that was printed would have that for a key, and hear of it from the target only.
func (s *Secret) UnmarshalText(text []byte) error {
	if string(text) == Shown {
		return errors.New(Shown + " stands where a secret was printed; write the secret itself")
	}
	*s = New(string(text))
	return nil
}

// LogValue keeps slog from showing it.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// Read returns the secret kept in a file, without the white space around it.
func Read(path string) (Secret, error) {
	f, err := os.Open(path)
	if err != nil {
		return Secret{}, fmt.Errorf("read secret: %w", err)
	}
	defer func() { _ = f.Close() }() // only read from: closing has nothing to say
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return Secret{}, fmt.Errorf("read secret: %w", err)
	}
	if len(b) > maxFile {
		return Secret{}, fmt.Errorf("read secret: %s is larger than %d bytes", path, maxFile)
	}
	s := New(strings.TrimSpace(string(b)))
	if s.IsZero() {
		return Secret{}, fmt.Errorf("read secret: %s: %w", path, ErrEmpty)
	}
	return s, nil
}

// Source gives a secret when it is needed, and gives it anew at each use: one kept in a file can be changed without a
// restart.
type Source func() (Secret, error)

// From makes a source of a value or of a file, which is read at each use. It returns nil when neither is given, and an error
// when both are.
func From(value Secret, file string) (Source, error) {
	switch {
	case !value.IsZero() && file != "":
		return nil, errors.New("both the secret and a file with it are given")
	case file != "":
		return func() (Secret, error) { return Read(file) }, nil
	case !value.IsZero():
		return func() (Secret, error) { return value, nil }, nil
	}
	return nil, nil
}

// Scrub replaces the secrets that occur in text.
func Scrub(text string, secrets ...Secret) string {
	for _, s := range secrets {
		if !s.IsZero() {
			text = strings.ReplaceAll(text, s.Reveal(), Shown)
		}
	}
	return text
}

// OfUser are the secrets in the user's part of a URL, in the forms in which they are sent, the longest first; none without a
// password. net/http sends those of a proxy in a header that no request holds.
func OfUser(u *url.URL) []Secret {
	if u == nil || u.User == nil {
		return nil
	}
	password, ok := u.User.Password()
	if !ok || len(password) < 4 { // fewer bytes keep nothing secret, and taking them out would make a text unreadable
		return nil
	}
	plain := u.User.Username() + ":" + password
	return []Secret{New(base64.StdEncoding.EncodeToString([]byte(plain))), New(u.User.String()), New(plain), New(password)}
}

// Clean is an error that shows its first line without the secrets: what comes behind is how OAuth's client tells of an answer
// as a whole, which may repeat what it was sent. The cause can still be found with errors.Is and errors.As.
func Clean(err error, secrets ...Secret) error {
	if err == nil {
		return nil
	}
	line, _, _ := strings.Cut(err.Error(), "\n")
	if line = Scrub(line, secrets...); line == err.Error() {
		return err
	}
	return &cleaned{line, err}
}

// cleaned is an error with another text.
type cleaned struct {
	text  string
	cause error
}

func (e *cleaned) Error() string { return e.text }
func (e *cleaned) Unwrap() error { return e.cause }

// GoString keeps %#v from showing the cause.
func (e *cleaned) GoString() string { return fmt.Sprintf("%q", e.text) }

// Timeout is the cause's, which net/http asks for without unwrapping.
func (e *cleaned) Timeout() bool {
	var t interface{ Timeout() bool }
	return errors.As(e.cause, &t) && t.Timeout()
}
