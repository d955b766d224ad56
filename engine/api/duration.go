package api

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/prometheus/common/model"
)

// Duration is a length of time, written as Prometheus writes it: 90s, 1h30m, 2d. Its resolution is a millisecond.
type Duration time.Duration

// ParseDuration reads what Duration writes.
func ParseDuration(text string) (Duration, error) {
	d, err := model.ParseDuration(text)
	if err != nil {
		return 0, fmt.Errorf("%q is not a duration: write 90s, 15m, 1h30m or 2d", text)
	}
	return Duration(d), nil
}

func (d Duration) String() string { return model.Duration(d).String() }

// MarshalJSON writes the duration as a string.
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(d.String()) }

// UnmarshalJSON reads a string.
func (d *Duration) UnmarshalJSON(b []byte) error {
	var text string
	if err := json.Unmarshal(b, &text); err != nil {
		return fmt.Errorf("a duration is a string such as \"1h30m\": %w", err)
	}
	parsed, err := ParseDuration(text)
	*d = parsed
	return err
}

// Schema describes the string. The pattern is Prometheus's own, less the empty string.
func (Duration) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{
		Type:        huma.TypeString,
		Description: "A length of time as Prometheus writes it",
		Examples:    []any{"1h30m"},
		Pattern:     `^(0|([0-9]+y)?([0-9]+w)?([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?)$`,
		MinLength:   ptr(1),
		MaxLength:   ptr(64),
	}
}

func ptr[T any](v T) *T { return &v }
