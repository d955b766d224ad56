package prom

import (
	"sync"
	"time"

	"github.com/modeshift/modeshift/rules"
)

// held is what was read of signals that stand at the multiples of a cadence, one value a signal. It saves asking for the same
// instant again and is nothing more: without it, as after a restart, the same is asked once more.
type held struct {
	mu     sync.Mutex // guards values
	values map[key]heldValue
}

type heldValue struct {
	at    time.Time
	value rules.Value
}

func (m *held) get(k key, at time.Time) (rules.Value, bool) {
	if k.signal.Every <= 0 {
		return rules.Value{}, false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	v, ok := m.values[k]
	return v.value, ok && v.at.Equal(at)
}

func (m *held) put(k key, at time.Time, v rules.Value) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.values[k] = heldValue{at, v}
}
