package integration

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"trunkline/app"
	"trunkline/integration/harness"
)

// blocks of the README: <!-- run: NAME --> ```sh … ``` and, when it has one,
// <!-- answer: TEXT -->.
var readmeBlock = regexp.MustCompile("(?s)<!-- run: (\\w+) -->\n```sh\n(.*?)```\n(?:<!-- answer: (.*?) -->)?")

// What the README tells a newcomer to type works and answers what it says.
func TestReadmeCommands(t *testing.T) {
	readme := readReadme(t)
	d := harness.StartDev(t, t.TempDir())
	replace := strings.NewReplacer(
		"http://127.0.0.1:8080", d.Addrs.Edge,
		"http://127.0.0.1:8081", d.Addrs.View,
		"bin/trunkline tail", harness.Binary(t)+" tail --config "+d.Addrs.Config,
		"bin/trunkline", harness.Binary(t),
		".trunkline/trunkline.yaml", d.Addrs.Config,
		"/tmp/trunkline-selftest", t.TempDir(),
		"/tmp/p1", t.TempDir(),
		"--events 20000", "--events 2000", // the full size is a stage of its own
	)
	blocks := readmeBlock.FindAllStringSubmatch(readme, -1)
	if len(blocks) < 5 {
		t.Fatalf("the README has %d commands to run, want 5 at least", len(blocks))
	}
	for _, b := range blocks {
		name, script, answer := b[1], replace.Replace(b[2]), b[3]
		t.Run(name, func(t *testing.T) {
			if answer == "" {
				untilItRuns(t, script)
				return
			}
			var said string
			harness.Until(t, "the answer is "+answer, func() bool {
				out, err := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", script).CombinedOutput() //nolint:gosec // our own README
				said = string(out)
				return err == nil && strings.Contains(said, answer)
			})
		})
	}
}

// untilItRuns starts a command that serves, waits for its first line and stops
// it.
func untilItRuns(t *testing.T, script string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, "bash", "-c", "exec "+strings.TrimSpace(script)) //nolint:gosec // our own README
	c.Cancel = func() error { return c.Process.Signal(os.Interrupt) }
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	line := make([]byte, 256)
	n, err := out.Read(line)
	if err != nil || !strings.Contains(string(line[:n]), "http://") {
		t.Errorf("got %q, %v, want an address", line[:n], err)
	}
	cancel()
	_ = c.Wait() // it was interrupted
}

// The picture in the README is drawn from the real graphs.
func TestReadmePicture(t *testing.T) {
	drawing, err := app.Describe(app.DevConfig(nil, "", 1))
	if err != nil {
		t.Fatal(err)
	}
	graphs, _, _ := strings.Cut(drawing, "\ntopic ")
	want := "<!-- topology: generated, see make golden -->\n```\n" + strings.TrimSpace(graphs) + "\n```\n<!-- /topology -->"
	readme := readReadme(t)
	section := regexp.MustCompile(`(?s)<!-- topology.*?/topology -->`)
	if got := section.FindString(readme); got == want {
		return
	}
	if !*update {
		t.Fatal("the picture is not what `trunkline topology` draws; run `make golden` and look at the difference")
	}
	if err := os.WriteFile(readmePath, []byte(section.ReplaceAllLiteralString(readme, want)), 0o644); err != nil { //nolint:gosec // a public text
		t.Fatal(err)
	}
}

var readmePath = filepath.Join("..", "README.md")

func readReadme(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(readmePath)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
