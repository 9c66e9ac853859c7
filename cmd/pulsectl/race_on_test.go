//go:build race

package main

// many is fewer under the race detector: each takes ten times as long then.
const many = 8
