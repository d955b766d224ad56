package webhook

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/modeshift/modeshift/actions/spec"
	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/secret"
)

// call is one request, made of a step and a job. It is the same for every attempt, but for the attempt's number where a
// template shows it.
type call struct {
	method  string
	url     string
	host    string // for messages
	header  http.Header
	body    []byte // nil: none
	secrets []secret.Secret
}

// call makes the request of a step, without its secrets.
func (k *Kind) call(s *step, job engine.StepJob) (*call, error) {
	values := spec.ValuesOf(job)
	c := &call{method: s.method, header: http.Header{}}
	if err := c.fill(s.url, s.headers, values); err != nil {
		return nil, err
	}
	if err := c.fillBody(s, values); err != nil {
		return nil, err
	}
	if s.event != nil {
		if err := c.wrap(s, job, cmp.Or(k.opts.Source, "modeshift")); err != nil {
			return nil, err
		}
	}
	if job.Key == "" || !validValue(job.Key) {
		return nil, fmt.Errorf("the key %q cannot be sent in a header", job.Key)
	}
	c.header.Set(s.keyHeader, job.Key)
	return c, nil
}

// call makes the request of a check.
func (d *check) call(job engine.StepJob) (*call, error) {
	c := &call{method: http.MethodGet, header: http.Header{}}
	return c, c.fill(d.url, d.headers, spec.ValuesOf(job))
}

// bearer is the token of a check: the step's where it is the same target.
func (d *check) bearer(s *step) string {
	if d.bearerFile != "" || origin(d.url) != origin(s.url) {
		return d.bearerFile
	}
	return s.bearerFile
}

// origin is scheme, host and port of a URL's template, which are fixed.
func origin(t *spec.Template) string {
	scheme, rest, _ := strings.Cut(t.Prefix(), "://")
	if i := strings.IndexAny(rest, "/?"); i >= 0 {
		rest = rest[:i]
	}
	return strings.ToLower(scheme + "://" + rest)
}

func (c *call) fill(to *spec.Template, headers map[string]*spec.Template, values spec.Values) error {
	text, err := to.Fill(values)
	if err != nil {
		return fmt.Errorf("fill url: %w", err)
	}
	u, err := url.Parse(text)
	if err != nil { // its message repeats the URL
		return errors.New("fill url: the facts make no URL of it")
	}
	if err := spec.CheckPath(u); err != nil {
		return fmt.Errorf("fill url: %w", err)
	}
	c.url, c.host = text, u.Host
	for _, name := range slices.Sorted(maps.Keys(headers)) {
		v, err := headers[name].Fill(values)
		if err != nil {
			return fmt.Errorf("fill header %s: %w", name, err)
		}
		if !validValue(v) {
			return fmt.Errorf("fill header %s: %q has a control character, which a header cannot hold", name, v)
		}
		c.header.Set(name, v)
	}
	if c.header.Get("User-Agent") == "" {
		c.header.Set("User-Agent", "modeshift")
	}
	return nil
}

func (c *call) fillBody(s *step, values spec.Values) error {
	kind := ""
	switch {
	case s.json != nil:
		doc, err := fillJSON(s.json, values)
		if err != nil {
			return fmt.Errorf("fill json: %w", err)
		}
		if c.body, err = spec.Marshal(doc); err != nil {
			return fmt.Errorf("fill json: %w", err)
		}
		kind = "application/json"
	case s.form != nil:
		form := url.Values{}
		for name, t := range s.form {
			v, err := t.Fill(values)
			if err != nil {
				return fmt.Errorf("fill form: %s: %w", name, err)
			}
			form.Set(name, v)
		}
		c.body, kind = []byte(form.Encode()), "application/x-www-form-urlencoded"
	case s.body != nil:
		text, err := s.body.Fill(values)
		if err != nil {
			return fmt.Errorf("fill body: %w", err)
		}
		c.body, kind = []byte(text), "text/plain; charset=utf-8"
	}
	if kind != "" && c.header.Get("Content-Type") == "" {
		c.header.Set("Content-Type", kind)
	}
	return nil
}

// fillJSON puts the facts into a document. A fact is the value of a text there, whatever it holds: it is encoded with it.
func fillJSON(v any, values spec.Values) (any, error) {
	switch v := v.(type) {
	case *spec.Template:
		if v.TargetsAlone() {
			return values.Targets(), nil // a list, not a text with a list in it
		}
		return v.Fill(values)
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			var err error
			if out[i], err = fillJSON(e, values); err != nil {
				return nil, err
			}
		}
		return out, nil
	case map[string]any:
		out := make(map[string]any, len(v))
		for key, e := range v {
			var err error
			if out[key], err = fillJSON(e, values); err != nil {
				return nil, fmt.Errorf("%s: %w", key, err)
			}
		}
		return out, nil
	}
	return v, nil
}

// wrap makes an event of the request. Without a document its data are the facts.
func (c *call) wrap(s *step, job engine.StepJob, source string) error {
	if c.body == nil {
		var err error
		if c.body, err = spec.Marshal(job.Facts); err != nil {
			return fmt.Errorf("write event: %w", err)
		}
		if c.header.Get("Content-Type") == "" {
			c.header.Set("Content-Type", "application/json")
		}
	}
	attributes := s.event.attributes(job, source)
	if s.event.binary {
		for _, a := range attributes {
			c.header.Set("Ce-"+a[0], headerValue(a[1]))
		}
		return nil
	}
	doc := map[string]any{"datacontenttype": "application/json", "data": json.RawMessage(c.body)}
	for _, a := range attributes {
		doc[a[0]] = a[1]
	}
	var err error
	if c.body, err = spec.Marshal(doc); err != nil {
		return fmt.Errorf("write event: %w", err)
	}
	c.header.Set("Content-Type", "application/cloudevents+json; charset=utf-8")
	return nil
}

// unlock puts the step's secrets in.
func (k *Kind) unlock(c *call, s *step) error {
	if err := k.addBearer(c, s.bearerFile); err != nil {
		return err
	}
	if s.signFile == "" {
		return nil
	}
	key, err := k.secret(s.signFile)
	if err != nil {
		return fmt.Errorf("signing secret: %w", err)
	}
	value := sign(key, time.Now(), c.body)
	c.header.Set(s.signHeader, value)
	c.hide(key.Reveal(), value)
	return nil
}

func (k *Kind) addBearer(c *call, file string) error {
	if file == "" {
		return nil
	}
	token, err := k.secret(file)
	if err != nil {
		return fmt.Errorf("bearer token: %w", err)
	}
	if !validValue(token.Reveal()) {
		return errors.New("bearer token: the file holds more than one line")
	}
	c.header.Set("Authorization", "Bearer "+token.Reveal())
	c.hide(token.Reveal())
	return nil
}

// secret reads a file of the folder for secrets, and none outside of it.
func (k *Kind) secret(name string) (secret.Secret, error) {
	f, err := os.OpenInRoot(k.opts.SecretsDir, name)
	if err != nil {
		return secret.Secret{}, err
	}
	defer func() { _ = f.Close() }() // only read from: closing has nothing to say
	const most = 64 << 10
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return secret.Secret{}, err
	}
	if len(b) > most {
		return secret.Secret{}, fmt.Errorf("%s is larger than %d bytes", name, most)
	}
	s := secret.New(strings.TrimSpace(string(b)))
	if s.IsZero() {
		return s, fmt.Errorf("%s: %w", name, secret.ErrEmpty)
	}
	return s, nil
}

// hide notes texts that no message may show, with the forms in which an answer may repeat them.
func (c *call) hide(texts ...string) {
	for _, t := range texts {
		quoted := strconv.Quote(t)
		inJSON, err := json.Marshal(t)
		if err != nil {
			panic("webhook: a text cannot be written as JSON: " + err.Error())
		}
		for _, form := range []string{t, quoted[1 : len(quoted)-1], string(inJSON[1 : len(inJSON)-1]), url.QueryEscape(t), url.PathEscape(t),
			base64.StdEncoding.EncodeToString([]byte(t)), base64.RawURLEncoding.EncodeToString([]byte(t))} {
			if len(form) >= 4 { // fewer bytes keep nothing secret, and taking them out would make the text unreadable
				c.secrets = append(c.secrets, secret.New(form))
			}
		}
	}
	// The longest first, so that a whole goes before its part is looked for.
	slices.SortStableFunc(c.secrets, func(a, b secret.Secret) int { return len(b.Reveal()) - len(a.Reveal()) })
}

// request makes what is sent. The body is read anew at each attempt.
func (c *call) request(ctx context.Context) (*http.Request, error) {
	var body io.Reader
	if c.body != nil {
		body = bytes.NewReader(c.body)
	}
	req, err := http.NewRequestWithContext(ctx, c.method, c.url, body)
	if err != nil {
		return nil, fmt.Errorf("make request for %s", c.host)
	}
	req.Header = c.header
	return req, nil
}

// Describe says what Do would send, to the letter, and what it would take for success.
func (k *Kind) Describe(job engine.StepJob) (string, error) {
	s, err := k.of(job)
	if err != nil {
		return "", err
	}
	c, err := k.call(s, job)
	if err != nil {
		return "", err
	}
	if s.bearerFile != "" {
		c.header.Set("Authorization", "Bearer "+secret.Shown)
	}
	if s.signFile != "" {
		c.header.Set(s.signHeader, secret.Shown)
	}
	var b strings.Builder
	c.show(&b)
	fmt.Fprintf(&b, "\nit has happened when the answer is %s within %s", &s.expect, s.timeout)
	if s.done == nil {
		return b.String(), nil
	}
	d, err := s.done.call(job)
	if err != nil {
		return "", err
	}
	if s.done.bearer(s) != "" {
		d.header.Set("Authorization", "Bearer "+secret.Shown)
	}
	b.WriteString("\nwhether it happened already is asked by\n")
	d.show(&b)
	fmt.Fprintf(&b, "\nit happened already when the answer is %s", &s.done.expect)
	return b.String(), nil
}

func (c *call) show(b *strings.Builder) {
	fmt.Fprintf(b, "%s %s\n", c.method, c.url)
	for _, name := range slices.Sorted(maps.Keys(c.header)) {
		fmt.Fprintf(b, "%s: %s\n", name, visible(c.header.Get(name)))
	}
	if c.body != nil {
		fmt.Fprintf(b, "\n%s\n", visible(string(c.body)))
	}
}

// visible is text that does nothing to a terminal. A body that would is quoted as a whole.
func visible(text string) string {
	if strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) && r != '\n' && r != '\t' }) {
		return strconv.Quote(text)
	}
	return text
}
