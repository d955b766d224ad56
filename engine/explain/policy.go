package explain

import (
	"encoding/json"
	"fmt"

	"github.com/modeshift/modeshift/engine"
)

// stored is the form in which a policy is kept. What the core leaves out of its own JSON stands beside it.
type stored struct {
	Policy engine.Policy         `json:"policy"`
	Verify []engine.ConditionRef `json:"verify,omitempty"` // of the playbook of each transition; empty where none has one
}

// EncodePolicy writes a policy so that DecodePolicy gives the same one back. Equal policies give equal bytes.
func EncodePolicy(p engine.Policy) ([]byte, error) {
	s := stored{Policy: p}
	verify := make([]engine.ConditionRef, len(p.Transitions))
	some := false
	for i := range p.Transitions {
		verify[i] = p.Transitions[i].Playbook.Verify
		some = some || verify[i] != 0
	}
	if some {
		s.Verify = verify
	}
	b, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("encode the rules of %s: %w", p.Scope, err)
	}
	return b, nil
}

// DecodePolicy reads what EncodePolicy wrote.
func DecodePolicy(b []byte) (engine.Policy, error) {
	var s stored
	if err := json.Unmarshal(b, &s); err != nil {
		return engine.Policy{}, fmt.Errorf("decode rules: %w", err)
	}
	p := s.Policy
	if len(s.Verify) != 0 && len(s.Verify) != len(p.Transitions) {
		return engine.Policy{}, fmt.Errorf("decode rules of %s: %d verifications for %d transitions", p.Scope, len(s.Verify), len(p.Transitions))
	}
	for i, v := range s.Verify {
		p.Transitions[i].Playbook.Verify = v
	}
	return p, nil
}
