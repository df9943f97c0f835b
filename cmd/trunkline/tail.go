package main

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"trunkline/app"
)

func tailCommand() *cobra.Command {
	var config, from string
	var o app.TailOptions
	c := &cobra.Command{
		Use:   "tail {" + strings.Join(app.TailWhats, "|") + "|TOPIC}",
		Short: "Print records as decoded JSON, one a line",
		Long: "Print committed records as decoded JSON, one a line: topic, partition, offset, time, key, value\n" +
			"(null is a tombstone) and headers. Without --follow it ends at the present end.",
		Example:   "  trunkline tail changes --follow\n  trunkline tail dead --from 10m\n  trunkline tail raw.genesys --key u-1",
		Args:      exactly(1),
		ValidArgs: app.TailWhats,
		RunE: func(c *cobra.Command, args []string) error {
			cfg, err := loadConfig(config)
			if err != nil {
				return err
			}
			o.What = args[0]
			if o.Latest, o.Since, err = parseFrom(from, time.Now()); err != nil {
				return usageError{err}
			}
			out := json.NewEncoder(c.OutOrStdout())
			out.SetEscapeHTML(false)
			return app.Tail(c.Context(), cfg, o, func(line app.TailLine) error { return out.Encode(line) })
		},
	}
	f := c.Flags()
	configFlag(c, &config)
	f.StringVar(&o.Key, "key", "", "only records whose key contains this")
	f.StringVar(&from, "from", "earliest", "earliest, latest, an RFC 3339 time, or how long ago (10m)")
	f.BoolVar(&o.Follow, "follow", false, "go on with new records")
	return c
}

func parseFrom(s string, now time.Time) (latest bool, since time.Time, err error) {
	switch s {
	case "earliest":
		return false, time.Time{}, nil
	case "latest":
		return true, time.Time{}, nil
	}
	since, err = parseTime("from", s, now)
	return false, since, err
}
