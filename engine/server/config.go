package server

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v3"

	"github.com/modeshift/modeshift/actions/flags"
	"github.com/modeshift/modeshift/engine"
	"github.com/modeshift/modeshift/engine/secret"
)

// Config is modeshift.yaml. Paths in it are relative to the file's folder.
type Config struct {
	// Rules are rule files, folders of them (*.yaml, *.yml) and globs.
	Rules []string `yaml:"rules"`
	// Data is the folder of the log, its identity and the admin token.
	Data string `yaml:"data"`
	// Listen is host:port. Without a host other than loopback nobody else can reach the server.
	Listen string `yaml:"listen"`
	// ExternalURL is how people reach the server; pages link to it. Empty: made of Listen.
	ExternalURL string `yaml:"external_url"`
	// TLS serves HTTPS, in the shape of Prometheus's web configuration.
	TLS *TLS `yaml:"tls_server_config"`
	// TokensFile lists who may do what. Empty: only the admin token, which is made at the first start.
	TokensFile string `yaml:"tokens_file"`
	// Origins of web pages that may read flags.
	Origins []string `yaml:"cors_origins"`

	Evaluation Evaluation  `yaml:"evaluation"`
	Brake      Brake       `yaml:"brake"`
	Prometheus []Source    `yaml:"prometheus"`
	Receivers  Receivers   `yaml:"receivers"`
	Actions    Actions     `yaml:"actions"`
	Instances  Instances   `yaml:"instances"`
	Flags      FlagServing `yaml:"flags"`
	Limits     Limits      `yaml:"limits"`

	Suggestions Suggestions `yaml:"suggestions"`
}

// TLS names the server's certificate and key.
type TLS struct {
	CertFile string `yaml:"cert_file"`
	KeyFile  string `yaml:"key_file"`
}

// Evaluation says how often and how patiently the world is looked at.
type Evaluation struct {
	Interval    model.Duration `yaml:"interval"`     // between two ticks
	Timeout     model.Duration `yaml:"timeout"`      // of one tick's queries; 0: two thirds of the interval
	BlindAfter  model.Duration `yaml:"blind_after"`  // how long sight may be lost before somebody is paged
	QueryOffset model.Duration `yaml:"query_offset"` // how far back queries look, so that scrapes have arrived
	SLOPeriod   model.Duration `yaml:"slo_period"`   // of SLOs that name none
}

// Brake bounds how many scopes automation moves to protect them in a while: the larger of Max and Share. What it withholds people are
// asked about.
type Brake struct {
	Max    int            `yaml:"max"`
	Share  Share          `yaml:"share"` // of all scopes
	Within model.Duration `yaml:"within"`
}

// rule is the brake as the core has it.
func (b Brake) rule() engine.BrakeRule {
	return engine.BrakeRule{Max: b.Max, Share: float64(b.Share), Within: time.Duration(b.Within)}
}

// Share is a part of all, in [0, 1]; a file writes it as 5%.
type Share float64

// UnmarshalYAML reads a percentage.
func (s *Share) UnmarshalYAML(n *yaml.Node) error {
	number, ok := strings.CutSuffix(n.Value, "%")
	v, err := strconv.ParseFloat(number, 64)
	if !ok || err != nil || !(v >= 0 && v <= 100) {
		return fmt.Errorf("line %d: %q is no percentage from 0%% to 100%%, such as 5%%", n.Line, n.Value)
	}
	*s = Share(v / 100)
	return nil
}

// Source is one Prometheus, or several that gather the same.
type Source struct {
	Name string `yaml:"name"`
	URL  string `yaml:"url"`
	// URLs are those of replicas, in place of URL: all are asked, and the freshest answer counts, or those of as many as a rule
	// says have to agree.
	URLs       []string                 `yaml:"urls"`
	HTTPConfig *config.HTTPClientConfig `yaml:"http_config"`
}

// urls are where the source is, URL or URLs.
func (s Source) urls() []string {
	if s.URL != "" {
		return []string{s.URL}
	}
	return s.URLs
}

// sources are the number of replicas of each Prometheus, by its name.
func (c *Config) sources() map[string]int {
	out := map[string]int{}
	for _, s := range c.Prometheus {
		out[s.Name] = len(s.urls())
	}
	return out
}

// Receivers say who is told of incidents, by severity.
type Receivers struct {
	Exec   *Receiver `yaml:"exec"` // of pages that burn on; with it they are told by themselves
	Page   *Receiver `yaml:"page"`
	Ticket *Receiver `yaml:"ticket"`
	Info   *Receiver `yaml:"info"` // of changes that are only in the log otherwise
	// Approvals asks people for their yes. Without it those who are paged are asked.
	Approvals *Receiver `yaml:"approvals"`
}

// byName names the receivers as a file does; nil where none is configured.
func (r Receivers) byName() map[string]*Receiver {
	return map[string]*Receiver{"exec": r.Exec, "page": r.Page, "ticket": r.Ticket, "info": r.Info, "approvals": r.Approvals}
}

// Receiver is exactly one kind of target.
type Receiver struct {
	PagerDuty *PagerDuty `yaml:"pagerduty"`
	Webhook   *Webhook   `yaml:"webhook"`
	Chat      *Chat      `yaml:"chat"`
}

// PagerDuty is a service's Events API v2 integration.
type PagerDuty struct {
	RoutingKey     secret.Secret `yaml:"routing_key"`
	RoutingKeyFile string        `yaml:"routing_key_file"`
	URL            string        `yaml:"url"` // empty: PagerDuty's own
}

// Webhook is anything that takes a JSON document by POST.
type Webhook struct {
	URL            string                   `yaml:"url"`
	HMACSecretFile string                   `yaml:"hmac_secret_file"`
	HTTPConfig     *config.HTTPClientConfig `yaml:"http_config"`
}

// Chat is an incoming webhook of a chat, in Slack's form. Its address is a secret: whoever has it may write there.
type Chat struct {
	URL        string                   `yaml:"url"`
	URLFile    string                   `yaml:"url_file"` // read at the start
	HTTPConfig *config.HTTPClientConfig `yaml:"http_config"`
}

// address is where messages go.
func (c *Chat) address() (string, error) {
	if c.URLFile == "" {
		return c.URL, nil
	}
	text, err := os.ReadFile(c.URLFile)
	return strings.TrimSpace(string(text)), err
}

// DefaultConfig is what holds where the file says nothing.
func DefaultConfig() Config {
	return Config{
		Data:   "modeshift-data",
		Listen: "127.0.0.1:8470",
		Evaluation: Evaluation{
			Interval:   model.Duration(15 * time.Second),
			BlindAfter: model.Duration(5 * time.Minute),
			SLOPeriod:  model.Duration(30 * 24 * time.Hour),
		},
		Brake:   Brake{Max: engine.DefaultBrakeMax, Share: engine.DefaultBrakeShare, Within: model.Duration(engine.DefaultBrakeWindow)},
		Actions: Actions{Concurrency: defaultSteps, PerKind: defaultPerKind},
		Flags:   FlagServing{MaxStreams: flags.DefaultMaxStreams},
		Limits:  defaultLimits(),

		Suggestions: Suggestions{Cron: "0 9 * * MON", Timezone: "UTC"},
	}
}

// LoadConfig reads modeshift.yaml strictly: a key it does not know is an error with its line. What it says as a whole is
// checked by Validate, once flags are laid over it.
func LoadConfig(path string) (Config, error) {
	c := DefaultConfig()
	text, err := os.ReadFile(path)
	if err != nil {
		return c, fmt.Errorf("read the configuration: %w", err)
	}
	dec := yaml.NewDecoder(bytes.NewReader(text))
	dec.KnownFields(true)
	if err := dec.Decode(&c); err != nil && !errors.Is(err, io.EOF) {
		return c, unreadable(path, err)
	}
	c.under(filepath.Dir(path))
	return c, nil
}

// under makes relative paths relative to dir.
func (c *Config) under(dir string) {
	join := func(p *string) {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(dir, *p)
		}
	}
	for i := range c.Rules {
		join(&c.Rules[i])
	}
	join(&c.Data)
	join(&c.TokensFile)
	if c.TLS != nil {
		join(&c.TLS.CertFile)
		join(&c.TLS.KeyFile)
	}
	for i := range c.Prometheus {
		if h := c.Prometheus[i].HTTPConfig; h != nil {
			h.SetDirectory(dir)
		}
	}
	c.Actions.under(dir)
	for _, r := range c.Receivers.byName() {
		if r == nil {
			continue
		}
		if r.PagerDuty != nil {
			join(&r.PagerDuty.RoutingKeyFile)
		}
		if r.Webhook != nil {
			join(&r.Webhook.HMACSecretFile)
		}
		if r.Chat != nil {
			join(&r.Chat.URLFile)
		}
		if h := r.http(); h != nil {
			h.SetDirectory(dir)
		}
	}
}

// Validate returns all faults of the configuration, each with how to mend it.
func (c *Config) Validate() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if len(c.Rules) == 0 {
		fault("rules: no rule file is named; list files or folders, for example rules: [rules/]")
	}
	if c.Data == "" {
		fault("data: a folder for the log is needed")
	}
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		fault("listen: %q is not host:port, for example 127.0.0.1:8470", c.Listen)
	}
	if address := c.Flags.SyncListen; address != "" {
		if host, _, err := net.SplitHostPort(address); err != nil {
			fault("flags.sync_listen: %q is not host:port, for example 127.0.0.1:8015", address)
		} else if c.TokensFile == "" && !loopback(host) {
			fault("flags.sync_listen: %s can be reached from elsewhere: name a tokens_file, or listen on 127.0.0.1", address)
		}
	}
	if c.Flags.RateLimit < 0 {
		fault("flags.rate_limit: %v requests a second; 0 is no limit", c.Flags.RateLimit)
	}
	if c.Flags.MaxStreams < 1 {
		fault("flags.max_streams: %d streams; for example %d", c.Flags.MaxStreams, flags.DefaultMaxStreams)
	}
	if c.ExternalURL != "" {
		faults = append(faults, webURL("external_url", c.ExternalURL))
	}
	if err := c.Instances.validate(); err != nil {
		faults = append(faults, err)
	}
	if err := c.Limits.validate(); err != nil {
		faults = append(faults, err)
	}
	e := c.Evaluation
	if interval := time.Duration(e.Interval); interval < 100*time.Millisecond || interval > 5*time.Minute {
		fault("evaluation.interval: %v is not between 100ms and 5m", e.Interval)
	} else if e.Timeout < 0 || e.Timeout >= e.Interval {
		fault("evaluation.timeout: %v must be shorter than the interval %v", e.Timeout, e.Interval)
	}
	if e.BlindAfter < 2*e.Interval {
		fault("evaluation.blind_after: %v is shorter than two intervals (%v)", e.BlindAfter, 2*e.Interval)
	}
	if c.Brake.Max < 1 {
		fault("brake.max: %d scopes; automation has to be able to move one at least. To start nothing by itself, say automation: suggest in the rule files", c.Brake.Max)
	}
	if w := time.Duration(c.Brake.Within); w < time.Minute || w > engine.MaxBrakeWindow {
		fault("brake.within: %v is not between 1m and 1d", c.Brake.Within)
	}
	if e.SLOPeriod <= 0 {
		fault("evaluation.slo_period: must be positive, for example 30d")
	}
	if len(c.Prometheus) == 0 {
		fault("prometheus: no server is named; for example prometheus: [{name: main, url: http://127.0.0.1:9090}]")
	}
	names := map[string]bool{}
	for i, s := range c.Prometheus {
		at := fmt.Sprintf("prometheus[%d]", i)
		if s.Name == "" || names[s.Name] {
			fault("%s.name: %q is empty or there twice", at, s.Name)
		}
		names[s.Name] = true
		if s.URL != "" && len(s.URLs) > 0 {
			fault("%s: url and urls are both there: list all replicas under urls", at)
		}
		for k, u := range s.URLs {
			if slices.Contains(s.URLs[:k], u) {
				fault("%s.urls: %q is there twice: a server is no replica of itself", at, u)
			}
			faults = append(faults, webURL(fmt.Sprintf("%s.urls[%d]", at, k), u))
		}
		if len(s.URLs) == 0 {
			faults = append(faults, webURL(at+".url", s.URL))
		}
	}
	receivers := c.Receivers.byName()
	for _, name := range slices.Sorted(maps.Keys(receivers)) {
		if r := receivers[name]; r != nil {
			faults = append(faults, r.validate("receivers."+name))
		}
	}
	faults = append(faults, c.Actions.validate(), c.Suggestions.validate())
	if c.TLS != nil && (c.TLS.CertFile == "" || c.TLS.KeyFile == "") {
		fault("tls_server_config: cert_file and key_file are both needed")
	}
	return errors.Join(faults...)
}

func (r *Receiver) validate(at string) error {
	kinds := 0
	for _, there := range []bool{r.PagerDuty != nil, r.Webhook != nil, r.Chat != nil} {
		if there {
			kinds++
		}
	}
	switch {
	case kinds != 1:
		return fmt.Errorf("%s: exactly one of pagerduty, webhook and chat is needed", at)
	case r.Chat != nil && (r.Chat.URL == "") == (r.Chat.URLFile == ""):
		return fmt.Errorf("%s.chat: exactly one of url and url_file is needed", at)
	case r.Chat != nil && r.Chat.URL != "":
		return webURL(at+".chat.url", r.Chat.URL)
	case r.PagerDuty != nil && r.PagerDuty.RoutingKey.IsZero() == (r.PagerDuty.RoutingKeyFile == ""):
		return fmt.Errorf("%s.pagerduty: exactly one of routing_key and routing_key_file is needed", at)
	case r.PagerDuty != nil && r.PagerDuty.URL != "":
		return webURL(at+".pagerduty.url", r.PagerDuty.URL)
	case r.Webhook != nil:
		return webURL(at+".webhook.url", r.Webhook.URL)
	}
	return nil
}

// http is how the receiver is spoken to, where its kind says so; nil: as usual.
func (r *Receiver) http() *config.HTTPClientConfig {
	switch {
	case r.Webhook != nil:
		return r.Webhook.HTTPConfig
	case r.Chat != nil:
		return r.Chat.HTTPConfig
	}
	return nil
}

// webURL checks that u is an absolute http or https URL.
func webURL(at, u string) error {
	p, err := url.Parse(u)
	if err != nil || p.Scheme != "http" && p.Scheme != "https" || p.Host == "" {
		return fmt.Errorf("%s: %q is not an http or https URL", at, u)
	}
	return nil
}
