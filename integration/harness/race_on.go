//go:build race

package harness

// buildFlags make the program what the tests are: under the race detector, which
// tells of a race on standard error.
var buildFlags = []string{"-race"}
