package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"trunkline/app"
)

func runCommand() *cobra.Command {
	var config string
	var verbose bool
	var o app.Options
	c := &cobra.Command{
		Use:   "run",
		Short: "Run one process of a deployment in its role",
		Example: "  trunkline run --config .trunkline/trunkline.yaml --role process --instance p1 \\\n" +
			"    --data-dir /tmp/p1 --metrics 127.0.0.1:0",
		Args: exactly(0),
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := loadConfig(config)
			if err != nil {
				return err
			}
			o.Logger = logger(c.ErrOrStderr(), verbose)
			a, release, err := open(cfg, o, "trunkline run --instance "+o.Instance)
			if err != nil {
				return err
			}
			defer release() //nolint:errcheck // the process ends
			for _, flag := range []string{"edge", "admin", "view", "metrics"} {
				if addr := a.Addr(flag); addr != "" {
					fmt.Fprintf(c.OutOrStdout(), "%s http://%s\n", flag, addr)
				}
			}
			return a.Run(c.Context())
		},
	}
	f := c.Flags()
	configFlag(c, &config)
	f.StringVar((*string)(&o.Role), "role", string(app.RoleAll), fmt.Sprintf("what this process does: one of %v", app.Roles))
	f.StringVar(&o.Instance, "instance", "", "name of this process, its own in the deployment and the same after a restart (required)")
	f.StringVar(&o.DataDir, "data-dir", "", "folder of this process's state (required)")
	f.BoolVar(&o.Leave, "leave", false, "on SIGTERM hand the partitions on at once: this instance does not come back")
	addressFlags(c, &o)
	f.BoolVar(&verbose, "verbose", false, "log everything")
	return c
}

func addressFlags(c *cobra.Command, o *app.Options) {
	f := c.Flags()
	f.StringVar(&o.EdgeAddr, "edge", "127.0.0.1:8080", "address of the edge; port 0 takes a free one")
	f.StringVar(&o.AdminAddr, "admin", "127.0.0.1:8082", "address of the edge's admin API, if edge.admin_token is configured; port 0 takes a free one")
	f.StringVar(&o.ViewAddr, "view", "127.0.0.1:8081", "address of the view API; port 0 takes a free one")
	f.StringVar(&o.MetricsAddr, "metrics", "127.0.0.1:9464", "address of metrics and health; port 0 takes a free one")
}

// open checks the options, takes the data dir and the ports.
func open(cfg app.Config, o app.Options, holder string) (*app.App, func() error, error) {
	if err := o.Validate(); err != nil {
		return nil, nil, usageError{err}
	}
	release, err := app.LockDataDir(o.DataDir, holder)
	if err != nil {
		return nil, nil, err
	}
	a, err := app.New(cfg, o)
	if err != nil {
		return nil, nil, err
	}
	return a, release, nil
}
