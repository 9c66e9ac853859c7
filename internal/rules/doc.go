// Package rules keeps one hour of a server's own samples, answers PromQL over
// them, and evaluates Prometheus rule files.
//
// [Engine.Run] gathers the metrics every few seconds and appends them to a
// [Ring]: a chunk of compressed samples a series, at most 64 MiB in all. Queries
// run in Prometheus's own engine over the ring, bounded in time, samples and
// number. The groups of the rule files are evaluated at their intervals as
// Prometheus does it; what a rule finds is asked for by [Engine.Alerts] and told
// by [Engine.Follow]. Samples are in memory only: after a restart the hour
// begins anew, and answers say how much of what they look back to is missing.
package rules
