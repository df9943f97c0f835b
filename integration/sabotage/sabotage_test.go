package sabotage

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

var (
	count = flag.Int("n", 0, "how many defects to try, chosen by the seed; make sabotage tries all")
	seed  = flag.Int64("seed", 0, "which defects come first")
)

const root = "../.."

// Every defect is noticed by the test that is there for it.
func TestDefectsAreCaught(t *testing.T) {
	if *count == 0 {
		t.Skip("builds the program with defects: make sabotage")
	}
	random := rand.New(rand.NewPCG(uint64(*seed), 's')) //nolint:gosec // a test's randomness is seeded
	for _, i := range random.Perm(len(defects))[:min(*count, len(defects))] {
		d := defects[i]
		t.Run(d.name, func(t *testing.T) {
			overlay, err := d.overlay(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			// The flag reaches the builds that the test itself starts, too.
			cmd := exec.CommandContext(t.Context(), "go", "test", "-count=1", "-timeout", "10m", "-run", "^("+d.test+")$", d.pkg) //nolint:gosec // our own table
			cmd.Dir = root
			cmd.Env = append(os.Environ(), "GOFLAGS=-overlay="+overlay)
			out, err := cmd.CombinedOutput()
			switch {
			case err == nil:
				t.Errorf("%s passes %s", d.test, d.pkg)
			case !bytes.Contains(out, []byte("--- FAIL")):
				t.Errorf("no test failed, but:\n%s", out)
			default:
				t.Logf("caught by %s", d.test)
			}
		})
	}
}

// Every defect still finds the code that it breaks.
func TestDefectsApply(t *testing.T) {
	names := map[string]bool{}
	for _, d := range defects {
		if _, err := d.overlay(t.TempDir()); err != nil {
			t.Error(err)
		}
		if names[d.name] {
			t.Errorf("two defects are called %q", d.name)
		}
		names[d.name] = true
	}
}

// overlay writes the broken files into dir, and a file that makes the go command
// read them in place of the others; it returns that file's path.
func (d defect) overlay(dir string) (string, error) {
	replace := map[string]string{}
	for _, e := range d.edits {
		at, err := filepath.Abs(filepath.Join(root, e.file))
		if err != nil {
			return "", err
		}
		from := at
		if replace[at] != "" {
			from = replace[at]
		}
		b, err := os.ReadFile(from) //nolint:gosec // our own source
		if err != nil {
			return "", err
		}
		if n := strings.Count(string(b), e.old); n != 1 {
			return "", fmt.Errorf("%s: the text to replace stands %d times in %s, want once; the code moved on, mend the table:\n%s", d.name, n, e.file, e.old)
		}
		replace[at] = filepath.Join(dir, strings.ReplaceAll(e.file, "/", "_"))
		if err := os.WriteFile(replace[at], []byte(strings.Replace(string(b), e.old, e.new, 1)), 0o600); err != nil {
			return "", err
		}
	}
	b, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	overlay := filepath.Join(dir, "overlay.json")
	return overlay, os.WriteFile(overlay, b, 0o600)
}
