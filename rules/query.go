package rules

import (
	"strings"
	"time"

	"github.com/prometheus/common/model"
)

// template is a query with the window left open: the text between the places where it goes.
type template []string

func (t template) render(window time.Duration) string {
	return strings.Join(t, model.Duration(window).String())
}

// unit is what a total query counts in.
type unit int

const (
	unitOther unit = iota
	unitCount
	unitPerSecond
)
