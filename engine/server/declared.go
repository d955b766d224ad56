package server

import (
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/api"
)

// flagMeta is what the rules say of a flag's life, as clients of OpenFeature are told it; nil when they say nothing.
func (s *Server) flagMeta(scope engine.Scope, key string) map[string]any {
	set, _ := s.book.current()
	service := set.Service(scope)
	if service == nil {
		return nil
	}
	for i := range service.Flags {
		f := &service.Flags[i]
		if f.Name != key {
			continue
		}
		meta := map[string]any{}
		if f.Owner != "" {
			meta["owner"] = f.Owner
		}
		if f.Level > 0 {
			meta["level"] = float64(f.Level)
		}
		if !f.Expires.IsZero() {
			meta["expires"] = f.Expires.Format(time.DateOnly)
		}
		return meta
	}
	return nil
}

// declaredFlags are the flags that the rules of a scope declare, in the order of the file.
func (s *Server) declaredFlags(scope engine.Scope, at time.Time) []api.Flag {
	set, _ := s.book.current() // what is wrong with the files on disk is told elsewhere
	service := set.Service(scope)
	if service == nil {
		return nil
	}
	day := func(t time.Time) string {
		if t.IsZero() {
			return ""
		}
		return t.Format(time.DateOnly)
	}
	flags := make([]api.Flag, len(service.Flags))
	for i := range service.Flags {
		f := &service.Flags[i]
		flags[i] = api.Flag{Name: f.Name, Declared: true, Description: f.Description, Owner: f.Owner, Level: f.Level, Saves: f.Saves, Position: f.Position,
			Expires: day(f.Expires), Tested: day(f.Tested), Expired: f.Expired(at), Untested: f.Untested(at)}
	}
	return flags
}
