package demo

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
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

// People at the terminal look and decide by nothing but the lines that the stories print, as a shell runs them.
func TestPeopleGetThroughTheStoriesByTheCommandsThatTheyPrint(t *testing.T) {
	t.Parallel()
	command := program(t)
	for story, verbs := range map[string]string{
		"lying-prometheus": "status evaluate freeze reject reject reject unfreeze",
		"shared-outage":    "approvals set set unpin",
	} {
		t.Run(story, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 6*time.Minute)
			defer cancel()
			var out screen
			done := make(chan error, 1)
			go func() { done <- Run(ctx, Options{Start: startReal(t), Command: command, Story: story, Out: &out}) }()
			poll := time.NewTicker(20 * time.Millisecond)
			defer poll.Stop()
			var ran []string
			for text := ""; !strings.Contains(text, "Ctrl-C ends it"); text = out.text() {
				select {
				case err := <-done:
					t.Fatalf("it ended by itself: %v\n%s", err, out.text())
				case <-poll.C:
				}
				whole := text[:strings.LastIndex(text, "\n")+1]
				var asked []string
				for line := range strings.Lines(whole) {
					if line = strings.TrimSpace(line); strings.HasPrefix(line, command+" ") {
						asked = append(asked, line)
					}
				}
				for _, line := range asked[len(ran):] {
					said, err := exec.Command("sh", "-c", line).CombinedOutput()
					verb := strings.Fields(line)[1]
					// To look may find that something is wrong; to do has to be done.
					var exit *exec.ExitError
					if looks := verb == "status" || verb == "evaluate" || verb == "approvals"; err != nil && (!looks || !errors.As(err, &exit) || exit.ExitCode() != 1) {
						t.Fatalf("%s: %v\n%s", line, err, said)
					}
					ran = append(ran, verb)
				}
			}
			cancel()
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			t.Logf("the story:\n%s", out.text())
			if got := strings.Join(ran, " "); got != verbs {
				t.Errorf("ran %s, want %s", got, verbs)
			}
		})
	}
}

func TestAMaintenanceIsQuietAndAnEmergencyInItIsNot(t *testing.T) {
	t.Parallel()
	expectSteps(t, "maintenance", stepTraffic, stepAnnounced, stepWindow, stepHushed, stepEmergency, stepMended, stepOver, stepBudget,
		stepResolved, stepAudit)
}
