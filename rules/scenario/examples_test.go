package scenario

import (
	"path/filepath"
	"testing"

	"github.com/modeshift/modeshift/rules"
)

// What people copy first has to work: each SLO of the examples can be drawn.
func TestTheSLOsOfTheExamplesCanBeDrawn(t *testing.T) {
	drawn := 0
	for _, pattern := range []string{"rules/*.yaml", "*.rules.yaml"} {
		names, err := filepath.Glob(filepath.Join("../../examples/*", pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			files, err := rules.ReadFiles(name)
			if err != nil {
				t.Fatal(err)
			}
			set, _ := rules.Load(files, rules.Options{}) // some need a kind of action, or a parent: what loads counts
			for _, service := range set.Services {
				for i := range service.SLOs {
					if _, err := Draw(&service.SLOs[i], TotalOutage, Params{At: noon}); err != nil {
						t.Errorf("%s: %v", service.File, err)
					}
					drawn++
				}
			}
		}
	}
	if drawn < 6 {
		t.Errorf("%d SLOs were drawn: are the examples elsewhere?", drawn)
	}
}
