// Package api is the wire contract of the /monitoring API in Go: the bodies,
// the paths and the errors that servers and clients exchange.
//
// It holds data and the rules of its encoding, nothing that acts. Two kinds of
// servers speak it: this project's, and the Python Pulse API that it succeeds.
// The latter sends a subset: fields that only this project's servers send are
// pointers or may be zero, and zero then means "not told", never "none".
//
// Times are [Time], durations [Seconds], numbers of things [Count]: exact in
// Go, plain JSON numbers on the wire, and lenient towards what Python writes.
package api
