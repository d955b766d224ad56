package server

import (
	"github.com/modeshift/modeshift/rules"
	"github.com/modeshift/modeshift/rules/prom"
)

// Fusion tells how the queries of a set of rules will be asked: which of them together, and why not the others.
func Fusion(set *rules.Set) []prom.FusionGroup { return prom.Fusion(set) }
