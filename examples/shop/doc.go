// Package shop is the service that the demo shifts: a small web shop whose product pages show recommendations that another
// server, the Backend, makes.
//
// A Shop is one running copy of it, an instance. It follows its mode by the Go SDK, package agent, and does what the mode's flag
// `recommendations` says: with false a product page is rendered without them and the backend is not called. With true, a backend
// that fails makes the page fail, with a 500: that is what burns the error budget.
//
//	Load ──GET /product/7──▶ Shop ──GET /recommendations──▶ Backend (Break, Mend)
//	                          │ ▲
//	          /metrics ◀──────┘ └── mode and flags: modeshift; back: what came of them
//
// Customers pay through a Router that hands payments to one of two Gateways. Which one is not for the shop to say but for
// whoever repoints the router, and that is done to all instances at once: what modeshift calls a destructive step.
//
//	Load ──POST /pay──▶ Shop ──POST /charges──▶ Router ──▶ primary Gateway (Kill, Revive)
//	                                              ▲   └ ─ ▶ backup Gateway
//	                                              └── POST /warm, POST /repoint: modeshift
//
// An instance refuses its mode on request (Refuse, GiveIn, or POST /refuse and /give-in): it keeps the one it has and reports
// why, as an instance does that cannot do what a mode asks for.
//
// A bad deploy (Break, Mend, or POST /break?share=0.5 and /mend of an instance) makes a share of its pages fail in whatever mode.
//
// A product is made of several services that need the same backend (Services): each is a Shop under a name of its own.
//
// What a caller may rely on: a page is never rendered by a flag's value that nobody declared. Until the first directive the
// shop's own default holds (recommendations are shown); from then on the last one that it took, for as long as modeshift
// cannot be reached.
//
// Each Shop asks the backend for a recommendation now and then on its own account, in whatever mode. In degraded mode no page
// calls the backend any more, so only these probes know when it is mended; without them the shop would look healthy, recover,
// and break again.
package shop

import (
	"bytes"
	_ "embed" // the rule files below
	"fmt"
	"time"
)

// Rules is the shop's rule file, shop.rules.yaml: what modeshift is to do about it.
//
//go:embed shop.rules.yaml
var Rules []byte

// routerAddress is where the rule file has the router of the gateways.
const routerAddress = "http://gateways.shop.internal"

//go:embed product.rules.yaml
var product []byte

//go:embed service.rules.yaml
var service []byte

//go:embed maintenance.rules.yaml
var maintenance []byte

// Product is the scope above the Services, and its rule file is ProductRules.
const Product = "shop"

// Services are those of the product.
var Services = []string{"catalog", "search", "cart", "checkout", "account", "shipping"}

// ProductRules is the rule file of the scope above the services.
func ProductRules() []byte { return bytes.Clone(product) }

// ServiceRules is the rule file of one of the services. They differ in the name alone.
func ServiceRules(name string) []byte {
	return bytes.ReplaceAll(service, []byte("catalog"), []byte(name))
}

// planned is the window that the rule file of a maintenance has.
const planned = `cron: "0 2 * * SUN", duration: 2h`

// MaintenanceRules is the rule file of a service that is migrated in a window, which opens each day at that minute of UTC.
func MaintenanceRules(name string, opens time.Time, lasts time.Duration) []byte {
	opens = opens.UTC()
	window := fmt.Sprintf(`cron: "%d %d * * *", duration: %s`, opens.Minute(), opens.Hour(), lasts)
	return bytes.ReplaceAll(bytes.ReplaceAll(maintenance, []byte(planned), []byte(window)), []byte("catalog"), []byte(name))
}

// RulesFor is the shop's rule file where the router stands at another URL.
func RulesFor(router string) []byte {
	return bytes.ReplaceAll(Rules, []byte(routerAddress), []byte(router))
}
