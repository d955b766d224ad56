package demo

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/modeshift/modeshift/engine/server"
	"github.com/modeshift/modeshift/engine/store"
)

// verify reads the log as `modeshift audit verify` does.
func verify(ctx context.Context, folder string) (string, error) {
	log, err := store.OpenReadOnly(ctx, filepath.Join(folder, server.LogFile))
	if err != nil {
		return "", err
	}
	defer func() { _ = log.Close() }() // nothing was written
	report, err := log.Verify(ctx)
	return fmt.Sprintf("%d events are whole", report.Events), err
}

// expectSteps tells a story with the real server, and wants each of its steps.
func expectSteps(t *testing.T, story string, want ...string) {
	t.Helper()
	out, err := tell(t, Options{Start: startReal(t), JSON: true, Story: story, Verify: verify, Timeout: 4 * time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	if steps := stepsOf(t, out); !slices.Equal(steps, append(want, "end")) {
		t.Errorf("steps %v\nwant %v", steps, want)
	}
}

func TestAPrometheusThatLiesMeetsPeople(t *testing.T) {
	t.Parallel()
	expectSteps(t, "lying-prometheus", stepTraffic, stepLying, stepMoved, stepAsked, stepLooked, stepFrozen, stepDenied, stepMended,
		stepReleased, stepRecovered, stepResolved, stepAudit)
}

func TestAnOutageThatServicesShareIsContainedByTheProductAboveThem(t *testing.T) {
	t.Parallel()
	expectSteps(t, "shared-outage", stepTraffic, stepBroken, stepMoved, stepAsked, stepHalf, stepBelow, stepDeploy, stepMended,
		stepReturned, stepRepaired, stepResolved, stepAudit)
}
