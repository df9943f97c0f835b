package harness

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// Tools is a folder of programs that `make consumers` fetches.
func Tools(t testing.TB, name string) string {
	t.Helper()
	dir, err := tools(name, "consumers")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// tools is a folder of what a make target put into .tools.
func tools(name, target string) (string, error) {
	root, err := Root()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(root, ".tools", name)
	if _, err := os.Stat(dir); err != nil {
		return "", fmt.Errorf("there is no %s: `make %s` fetches it", dir, target)
	}
	return dir, nil
}

// Root is the folder of the module.
func Root() (string, error) {
	at, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find the module: %w", err)
	}
	for ; at != filepath.Dir(at); at = filepath.Dir(at) {
		if _, err := os.Stat(filepath.Join(at, "go.mod")); err == nil {
			return at, nil
		}
	}
	return "", fmt.Errorf("find the module: no folder above has a go.mod")
}

// NotRun skips a test that lacks something of the machine, with what to install;
// where CI is set nothing is skipped.
func NotRun(t testing.TB, lacks string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatal(lacks)
	}
	t.Skip("NOT RUN: " + lacks)
}
