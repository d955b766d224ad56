// Package promtest gives a test a real Prometheus server, and a real Alertmanager, as Debian ships them.
//
// The programs come from Debian's packages by `apt-get download` and `dpkg-deb -x`, which install and start nothing. What
// was fetched stays in a folder under os.UserCacheDir; with that folder filled, nothing here needs the network. Several
// test processes may fill it at once: one does, the others wait for it.
//
//	prom := promtest.Start(t, promtest.Options{})
//	prom.Push(promtest.Series{Metric: `up{job="shop"}`, Samples: []promtest.Sample{{At: at, Value: 1}}})
//	… query prom.URL …
//	prom.Pause() // from here on it accepts connections and never answers
//
// A server listens on a loopback port of its own choice, keeps its data in the test's temporary folder and ends with the
// test. It takes samples by remote write at any time within the last ten days and in any order, so that a test says exactly
// which samples exist instead of waiting for scrapes.
//
// Where the packages cannot be had (no Debian, no network) the test is skipped and says why; with CI=true in the
// environment it fails instead, so that nobody takes a skipped test for a passed one.
package promtest
