package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"trunkline/app"
	"trunkline/stream"
)

func topicsCommand() *cobra.Command {
	return group(&cobra.Command{
		Use:     "topics",
		Short:   "Compare the topics with what the configuration says, and mend them",
		Example: "  trunkline topics diff\n  trunkline topics apply --execute",
	}, topicsDiffCommand(), topicsApplyCommand())
}

// topicsReport is what the commands print with --json.
type topicsReport struct {
	Drifts   []stream.Drift `json:"drifts"`
	Executed bool           `json:"executed,omitempty"` // apply only
}

func topicsDiffCommand() *cobra.Command {
	var config string
	var asJSON bool
	c := &cobra.Command{
		Use: "diff", Short: "Show where topics are not as the configuration says",
		Long: "Show every topic whose retention, replicas in sync, cleanup policy, timestamp type, largest record,\n" +
			"partitions or replicas are not as the configuration says, or that is missing. Exit code 1 if one is.",
		Example: "  trunkline topics diff --json", Args: exactly(0),
		RunE: func(c *cobra.Command, _ []string) error {
			_, drifts, err := topicDrifts(c, config)
			if err != nil {
				return err
			}
			if asJSON {
				err = json.NewEncoder(c.OutOrStdout()).Encode(topicsReport{Drifts: drifts})
			} else {
				writeDrifts(c.OutOrStdout(), drifts)
			}
			if err == nil && len(drifts) > 0 {
				err = errQuiet
			}
			return err
		},
	}
	topicsFlags(c, &config, &asJSON)
	return c
}

func topicsFlags(c *cobra.Command, config *string, asJSON *bool) {
	configFlag(c, config)
	c.Flags().BoolVar(asJSON, "json", false, "print one JSON object")
}

func topicDrifts(c *cobra.Command, config string) (app.Config, []stream.Drift, error) {
	cfg, err := loadConfig(config)
	if err != nil {
		return cfg, nil, err
	}
	drifts, err := app.TopicDrifts(c.Context(), cfg)
	if err != nil {
		return cfg, nil, environmentError{err}
	}
	return cfg, slices.Concat([]stream.Drift{}, drifts), nil // [] in JSON, never null
}

func writeDrifts(out io.Writer, drifts []stream.Drift) {
	for _, d := range drifts {
		remark := ""
		switch d.Mend {
		case stream.MendLower:
			remark = " (safer than wanted; `topics apply --lower` lowers it)"
		case stream.MendOperator:
			remark = " (never changed by Trunkline)"
		}
		fmt.Fprintf(out, "%s: %s is %s, want %s%s\n", d.Topic, d.Setting, d.Have, d.Want, remark)
		for _, command := range d.Commands {
			fmt.Fprintf(out, "    %s\n", command)
		}
	}
	if len(drifts) == 0 {
		fmt.Fprintln(out, "all topics are as the configuration says")
	}
}

func topicsApplyCommand() *cobra.Command {
	var config string
	var asJSON, lower, execute bool
	c := &cobra.Command{
		Use: "apply", Short: "Create and configure topics as the configuration says",
		Long: "Create the topics that are missing and set what is less safe than the configuration says; with --lower\n" +
			"also what is safer, such as a longer retention. Partitions and replicas are never changed: what an\n" +
			"operator may do is printed, and the exit code is 1. Without --execute it only says what it would do.",
		Example: "  trunkline topics apply\n  trunkline topics apply --execute", Args: exactly(0),
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, drifts, err := topicDrifts(c, config)
			if err != nil {
				return err
			}
			var mend, left []stream.Drift
			for _, d := range drifts {
				switch {
				case d.Mend == stream.MendOperator:
					left = append(left, d)
				case d.Mend != stream.MendLower || lower:
					mend = append(mend, d)
				}
			}
			if execute {
				if err := app.MendTopics(c.Context(), cfg, mend); err != nil {
					return environmentError{err}
				}
			}
			if asJSON {
				err = json.NewEncoder(c.OutOrStdout()).Encode(topicsReport{Drifts: slices.Concat([]stream.Drift{}, mend, left), Executed: execute})
			} else {
				writeMended(c.OutOrStdout(), mend, execute)
				if len(left) > 0 {
					writeDrifts(c.OutOrStdout(), left)
				}
			}
			if err == nil && len(left) > 0 {
				err = errQuiet
			}
			return err
		},
	}
	topicsFlags(c, &config, &asJSON)
	c.Flags().BoolVar(&lower, "lower", false, "lower what is safer than wanted, too: a shorter retention deletes records at once")
	c.Flags().BoolVar(&execute, "execute", false, "do it")
	return c
}

func writeMended(out io.Writer, mend []stream.Drift, execute bool) {
	would := "would "
	if execute {
		would = ""
	}
	for _, d := range mend {
		if d.Mend == stream.MendCreate {
			fmt.Fprintf(out, "%screate topic %s\n", would, d.Topic)
		} else {
			fmt.Fprintf(out, "%sset %s of topic %s from %s to %s\n", would, d.Setting, d.Topic, d.Have, d.Want)
		}
	}
	switch {
	case len(mend) == 0:
		fmt.Fprintln(out, "there is nothing to do")
	case !execute:
		fmt.Fprintln(out, "nothing was changed; --execute does it")
	}
}
