package promtest

import (
	"cmp"
	"fmt"
	"path/filepath"
	"testing"

	"go.yaml.in/yaml/v3"
)

// Options say how a Prometheus or Alertmanager is started.
type Options struct {
	// Config is the configuration file. Empty: for Prometheus no scraping, no rules; for Alertmanager one receiver that
	// tells nobody.
	Config string
	// Flags are further flags of the command line.
	Flags []string
	// Data is a folder with blocks that a Prometheus serves, and keeps its own data in. Empty: a new one.
	Data string
}

// Prometheus is a running Prometheus server.
type Prometheus struct{ *Server }

// Start starts a Prometheus server and returns when it is ready. It ends with the test. Its scrapes and rules are those of
// the configuration; samples come in by Push as well.
func Start(t testing.TB, o Options) *Prometheus {
	t.Helper()
	dir := t.TempDir()
	config, err := acceptPast(o.Config)
	if err != nil {
		t.Fatalf("configuration: %v", err)
	}
	data := cmp.Or(o.Data, dir+"/data")
	args := []string{
		"--config.file=" + write(t, dir, "prometheus.yml", config),
		"--storage.tsdb.path=" + data,
		"--web.enable-remote-write-receiver",
		"--web.enable-lifecycle",
	}
	if !has(o.Flags, "storage.tsdb.retention.time") {
		args = append(args, "--storage.tsdb.retention.time=3650d") // samples at any fixed instant a test likes
	}
	return &Prometheus{newServer(t, prometheus, dir, data, append(args, o.Flags...))}
}

// Promtool returns the path of the promtool that comes with the server.
func Promtool(t testing.TB) string {
	t.Helper()
	return filepath.Join(unpacked(t, prometheus), "usr/bin/promtool")
}

// acceptPast adds to a configuration, unless it says otherwise, that samples up to ten days older than the newest are
// welcome in any order. Without it a series may be pushed only after what is newest minus an hour.
func acceptPast(config string) ([]byte, error) {
	var c map[string]any
	if err := yaml.Unmarshal([]byte(config), &c); err != nil {
		return nil, err
	}
	if c == nil {
		c = map[string]any{}
	}
	if _, ok := c["storage"]; !ok {
		c["storage"] = map[string]any{"tsdb": map[string]any{"out_of_order_time_window": "10d"}}
	}
	return yaml.Marshal(c)
}

// Alertmanager is a running Alertmanager.
type Alertmanager struct{ *Server }

// StartAlertmanager starts an Alertmanager that clusters with nobody and returns when it is ready. It ends with the test.
func StartAlertmanager(t testing.TB, o Options) *Alertmanager {
	t.Helper()
	dir := t.TempDir()
	config := o.Config
	if config == "" {
		config = "route: {receiver: nobody}\nreceivers: [{name: nobody}]\n"
	}
	args := append([]string{
		"--config.file=" + write(t, dir, "alertmanager.yml", []byte(config)),
		fmt.Sprintf("--storage.path=%s/data", dir),
		"--cluster.listen-address=",
	}, o.Flags...)
	return &Alertmanager{newServer(t, alertmanager, dir, dir+"/data", args)}
}
