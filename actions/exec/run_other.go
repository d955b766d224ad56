//go:build !linux

package exec

import (
	"context"
	"errors"
	"time"
)

const supported = false

// run runs nothing: see the package comment. New refuses programs here, so that nobody comes as far.
func (p *program) run(context.Context, time.Duration) end {
	return end{err: errors.New("programs run on Linux only")}
}
