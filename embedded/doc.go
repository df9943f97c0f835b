// Package embedded holds what `trunkline dev` and the tests run in place of
// the outside world: a Kafka broker, a schema registry and the vendors, all in
// this process.
//
// A vendor is played in two ways. A [Cloud] is the whole of it, with everything
// that can be asked of it and everything that can go wrong with it (cloud*.go). A
// [Simulator] only posts, and never gives up: the ledger's tests know by it what
// an edge accepted.
//
// The broker is one kfake broker (github.com/twmb/franz-go/pkg/kfake) with
// replication 1. What kfake lacks of a real broker, and Trunkline relies on, is
// added here from outside:
//
//   - log append time (broker_append_time.go): kfake stores the time that the
//     client wrote;
//   - transactions that survive SIGKILL whole (broker_commits.go,
//     broker_repair.go): kfake writes the markers of a transaction one after the
//     other with nothing to finish them by, forgets the abort of what was open,
//     and lets a producer of before the kill go on.
//
// Left out on purpose: retention and compaction (kfake rewrites a log in place,
// and a kill in between loses it), replication, and fsync: SIGKILL loses
// nothing, a power failure may.
package embedded
