package server

import (
	"time"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/api"
)

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
