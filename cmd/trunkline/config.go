package main

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/spf13/cobra"

	"trunkline/app"
)

// defaultConfig is where `trunkline dev` writes its configuration.
var defaultConfig = filepath.Join(".trunkline", "trunkline.yaml")

func configFlag(c *cobra.Command, config *string) {
	c.Flags().StringVar(config, "config", defaultConfig, "configuration file")
}

// loadConfig reads the configuration of a command.
func loadConfig(path string) (app.Config, error) {
	cfg, err := app.LoadConfig(path)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w; name the file with --config, or is `trunkline dev` running elsewhere?", err)
	}
	if err != nil {
		return app.Config{}, usageError{err}
	}
	return cfg, nil
}
