package rules

import (
	"time"

	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v3"

	"github.com/modeshift/modeshift/engine"
)

const (
	// maxWaves keeps a roll-out within what people can follow.
	maxWaves = 20
	// maxPause bounds the wait between two waves: all of that time instances are in different modes.
	maxPause = 24 * time.Hour
)

// rollout reads how a directive reaches the instances; nil when that is faulty. Its verify is compiled with the other conditions.
func (d *draft) rollout(n *node, verify **node) *engine.Rollout {
	r := d.r
	if n.kind != yaml.MappingNode {
		r.errorf(n, "write `rollout: {waves: [5, 25, 100], pause: 30s}`", "rollout must be a mapping, not %s", n.is())
		return nil
	}
	var out engine.Rollout
	before := r.faults
	r.mapping(n, "a rollout",
		need("waves", func(n *node) { out.Waves = r.waves(n) }),
		may("pause", func(n *node) {
			if n.kind == yaml.ScalarNode && (n.value == "0" || n.value == "0s") {
				return
			}
			v, ok := r.duration(n, "pause")
			if ok && v > maxPause {
				r.errorf(n, "", "pause may be at most %s", model.Duration(maxPause))
			}
			out.Pause = v
		}),
		may("verify", func(n *node) { *verify = n }))
	if r.faults > before {
		return nil
	}
	return &out
}

// waves reads how much of the instances each wave reaches: whole numbers of percent that rise up to 100.
func (r *reader) waves(n *node) []engine.Percent {
	const shape = "write the percentages that have been reached after each wave: `waves: [5, 25, 100]`"
	if n.kind != yaml.SequenceNode {
		r.errorf(n, shape, "waves must be a list, not %s", n.is())
		return nil
	}
	var out []engine.Percent
	for _, item := range n.items {
		if item.kind == yaml.ScalarNode && percentShape.MatchString(item.value) {
			r.errorf(item, "leave the sign out: 5, 25, 100", "a wave is a whole number of percent, not %s", item.is())
			return nil
		}
		v := engine.Percent(r.integer(item, "a wave", 1, 100))
		if v == 0 {
			return nil
		}
		if len(out) > 0 && v <= out[len(out)-1] {
			r.errorf(item, "a wave counts the instances of those before it too: let the numbers rise, such as [5, 25, 100]",
				"a wave of %d %% after one of %d %% reaches nobody new", v, out[len(out)-1])
			return nil
		}
		out = append(out, v)
	}
	switch {
	case len(out) == 0:
		r.errorf(n, shape, "waves is empty")
	case out[len(out)-1] != 100:
		r.errorf(n.items[len(n.items)-1], "end with 100, or the instances beyond it never hear of the mode", "the last wave reaches %d %% of the instances", out[len(out)-1])
	case len(out) == 1:
		r.errorf(n, "leave `rollout` out to tell all instances at once, or put a smaller wave first: [5, 100]", "a single wave is no roll-out")
	case len(out) > maxWaves:
		r.errorf(n, "", "there are %d waves, and there may be at most %d", len(out), maxWaves)
	default:
		return out
	}
	return nil
}
