//go:build race

package hotspot_test

// raceEnabled: the race detector's memory is not ours.
const raceEnabled = true
