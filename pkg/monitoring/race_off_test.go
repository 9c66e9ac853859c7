//go:build !race

package monitoring_test

const raceEnabled = false
