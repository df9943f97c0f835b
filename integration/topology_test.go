package integration

import (
	"flag"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"trunkline/app"
	"trunkline/processors"
	"trunkline/topology"
)

var update = flag.Bool("update", false, "write testdata/topology.txt")

// The drawing of what really runs; it changes only on purpose.
func TestTopology(t *testing.T) {
	config := app.DevConfig(nil, "", 1)
	got, err := app.Describe(config)
	if err != nil {
		t.Fatal(err)
	}
	const golden = "testdata/topology.txt"
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("topology (-want +got), `make golden` takes the new one:\n%s", diff)
	}

	for _, seed := range []bool{false, true} {
		config.Projection.Seed = seed
		stages, err := app.StageConfig(config, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := topology.Check(processors.Graphs(stages), config.Layout()); err != nil {
			t.Errorf("projection.seed %t: %v", seed, err)
		}
	}
}
