package app

import (
	"trunkline/processors"
	"trunkline/topology"
)

// Describe draws the graphs and topics that c makes.
func Describe(c Config) (string, error) {
	c = c.withDefaults()
	stages, err := StageConfig(c, nil)
	if err != nil {
		return "", err
	}
	return topology.Describe(processors.Graphs(stages), c.Layout()), nil
}
