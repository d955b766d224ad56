package api

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"
	"sync"

	"go.yaml.in/yaml/v3"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/secret"
)

// Role is what a token may do: one of those below, or any other word, which is a group that gates may ask.
type Role string

// The roles that open the API. Every role but RoleInstance includes reading.
const (
	RoleAdmin    Role = "admin"    // everything, everywhere; but no group of a gate
	RoleOperator Role = "operator" // set, unpin, freeze, unfreeze, cancel, undo and settle in its scopes
	RoleViewer   Role = "viewer"   // read its scopes
	RoleInstance Role = "instance" // follow its scopes as an instance, and read their flags; nothing else
)

var roles = []Role{RoleAdmin, RoleOperator, RoleViewer, RoleInstance}

// AllScopes in a token's scopes stands for every scope and the fleet.
const AllScopes engine.Scope = "*"

// Token is what the server knows of a token.
type Token struct {
	SHA256    string         // hex SHA-256 of its text
	Principal string         // its name, as it stands in the log
	Person    string         // the human behind it; empty: the principal stands for itself
	Roles     []Role         // at least one
	Scopes    []engine.Scope // names, or AllScopes; an admin needs none
	Instances []string       // patterns of the names of instances it may speak for, as path.Match has them; none: any
}

// Actor is how the log knows the bearer.
func (t Token) Actor() engine.Actor { return engine.Actor{Principal: t.Principal, Person: t.Person} }

// Words are the token's roles as the core takes them. That somebody is an admin makes them a member of no group.
func (t Token) Words() []string {
	words := make([]string, len(t.Roles))
	for i, r := range t.Roles {
		words[i] = string(r)
	}
	return words
}

// Sees reports whether the token may read a scope.
func (t Token) Sees(scope engine.Scope) bool { return t.may(RoleViewer, scope) }

// Reads reports whether some role includes reading: whoever may be asked has to see what they are asked.
func (t Token) Reads() bool {
	return slices.ContainsFunc(t.Roles, func(r Role) bool { return r != RoleInstance })
}

// may reports whether the token has a role in a scope. An empty scope asks for the role alone.
func (t Token) may(role Role, scope engine.Scope) bool {
	if slices.Contains(t.Roles, RoleAdmin) {
		return true
	}
	if !slices.Contains(t.Roles, role) && (role != RoleViewer || !t.Reads()) {
		return false
	}
	return scope == "" || slices.Contains(t.Scopes, AllScopes) || slices.Contains(t.Scopes, scope)
}

// Tokens are the tokens a server accepts. It is safe for concurrent use.
type Tokens struct {
	path  string // of their file; empty: there is none
	fixed []known

	mu   sync.RWMutex // guards what follows
	text []byte       // the file as it was read
	list []known
}

type known struct {
	sum    [sha256.Size]byte
	reader string // see readerName
	token  Token
}

// NewTokens accepts the given tokens. It returns all faults of all of them.
func NewTokens(list ...Token) (*Tokens, error) {
	t := &Tokens{}
	var faults []error
	for i, token := range list {
		k, err := check(token)
		if err != nil {
			faults = append(faults, fmt.Errorf("token %d: %w", i+1, err))
		}
		t.fixed = append(t.fixed, k)
	}
	t.list = t.fixed
	return t, errors.Join(faults...)
}

// OpenTokens reads a file of tokens, and accepts the given ones besides. The file is a list, in YAML or JSON:
//
//   - sha256: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
//     principal: ada-laptop
//     person: ada
//     roles: [operator, viewer]
//     scopes: [checkout, payments]
//
// Anything it does not know is an error with its position. All errors come at once.
func OpenTokens(path string, more ...Token) (*Tokens, error) {
	t, err := NewTokens(more...)
	if err != nil {
		return nil, err
	}
	t.path = path
	if _, err := t.Reload(); err != nil {
		return nil, err
	}
	return t, nil
}

// Reload reads the file again and reports whether it had changed. On an error the tokens stay as they were.
func (t *Tokens) Reload() (changed bool, err error) {
	if t.path == "" {
		return false, nil
	}
	text, err := readLimited(t.path)
	if err != nil {
		return false, fmt.Errorf("read tokens: %w", err)
	}
	t.mu.RLock()
	same := t.text != nil && bytes.Equal(text, t.text)
	t.mu.RUnlock()
	if same {
		return false, nil
	}
	list, err := parseTokens(t.path, text)
	if err != nil {
		return false, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text, t.list = text, append(slices.Clone(t.fixed), list...)
	return true, nil
}

// maxTokenFile is far above what ten thousand tokens need.
const maxTokenFile = 16 << 20

func readLimited(path string) (text []byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	text, err = io.ReadAll(io.LimitReader(f, maxTokenFile+1))
	if err == nil && len(text) > maxTokenFile {
		err = fmt.Errorf("%s is larger than %d bytes", path, maxTokenFile)
	}
	return text, err
}

// find looks a presented token up. Every known one is compared in constant time, so that the time taken tells nothing of
// how much of a guess was right.
func (t *Tokens) find(presented string) (Token, bool) {
	return t.Lookup(sha256.Sum256([]byte(presented)))
}

// Lookup finds a token by its SHA-256, for whoever keeps that and not the text. A token that was taken out of the file is
// found no more.
func (t *Tokens) Lookup(sum [sha256.Size]byte) (Token, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	at := -1
	for i := range t.list {
		at = subtle.ConstantTimeSelect(subtle.ConstantTimeCompare(t.list[i].sum[:], sum[:]), i, at)
	}
	if at < 0 {
		return Token{}, false
	}
	return t.list[at].token, true
}

func check(token Token) (known, error) {
	var k known
	sum, err := hex.DecodeString(token.SHA256)
	switch {
	case err != nil || len(sum) != sha256.Size:
		return k, fmt.Errorf("sha256 has to be the 64 hex digits of the token's SHA-256 (printf %%s TOKEN | sha256sum)")
	case strings.TrimSpace(token.Principal) == "":
		return k, errors.New("principal is missing: the name the log knows this token by")
	case len(token.Roles) == 0:
		return k, fmt.Errorf("roles are missing: some of %v", roles)
	}
	for _, r := range token.Roles {
		if err := checkRole(r); err != nil {
			return k, err
		}
	}
	admin := slices.Contains(token.Roles, RoleAdmin)
	switch {
	case admin && len(token.Scopes) > 0 && !slices.Contains(token.Scopes, AllScopes):
		return k, errors.New(`an admin may act in every scope: leave scopes out or say ["*"]; for some scopes there is the role operator`)
	case !admin && len(token.Scopes) == 0:
		return k, errors.New(`scopes are missing: names of scopes, or "*"`)
	case slices.Contains(token.Scopes, ""):
		return k, errors.New("a scope's name is empty")
	case len(token.Instances) > 0 && !slices.Contains(token.Roles, RoleInstance):
		return k, errors.New("instances are for a token with the role instance")
	}
	for _, pattern := range token.Instances {
		if _, err := path.Match(pattern, ""); err != nil || pattern == "" {
			return k, fmt.Errorf("instances: %q is no pattern: * stands for any text, ? for a letter, [a-z] for one of several", pattern)
		}
	}
	copy(k.sum[:], sum)
	k.reader, k.token = readerName(k.sum), token
	return k, nil
}

// maxRole bounds the length of a group's name.
const maxRole = 100

// checkRole takes any word for a group of gates, but not what was meant to be one of the roles that open the API: a token
// that silently may do nothing is found out in an incident.
func checkRole(r Role) error {
	if slices.Contains(roles, r) {
		return nil
	}
	for _, known := range roles {
		if oneOff(strings.ToLower(string(r)), string(known)) {
			return fmt.Errorf("no role %q: there are %v; a group of a gate needs a name less like these", r, roles)
		}
	}
	plain := func(c rune) bool {
		return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("-_./:@", c)
	}
	if r == "" || len(r) > maxRole || strings.ContainsFunc(string(r), func(c rune) bool { return !plain(c) }) {
		return fmt.Errorf("role %q: a role is %v, or the name of a group: letters, digits and - _ . / : @, at most %d", r, roles, maxRole)
	}
	return nil
}

// oneOff reports whether a and b differ in at most one letter: another one, one too many or one too few.
func oneOff(a, b string) bool {
	if len(a) > len(b) {
		a, b = b, a
	}
	if len(b)-len(a) > 1 {
		return false
	}
	i := 0
	for i < len(a) && a[i] == b[i] {
		i++
	}
	if len(a) == len(b) {
		return i == len(a) || a[i+1:] == b[i+1:]
	}
	return a[i:] == b[i+1:]
}

// parseTokens reads a file's text; path is for the errors.
func parseTokens(path string, text []byte) ([]known, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if len(doc.Content) == 0 {
		return nil, nil
	}
	p := tokenParser{path: path, lines: map[[sha256.Size]byte]int{}}
	root := doc.Content[0]
	if root.Kind != yaml.SequenceNode {
		p.fault(root, "a list of tokens is wanted, each with sha256, principal, person, roles and scopes")
	} else {
		for _, n := range root.Content {
			p.token(n)
		}
	}
	if len(p.faults) > 0 {
		return nil, errors.Join(p.faults...)
	}
	return p.list, nil
}

type tokenParser struct {
	path   string
	list   []known
	lines  map[[sha256.Size]byte]int // where a hash was seen first
	faults []error
}

// fault keeps an error with its position. What stands in the place of a hash is never part of it: somebody may have
// written the token itself there.
func (p *tokenParser) fault(n *yaml.Node, format string, args ...any) {
	p.faults = append(p.faults, fmt.Errorf("%s:%d:%d: %s", p.path, n.Line, n.Column, fmt.Sprintf(format, args...)))
}

func (p *tokenParser) token(n *yaml.Node) {
	if n.Kind != yaml.MappingNode {
		p.fault(n, "a token is wanted: sha256, principal, person, roles and scopes")
		return
	}
	var token Token
	seen := map[string]bool{}
	before := len(p.faults)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if seen[key.Value] {
			p.fault(key, "%s is there twice", key.Value)
		}
		seen[key.Value] = true
		switch key.Value {
		case "sha256":
			token.SHA256 = p.text(key.Value, value)
		case "principal":
			token.Principal = p.text(key.Value, value)
		case "person":
			token.Person = p.text(key.Value, value)
		case "roles":
			for _, text := range p.texts(key.Value, value) {
				token.Roles = append(token.Roles, Role(text))
			}
		case "instances":
			token.Instances = p.texts(key.Value, value)
		case "scopes":
			for _, text := range p.texts(key.Value, value) {
				token.Scopes = append(token.Scopes, engine.Scope(text))
			}
		default:
			p.fault(key, "unknown key %q: there are sha256, principal, person, roles, scopes and instances", key.Value)
		}
	}
	if len(p.faults) > before {
		return
	}
	k, err := check(token)
	if err != nil {
		p.fault(n, "%v", err)
		return
	}
	if line, twice := p.lines[k.sum]; twice {
		p.fault(n, "the same sha256 as in line %d: whose token would it be?", line)
		return
	}
	p.lines[k.sum] = n.Line
	p.list = append(p.list, k)
}

func (p *tokenParser) text(key string, n *yaml.Node) string {
	if n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
		p.fault(n, "%s has to be a text", key)
		return ""
	}
	return n.Value
}

func (p *tokenParser) texts(key string, n *yaml.Node) []string {
	if n.Kind != yaml.SequenceNode {
		p.fault(n, "%s has to be a list", key)
		return nil
	}
	var list []string
	for _, e := range n.Content {
		list = append(list, p.text(key, e))
	}
	return list
}

// HashToken is what a token file holds of a token: the hex SHA-256 of its text.
func HashToken(token secret.Secret) string {
	sum := sha256.Sum256([]byte(token.Reveal()))
	return hex.EncodeToString(sum[:])
}

// NewAdminToken draws a token of 256 random bits and returns it with its hash. The plain one goes to its owner, the hash to
// the server.
func NewAdminToken() (plain secret.Secret, hash string) {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails; it ends the program where the system has no randomness
	plain = secret.New("ms_" + base64.RawURLEncoding.EncodeToString(b[:]))
	return plain, HashToken(plain)
}

// NewSecret makes a secret of what a file with a token holds: white space around it, as editors leave it, is no part of it.
func NewSecret(text string) secret.Secret { return secret.New(strings.TrimSpace(text)) }
