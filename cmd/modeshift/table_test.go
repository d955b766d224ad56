package main

import (
	"strings"
	"testing"
	"time"
)

func TestADurationIsWrittenWithoutWhatNobodyReads(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", 1500 * time.Microsecond: "2ms", time.Second: "1s", 10 * time.Second: "10s", 59 * time.Second: "59s",
		time.Minute: "1m", 10 * time.Minute: "10m", 90 * time.Second: "1m30s", 70 * time.Second: "1m10s",
		time.Hour: "1h", 20 * time.Hour: "20h", 70 * time.Minute: "1h10m", 90*time.Minute + 10*time.Second: "1h30m",
	} {
		if got := round(d); got != want {
			t.Errorf("%v is written as %q, want %q", d, got, want)
		}
	}
}

// A reason is written by whoever asks for a mode, a query by whoever answers for Prometheus.
func TestTextFromOutsideNeitherObeysNorDisguises(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"plain text stays", "drill: p99 > 0.5 s, größer, 日本", "drill: p99 > 0.5 s, größer, 日本"},
		{"line ends and escapes become spaces", "a\nb\r\x1b[31mc\x7f", "a b  [31mc "},
		{"so do C1 controls", "a\u009b31mb\u0085c", "a 31mb c"},
		{"and the line ends of Unicode", "a\u2028b\u2029c", "a b c"},
		{"marks of direction go", "nor\u202edetsurt\u202c\u2066x\u2069\u200f", "nordetsurtx"},
		{"what has no width goes", "ad\u200bmin\u200d\ufeff\u00ad", "admin"},
		{"bytes that are no text are marked", "a\x9bb", "a\ufffdb"},
	} {
		if got := oneLine(c.in); got != c.want {
			t.Errorf("%s: %q became %q, want %q", c.name, c.in, got, c.want)
		}
		var b strings.Builder
		if err := table(&b, "", func(row func(...any)) { row(c.in, "end") }); err != nil || !strings.HasPrefix(b.String(), strings.TrimRight(c.want, " ")) {
			t.Errorf("%s: the table holds %q, %v", c.name, b.String(), err)
		}
	}
	if got, want := manyLines("file:1:2: a\u202e\n    b\u009b"), "file:1:2: a\n    b "; got != want {
		t.Errorf("several lines became %q, want %q", got, want)
	}
}
