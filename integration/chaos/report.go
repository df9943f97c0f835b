package chaos

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"
)

// WriteText writes r as a table: what went through, what was found, and how long
// each kind of fault held up its victim's partitions and the others.
func (r *Report) WriteText(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "seed %d on %s brokers: %d deliveries accepted in %.0f s, %d raw records; %d ms from the last delivery to the last fate\n",
		r.Config.Seed, r.Brokers, r.Accepted, r.Seconds, r.RawRecords, r.HealMs)
	fmt.Fprintf(t, "requests: %d ok, %d failed, %d unknown\n", r.HTTP.OK, r.HTTP.Failed, r.HTTP.Unknown)
	for _, kind := range slices.Sorted(maps.Keys(r.Fates)) {
		fmt.Fprintf(t, "%s\t%d\n", kind, r.Fates[kind])
	}
	findings := r.Findings.all()
	for _, name := range slices.Sorted(maps.Keys(findings)) {
		fmt.Fprintf(t, "%s\t%d\n", name, findings[name].Count)
		for _, example := range findings[name].Examples {
			fmt.Fprintf(t, "  %s\n", example)
		}
	}
	fmt.Fprintf(t, "wait for a fate, ms: p50 %d, p99 %d, max %d\n", r.Waits.P50, r.Waits.P99, r.Waits.Max)
	fmt.Fprintln(t, "longest wait for a fate, ms\tfaults\tvictim p50\tp99\tothers p50\tp99")
	for _, kind := range slices.Sorted(maps.Keys(r.StallsOf)) {
		p := r.StallsOf[kind]
		fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%d\t%d\n", kind, p.Count, p.VictimP50, p.VictimP99, p.OthersP50, p.OthersP99)
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}
