package prom

import (
	"sync"
	"time"

	"github.com/modeshift/modeshift/rules"
)

// kept is what was read of signals that stand at the multiples of a cadence, one value a signal. It saves asking for the same
// instant again and is nothing more: without it, as after a restart, the same is asked once more.
type kept struct {
	mu     sync.Mutex // guards values
	values map[key]keptValue
}

type keptValue struct {
	at    time.Time
	value rules.Value
}

func (m *kept) get(k key, at time.Time) (rules.Value, bool) {
	if k.signal.Every <= 0 {
		return rules.Value{}, false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	v, ok := m.values[k]
	return v.value, ok && v.at.Equal(at)
}

func (m *kept) put(k key, at time.Time, v rules.Value) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.values[k] = keptValue{at, v}
}
