package server

import (
	"crypto/sha256"
	"fmt"

	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/api"
	"github.com/modeshift/modeshift/engine/approval"
	"github.com/modeshift/modeshift/engine/web"
)

// openDesk is where people are asked: the API and the pages stand at the same one.
func (s *Server) openDesk() *approval.Desk {
	return approval.New(approval.Options{Loop: s.loop, Log: storeReader{s.store}, Describe: s.describe})
}

// describe says what a step would do, in the words of its kind.
func (s *Server) describe(job engine.StepJob) (string, error) {
	kind, known := s.kinds[job.Step.Kind]
	if !known {
		return "", fmt.Errorf("this server knows no kind of action %q", job.Step.Kind)
	}
	return kind.Describe(job)
}

// pages are the approvals for people with a browser.
func (s *Server) pages(desk *approval.Desk) (*web.Web, error) {
	return web.New(web.Options{Desk: desk, ExternalURL: s.opts.Config.ExternalURL, Logger: s.log, Visitor: func(sum [sha256.Size]byte) (web.Visitor, bool) {
		token, known := s.tokens.Lookup(sum)
		if !known || !token.Reads() {
			return web.Visitor{}, false
		}
		return visitor(token), true
	}})
}

func visitor(token api.Token) web.Visitor {
	return web.Visitor{Actor: token.Actor(), Roles: token.Words(), Sees: token.Sees}
}
