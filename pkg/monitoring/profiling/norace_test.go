//go:build !race

package profiling_test

const raceSlack = 0
