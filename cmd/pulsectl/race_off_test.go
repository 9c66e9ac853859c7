//go:build !race

package main

// many is how many processes the scripts start at once.
const many = 50
