//go:build !race

package modelog_test

const underRace = false
