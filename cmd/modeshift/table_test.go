package main

import (
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
