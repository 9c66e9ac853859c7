//go:build !race

package hotspot_test

const raceEnabled = false
