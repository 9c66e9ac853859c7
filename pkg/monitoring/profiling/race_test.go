//go:build race

package profiling_test

// raceSlack is what the race detector's own signals and threads cost samples.
const raceSlack = 0.1
