package rules

import (
	"cmp"
	"math/big"
	"regexp"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v3"

	"github.com/modeshift/modeshift/engine"
)

// What a file says of the instances: how far they have to follow, what they do without the server, and what a service answers
// while a mode says that it does not answer.

const (
	maxGrace = time.Hour
	minLease = time.Second
	maxLease = 30 * 24 * time.Hour
	// shortLease is what a restart of the server may take with everything that hangs on it.
	shortLease = time.Minute

	maxMessageBytes = 1000
	maxRetryAfter   = 7 * 24 * time.Hour
)

// hold is what `on_loss` says where an instance keeps its mode.
const hold = "hold"

// instances reads what is expected of a scope's instances.
func (d *draft) instances(n *node) {
	r, out := d.r, &d.service.Policy.Instances
	for _, key := range []string{"lease", "on_loss"} {
		if k := n.keyNode(key); k != nil {
			r.as(CodeUnknownKey).errorf(k, "write it at the top of the file, beside `instances`", "%s is not a key of instances: it is of the whole scope", key)
			n = n.without(key)
		}
	}
	r.mapping(n, "instances",
		may("min_applied", func(n *node) {
			v, ok := r.percent(n, "min_applied")
			if ok && (v <= 0 || v > 1) {
				r.errorf(n, "write the share of the instances that a change needs, such as 99%", "min_applied must be above 0%% and at most 100%%, and it is %s", clip(n.value))
			}
			out.MinApplied = v
		}),
		may("grace", func(n *node) {
			v, ok := r.duration(n, "grace")
			if ok && v > maxGrace {
				r.errorf(n, "", "grace may be at most %s", model.Duration(maxGrace))
			}
			out.Grace = v
		}),
		may("page_above", func(n *node) {
			v, ok := r.percent(n, "page_above")
			if ok && (v <= 0 || v >= 1) {
				r.errorf(n, "write 1%, or 0.01% to be paged for any single one of up to ten thousand", "page_above must be above 0%% and below 100%%, and it is %s", clip(n.value))
			}
			out.PageAbove = v
		}))
}

// loss reads how long an instance trusts what it heard last, and what it does then.
func (d *draft) loss(lease, onLoss *node) {
	r, out := d.r, &d.service.Policy.Instances
	if lease != nil {
		v, ok := r.duration(lease, "lease")
		switch {
		case ok && (v < minLease || v > maxLease):
			r.errorf(lease, "", "lease must be from %s to %s", model.Duration(minLease), model.Duration(maxLease))
		case ok && v < shortLease && onLoss != nil && onLoss.value != hold:
			r.as(CodeShortLease).warnf(lease, "give it a few minutes", "with a lease of %s every restart of the server moves the instances to %s", model.Duration(v), clip(onLoss.value))
		}
		out.Lease = v
	}
	switch {
	case onLoss == nil:
	case onLoss.kind == yaml.ScalarNode && onLoss.value == hold:
		if d.modeNames[hold] != nil {
			r.errorf(onLoss, "give the mode another name", "on_loss: hold keeps the mode an instance has, and there is a mode of that name")
		}
	default:
		m, ok := d.modeOf(onLoss)
		if ok && lease == nil {
			r.errorf(onLoss, "say for how long an instance trusts what it heard last: `lease: 10m`", "on_loss names a mode, and without a lease nothing is ever lost")
		}
		out.OnLoss = m
	}
}

// untold warns of what is said of instances in a file that never tells them anything.
func (d *draft) untold(n *node) {
	if d.modes != nil {
		return
	}
	for _, key := range []string{"instances", "lease", "on_loss"} {
		if k := n.keyNode(key); k != nil {
			d.r.as(CodeUntold).warnf(k, "declare `modes:`, or remove it", "%s says what instances do with modes, and there are none", key)
		}
	}
}

// instancesMeaning is what the rules of instances mean; nil where they say nothing but the defaults.
func instancesMeaning(i engine.InstanceRules) any {
	withDefaults := func(i engine.InstanceRules) engine.InstanceRules {
		i.MinApplied = cmp.Or(i.MinApplied, engine.DefaultMinApplied)
		i.Grace = cmp.Or(i.Grace, engine.DefaultGrace)
		i.PageAbove = cmp.Or(i.PageAbove, engine.DefaultPageAbove)
		return i
	}
	if i = withDefaults(i); i == withDefaults(engine.InstanceRules{}) {
		return nil
	}
	return i
}

// percentShape has as many digits as anybody needs.
var percentShape = regexp.MustCompile(`^([0-9]{1,4}(?:\.[0-9]{1,6})?) ?%$`)

// percent reads a share. It is written in percent, with the sign: of a bare 1 nobody could tell whether it means all.
func (r *reader) percent(n *node, what string) (float64, bool) {
	if n.kind == yaml.ScalarNode {
		if m := percentShape.FindStringSubmatch(n.value); m != nil {
			if v, ok := new(big.Rat).SetString(m[1]); ok {
				share, _ := v.Quo(v, big.NewRat(100, 1)).Float64()
				return share, true
			}
		}
	}
	r.errorf(n, "write it in percent, such as 99%", "%s must be a percentage, not %s", what, n.is())
	return 0, false
}

// unavailable reads what a service answers in a mode in which it does not answer.
func (d *draft) unavailable(n *node) *engine.Unavailable {
	r := d.r
	if n.kind == yaml.ScalarNode {
		r.errorf(n, `write unavailable: {message: "We are moving; back at 04:00", retry_after: 2m}`, "unavailable must be a mapping, not %s", n.is())
		return nil
	}
	var out engine.Unavailable
	r.mapping(n, "unavailable",
		need("message", func(n *node) {
			text, ok := r.text(n, "the message")
			switch {
			case !ok:
			case len(text) > maxMessageBytes:
				r.errorf(n, "", "the message has %d bytes, and may have at most %d", len(text), maxMessageBytes)
			case strings.ContainsFunc(text, func(c rune) bool { return c < ' ' && c != '\n' && c != '\t' || c == 0x7f }):
				r.errorf(n, "", "the message holds a control character")
			}
			out.Message = text
		}),
		may("retry_after", func(n *node) {
			v, ok := r.duration(n, "retry_after")
			if ok && (v%time.Second != 0 || v > maxRetryAfter) {
				r.errorf(n, "HTTP's Retry-After counts whole seconds", "retry_after must be a whole number of seconds, and at most %s", model.Duration(maxRetryAfter))
			}
			out.RetryAfterSeconds = int64(v / time.Second)
		}))
	return &out
}
