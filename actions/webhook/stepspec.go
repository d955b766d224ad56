package webhook

import (
	"fmt"
	"maps"
	"net/http"
	"net/textproto"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/modeshift/modeshift/actions/spec"
)

// How long a call may take, body included.
const (
	defaultTimeout = 30 * time.Second
	maxTimeout     = 10 * time.Minute
)

// step is a specification, understood.
type step struct {
	method     string
	url        *spec.Template
	headers    map[string]*spec.Template // by canonical name
	json       any                       // the document, with a *spec.Template for each text; nil: none
	form       map[string]*spec.Template
	body       *spec.Template
	expect     expectation
	signFile   string // empty: not signed
	signHeader string
	bearerFile string // empty: none
	keyHeader  string // empty: the key is not sent
	event      *cloudEvent
	keyed      bool
	done       *check
	timeout    time.Duration
}

// check asks whether a step has happened already.
type check struct {
	url        *spec.Template
	headers    map[string]*spec.Template
	expect     expectation
	bearerFile string
}

// methods are those that a step may use. CONNECT and TRACE are no requests to a target.
var methods = []string{"POST", "PUT", "PATCH", "DELETE", "GET"}

// ours are headers that follow from the rest of a request.
var ours = map[string]string{
	"Authorization":       "everybody who may read the rules would read it; use bearer_file",
	"Proxy-Authorization": "a proxy is configured in the server's own file",
	"Cookie":              "everybody who may read the rules would read it; use bearer_file",
	"Host":                "it follows from url",
	"Content-Length":      "it follows from the body",
	"Transfer-Encoding":   "it follows from the body",
	"Connection":          "each step has a connection of its own",
	"Upgrade":             "each step has a connection of its own",
	"Te":                  "each step has a connection of its own",
	"Trailer":             "it follows from the body",
	"Accept-Encoding":     "answers are uncompressed before they are judged",
}

// read understands a specification. The form has its faults.
func (k *Kind) read(data []byte) (*step, *spec.Form) {
	f := spec.Read(data)
	o := f.Root(keys.Names()...)
	if len(f.Problems) > 0 && o.Keys() == nil {
		return nil, f
	}
	s := &step{method: http.MethodPost, signHeader: SignatureHeader, keyHeader: "Idempotency-Key"}
	o.Required("url", "such as url: https://dns.internal/repoint")
	s.url = o.URL("url")
	if m := o.Text("method"); m != "" {
		s.method = strings.ToUpper(m)
		if !slices.Contains(methods, s.method) {
			f.Fault(o.At("method"), m+" is not a method that a step may use", spec.Suggest(m, methods))
		}
	}
	s.headers = readHeaders(f, o)
	k.readBody(f, o, s)
	s.expect = k.readExpectation(f, o.Object("expect", "status", "cel"))
	if sig := o.Object("signature", "secret_file", "header"); o.Has("signature") {
		sig.Required("secret_file", "such as secret_file: dns-signing.key")
		s.signFile = k.readSecret(f, sig, "secret_file")
		if h := readHeaderName(f, sig, "header"); h != "" {
			s.signHeader = h
		}
	}
	s.bearerFile = k.readSecret(f, o, "bearer_file")
	s.keyed = o.Bool("keyed", true)
	if h := readHeaderName(f, o, "idempotency_header"); h != "" {
		s.keyHeader = h
	}
	s.readClashes(f, o)
	if d := o.Object("done", "url", "headers", "expect", "bearer_file"); o.Has("done") {
		d.Required("url", "such as url: https://dns.internal/records/checkout")
		s.done = &check{url: d.URL("url"), headers: readHeaders(f, d), bearerFile: k.readSecret(f, d, "bearer_file"),
			expect: k.readExpectation(f, d.Object("expect", "status", "cel"))}
	}
	s.timeout = o.Duration("timeout", defaultTimeout, maxTimeout)
	return s, f
}

// readBody reads what is sent: one of json, form and body, and the envelope around it.
func (k *Kind) readBody(f *spec.Form, o spec.Object, s *step) {
	var given []string
	for _, key := range []string{"json", "form", "body"} {
		if o.Has(key) {
			given = append(given, key)
		}
	}
	if len(given) > 1 {
		f.Fault(o.At(given[1]), "there can be one of json, form and body", "leave "+strings.Join(given[1:], " and ")+" out")
	}
	if len(given) > 0 && s.method == http.MethodGet {
		f.Fault(o.At(given[0]), "GET has no body", "say method: POST, or put it into the query")
	}
	s.json = readJSON(f, o.At("json"), o.Value("json"))
	s.form = o.Templates("form")
	if s.body = o.Template("body"); s.body != nil && !s.body.Fixed() {
		if t := s.headers["Content-Type"]; t != nil && strings.Contains(strings.ToLower(t.Prefix()), "json") {
			f.Fault(o.At("body"), "facts in a body arrive as they are, and would break JSON", "use json: each text in it is encoded")
		}
	}
	s.event = readEvent(f, o)
	if s.event != nil && !s.event.binary && len(given) == 1 && (s.form != nil || s.body != nil) {
		f.Fault(o.At("cloudevents"), "an event around a form or a text has to be binary", "cloudevents: {mode: binary}, or use json")
	}
	if s.event != nil && s.method == http.MethodGet {
		f.Fault(o.At("cloudevents"), "GET has no body", "say method: POST")
	}
}

// readJSON replaces each text of a document by its template.
func readJSON(f *spec.Form, at []string, v any) any {
	switch v := v.(type) {
	case string:
		if t := f.Parse(at, v); t != nil {
			return t
		}
		return nil
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = readJSON(f, append(slices.Clone(at), strconv.Itoa(i)), e)
		}
		return out
	case map[string]any:
		out := make(map[string]any, len(v))
		for _, key := range slices.Sorted(maps.Keys(v)) {
			in := append(slices.Clone(at), key)
			if strings.Contains(key, "{{") {
				f.Fault(in, "the name of a member is fixed", "put the fact into its value")
			}
			out[key] = readJSON(f, in, v[key])
		}
		return out
	}
	return v
}

func readHeaders(f *spec.Form, o spec.Object) map[string]*spec.Template {
	in := o.Templates("headers")
	if in == nil {
		return nil
	}
	m := o.Object("headers")
	out := make(map[string]*spec.Template, len(in))
	for _, name := range slices.Sorted(maps.Keys(in)) {
		canonical := textproto.CanonicalMIMEHeaderKey(name)
		why, own := ours[canonical]
		switch {
		case !validName(name):
			f.Fault(m.At(name), strconv.Quote(name)+" cannot be the name of a header", "letters, digits and hyphens")
		case own:
			f.Fault(m.At(name), name+" cannot be set here", why)
		case out[canonical] != nil:
			f.Fault(m.At(name), "the header "+canonical+" is there twice", "upper and lower case are the same in a header's name")
		default:
			out[canonical] = in[name]
		}
	}
	return out
}

func readHeaderName(f *spec.Form, o spec.Object, key string) string {
	name := o.Text(key)
	if name == "" {
		return ""
	}
	canonical := textproto.CanonicalMIMEHeaderKey(name)
	if why, own := ours[canonical]; own {
		f.Fault(o.At(key), name+" cannot be set here", why)
	} else if !validName(name) {
		f.Fault(o.At(key), strconv.Quote(name)+" cannot be the name of a header", "letters, digits and hyphens")
	}
	return canonical
}

// readClashes refuses two writers of one header.
func (s *step) readClashes(f *spec.Form, o spec.Object) {
	names := slices.Sorted(maps.Keys(s.headers))
	for _, name := range names {
		switch {
		case name == s.keyHeader:
			f.Fault(o.At("headers"), "the header "+name+" is set to the key already", "leave it out, or name another idempotency_header")
		case s.signFile != "" && name == s.signHeader:
			f.Fault(o.At("headers"), "the header "+name+" is set to the signature already", "leave it out")
		case s.event != nil && strings.HasPrefix(name, "Ce-"):
			f.Fault(o.At("headers"), "the header "+name+" belongs to the event", "leave it out")
		case s.event != nil && !s.event.binary && name == "Content-Type":
			f.Fault(o.At("headers"), "the type of a structured event is fixed", "leave Content-Type out, or say cloudevents: {mode: binary}")
		}
	}
	if s.signFile != "" && s.signHeader == s.keyHeader {
		f.Fault(o.At("signature"), fmt.Sprintf("key and signature cannot both be in %s", s.keyHeader), "name another header")
	}
}

// readSecret reads the name of a file with a secret. Who writes rules must not be able to have any file of the server's
// sent to a place of their own: it has to be in the folder that the server keeps secrets for steps in.
func (k *Kind) readSecret(f *spec.Form, o spec.Object, key string) string {
	name := o.Text(key)
	if name == "" || k.opts.FormOnly {
		return name
	}
	if k.opts.SecretsDir == "" {
		f.Fault(o.At(key), "the server's configuration names no folder for the secrets of steps", "set it there, and put the file into it")
		return ""
	}
	local := name
	if filepath.IsAbs(name) {
		var err error
		if local, err = filepath.Rel(k.opts.SecretsDir, name); err != nil {
			local = ".."
		}
	}
	if !filepath.IsLocal(local) {
		f.Fault(o.At(key), "the file is outside of the folder for the secrets of steps", "put it into "+k.opts.SecretsDir)
		return ""
	}
	return local
}

// validName reports whether s can be the name of a header. Source: RFC 9110, section 5.6.2, token.
func validName(s string) bool {
	for i := range len(s) {
		c := s[i]
		if c <= ' ' || c > '~' || strings.IndexByte("\"(),/:;<=>?@[\\]{}", c) >= 0 {
			return false
		}
	}
	return s != ""
}

// validValue reports whether s can be the value of a header: no control character but the tab, so that a fact cannot begin
// another header. Source: RFC 9110, section 5.5.
func validValue(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}
