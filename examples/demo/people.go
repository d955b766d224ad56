package demo

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/modeshift/modeshift/engine/secret"
)

// person is somebody with a token, in a file of its own as people keep them.
type person struct {
	name  string // as the log knows them
	role  string
	token secret.Secret
	file  string
}

// people are those who have to do with the shop. Nobody proposes and approves: the gate asks for somebody on call.
type people struct {
	admin    person // reads everything; the demo looks through these eyes
	operator person // asks for undo
	oncall   person // approves
	shop     person // no human: the instances, which follow their mode and do nothing else
	file     string // modeshift's list of them
}

// write draws tokens and writes each, and modeshift's list of them, into a file in dir. scopes are those that people may act in,
// follow those that instances follow.
func (p *people) write(dir string, scopes, follow []string) error {
	if err := os.Mkdir(filepath.Join(dir, "tokens"), 0o700); err != nil {
		return err
	}
	var list strings.Builder
	list.WriteString("# Written by modeshift demo: who may do what. Of a token only its SHA-256 is here.\n")
	for _, who := range []struct {
		person     *person
		name, role string
	}{{&p.admin, "ada", "admin"}, {&p.operator, "olga", "operator"}, {&p.oncall, "carol", "oncall"}, {&p.shop, "shop", "instance"}} {
		var random [32]byte
		_, _ = rand.Read(random[:]) // never fails
		text := base64.RawURLEncoding.EncodeToString(random[:])
		*who.person = person{who.name, who.role, secret.New(text), filepath.Join(dir, "tokens", who.role)}
		if err := os.WriteFile(who.person.file, []byte(text+"\n"), 0o600); err != nil {
			return err
		}
		fmt.Fprintf(&list, "- {sha256: %x, principal: %s, person: %[2]s, roles: [%s]", sha256.Sum256([]byte(text)), who.name, who.role)
		switch who.role {
		case "admin":
		case "instance":
			// It speaks for no others.
			fmt.Fprintf(&list, ", scopes: [%s], instances: ['%s-*']", strings.Join(follow, ", "), strings.Join(follow, "-*', '"))
		default:
			fmt.Fprintf(&list, ", scopes: ['%s']", strings.Join(scopes, "', '"))
		}
		list.WriteString("}\n")
	}
	p.file = filepath.Join(dir, "tokens.yaml")
	return os.WriteFile(p.file, []byte(list.String()), 0o600)
}
