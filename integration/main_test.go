package integration

import (
	"os"
	"testing"

	"trunkline/integration/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }
