package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"trunkline/app"
)

func topologyCommand() *cobra.Command {
	var config string
	c := &cobra.Command{
		Use: "topology", Short: "Draw the graphs and topics as they really are",
		Example: "  trunkline topology --config .trunkline/trunkline.yaml", Args: exactly(0),
		RunE: func(c *cobra.Command, _ []string) error {
			cfg := app.DevConfig(nil, "", 1)
			if config != "" {
				var err error
				if cfg, err = loadConfig(config); err != nil {
					return err
				}
			}
			text, err := app.Describe(cfg)
			if err != nil {
				return err
			}
			_, err = fmt.Fprint(c.OutOrStdout(), text)
			return err
		},
	}
	c.Flags().StringVar(&config, "config", "", "configuration file; default the one built into trunkline dev")
	return c
}
