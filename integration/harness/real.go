package harness

import "os"

// Real reports whether the tests run on real brokers: TRUNKLINE_TEST_KAFKA=real,
// as `make test-real` sets it.
func Real() bool { return os.Getenv("TRUNKLINE_TEST_KAFKA") == "real" }
