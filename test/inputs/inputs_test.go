package inputs

import (
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
)

// ends are the ways in which a function under test does not come back.
var ends = map[string]func(t *testing.T){
	"error":  func(t *testing.T) { t.Error("it is wrong") },
	"fatal":  func(t *testing.T) { t.Fatal("it is wrong") },
	"goexit": func(*testing.T) { runtime.Goexit() },
	"skip":   func(t *testing.T) { t.Skip("it is hard") },
	"panic":  func(*testing.T) { panic("it is wrong") },
}

// way tells a test in a process of its own how its input ends.
const way = "MODESHIFT_INPUT_ENDS"

// Of a million inputs the one that fails has to be named, however it fails: nobody finds it otherwise.
func TestAnInputThatFailsIsNamedWithTheSeed(t *testing.T) {
	if end := ends[os.Getenv(way)]; end != nil {
		Each(t, [][]string{{"good"}, {"the bad one"}}, func(t *testing.T, _ *rand.Rand, in []string) string {
			if in[0] == "the bad one" {
				end(t)
			}
			return in[0]
		})
		return
	}
	for name := range ends {
		cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", "-inputs=2", "-inputs.seed=7")
		cmd.Env = append(os.Environ(), way+"="+name)
		out, err := cmd.CombinedOutput()
		if text := string(out); err == nil || !strings.Contains(text, `-inputs.seed 7: the input was ["the bad one"]`) || !strings.Contains(text, "--- FAIL") {
			t.Errorf("%s: %v, and it says:\n%s", name, err, out)
		}
	}
}

func TestInputsThatAllPassFailNothing(t *testing.T) {
	tried := 0
	Each(t, [][]string{{"a"}, {"b"}}, func(_ *testing.T, _ *rand.Rand, in []string) string {
		tried++
		return in[0]
	})
	if tried != *many {
		t.Errorf("%d inputs were tried, want %d", tried, *many)
	}
}
