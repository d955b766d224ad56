package rules

import (
	"time"

	"github.com/prometheus/common/model"

	"github.com/modeshift/modeshift/engine"
)

// maxDrill bounds how rarely a way back may be used: whoever used it last has left by then.
const maxDrill = 365 * 24 * time.Hour

// drill reads how often a mode has to be entered and left again. Nothing is decided by it: readiness compares it with the log.
func (d *draft) drill(n *node, mode engine.Mode, first bool) {
	every, ok := d.r.duration(n, "drill_every")
	switch {
	case !ok:
	case first:
		d.r.errorf(n, "remove it, and give it to the modes that are entered from here", "the first mode is the one all drills lead back to")
	case every > maxDrill:
		d.r.errorf(n, "", "drill_every may be at most %s", model.Duration(maxDrill))
	case mode != "":
		if d.service.Drills == nil {
			d.service.Drills = map[engine.Mode]time.Duration{}
		}
		d.service.Drills[mode] = every
	}
}
