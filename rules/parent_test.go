package rules

import (
	"strings"
	"testing"
)

// forest is rule files of scopes that stand above each other; each is named after its service.
func forest(docs ...string) []File {
	files := make([]File, len(docs))
	for i, text := range docs {
		_, name, _ := strings.Cut(text, "service: ")
		name, _, _ = strings.Cut(name, "\n")
		files[i] = File{name + ".yaml", []byte("version: modeshift/v1\n" + text)}
	}
	return files
}

const (
	global   = "service: global\nmodes: [{name: normal}, {name: alert, imposes: read-only}]\n"
	product  = "service: shop\nparent: global\nmodes: [{name: normal}, {name: contained, imposes: degraded}, {name: read-only}]\n"
	checkout = "service: checkout\nparent: shop\nmodes: [{name: normal}, {name: degraded}, {name: read-only}]\n"
)

func TestScopesFormATree(t *testing.T) {
	set, err := Load(forest(checkout, product, global), Options{})
	if err != nil {
		t.Fatal(err)
	}
	p := &set.Service("checkout").Policy
	if p.Parent != "shop" || set.Service("shop").Policy.Modes[1].Imposes != "degraded" || set.Service("shop").Policy.Parent != "global" {
		t.Errorf("%+v", p)
	}
	alone, err := Load(forest(strings.Replace(checkout, "parent: shop\n", "", 1)), Options{})
	if err != nil || alone.Service("checkout").Digest == set.Service("checkout").Digest {
		t.Errorf("the parent is not in the digest (%v)", err)
	}
	without, err := Load(forest(strings.Replace(global, ", imposes: read-only", "", 1)), Options{})
	if err != nil || without.Service("global").Digest == set.Service("global").Digest {
		t.Errorf("what is imposed is not in the digest (%v)", err)
	}
}

func TestATreeThatCannotBeDoesNotLoad(t *testing.T) {
	for name, c := range map[string]struct {
		files []File
		want  string
		load  []string // the services that do
	}{
		"a circle": {
			forest(strings.Replace(global, "\n", "\nparent: checkout\n", 1), product, checkout),
			"checkout.yaml:3:9: the services stand in a circle: checkout → shop → global → checkout", nil,
		},
		"who stands below a circle": {
			forest(strings.Replace(global, "\n", "\nparent: shop\n", 1), product, checkout),
			`checkout.yaml:3:9: service "shop" does not load (shop.yaml)`, nil,
		},
		"a mode that is imposed and not declared": {
			forest(global, product, strings.Replace(checkout, ", {name: read-only}", "", 1)),
			`checkout.yaml:3:9: "global" imposes mode "read-only" in alert, and "checkout" has no such mode`, []string{"global", "shop"},
		},
		"a mode that is imposed and has no rank": {
			forest(global, product, strings.Replace(checkout, "{name: degraded}", "{name: degraded, beside: true}", 1)),
			`checkout.yaml:3:9: "shop" imposes mode "degraded" in contained, which stands beside the others in "checkout"`, []string{"global", "shop"},
		},
		"a service that has no modes": {
			forest(global, product, "service: checkout\nparent: shop\nslis: [{name: a, query: up}]\n"),
			`checkout.yaml:3:9: "shop" imposes mode "degraded" in contained, and "checkout" has no such mode`, []string{"global", "shop"},
		},
		"a parent without modes": {
			forest("service: shop\nslis: [{name: a, query: up}]\n", checkout),
			`checkout.yaml:3:9: service "shop" has no modes`, []string{"shop"},
		},
		"a parent that does not load": {
			forest(global+"owner: [a]\n", product, checkout),
			`checkout.yaml:3:9: service "shop" does not load (shop.yaml)`, nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			set, err := Load(c.files, Options{})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v\nwant: %s", err, c.want)
			}
			var loaded []string
			for _, s := range set.Services {
				loaded = append(loaded, string(s.Policy.Scope))
			}
			if strings.Join(loaded, " ") != strings.Join(c.load, " ") {
				t.Errorf("loaded: %v, want %v", loaded, c.load)
			}
		})
	}
}

// What rests on declared schedules alone needs no permit to begin everywhere at once: nothing measured can make it true.
func TestWhatIsScheduledIsKnownFromTheCondition(t *testing.T) {
	for when, want := range map[string]bool{
		`schedule("night")`:                               true,
		`!schedule("night")`:                              true,
		`schedule("night") && dwell() > duration("5m")`:   true,
		`schedule("night") || alert("GatewayDown")`:       false,
		`schedule("night") && mode("checkout") == "cost"`: false,
		`dwell() > duration("5m")`:                        false,
		`alert("GatewayDown")`:                            false,
	} {
		text := `service: checkout
schedules: [{name: night, cron: "0 22 * * *", duration: 8h}]
modes: [{name: normal}, {name: degraded}, {name: cost, beside: true}]
transitions: [{name: save, from: [normal], to: cost, when: '` + when + `'}]
`
		set, err := Load(forest(text), Options{})
		if err != nil {
			t.Fatal(err)
		}
		if p := &set.Service("checkout").Policy; p.Conditions[p.Transitions[0].When].Scheduled != want {
			t.Errorf("%s: scheduled is %t", when, !want)
		}
	}
}
