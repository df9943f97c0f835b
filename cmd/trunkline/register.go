package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"trunkline/app"
	"trunkline/ingest/registration"
	"trunkline/topology"
)

func registerCommand() *cobra.Command {
	var config string
	var execute, asJSON bool
	var o app.RegisterOptions
	c := &cobra.Command{
		Use:   "register {" + strings.Join(topology.Vendors, "|") + "}",
		Short: "Order a vendor's deliveries: create or update the subscription or webhook",
		Long: "Compare the subscription (Genesys) or webhook (CXone) of each tenant with the configuration: lines\n" +
			"with + are to come, with - to go. Nothing is changed without --execute, nor what is in order.\n" +
			"Exit codes: 1 the vendor refused, 2 configuration, 3 the vendor cannot be reached.",
		Example:   "  trunkline register genesys\n  trunkline register cxone --tenant acme --execute\n  trunkline register cxone --execute --send-token   # after a rotation",
		Args:      exactly(1),
		ValidArgs: topology.Vendors,
		RunE: func(c *cobra.Command, args []string) error {
			cfg, err := loadConfig(config)
			if err != nil {
				return err
			}
			if o.Vendor = args[0]; !slices.Contains(topology.Vendors, o.Vendor) {
				return usageError{fmt.Errorf("vendor %q is unknown; use one of %v", o.Vendor, topology.Vendors)}
			}
			if o.SendToken && o.Vendor != topology.CXone {
				return usageError{fmt.Errorf("--send-token is for %s: no other registration holds a token", topology.CXone)}
			}
			all, err := app.Registrars(cfg, o)
			if err != nil {
				return usageError{err}
			}
			var errs []error
			for _, r := range all {
				errs = append(errs, register(c.Context(), c.OutOrStdout(), r, execute, asJSON))
			}
			return errors.Join(errs...)
		},
	}
	f := c.Flags()
	configFlag(c, &config)
	f.StringVar(&o.Tenant, "tenant", "", "only this tenant; default all with the vendor")
	f.BoolVar(&execute, "execute", false, "do it")
	f.BoolVar(&o.SendToken, "send-token", false, "CXone: send the present token also if the vendor does not show which one it has")
	f.BoolVar(&asJSON, "json", false, "print one JSON object a tenant")
	return c
}

// register plans or makes one registration and tells of it.
func register(ctx context.Context, w io.Writer, r app.Registrar, execute, asJSON bool) error {
	do := r.Plan
	if execute {
		do = r.Execute
	}
	p, err := do(ctx)
	if err != nil {
		return err
	}
	report := registerReport{Vendor: r.Vendor, Tenant: r.Tenant, Executed: execute, Plan: p}
	if asJSON {
		out := json.NewEncoder(w)
		out.SetEscapeHTML(false)
		return out.Encode(report)
	}
	report.writeText(w)
	return nil
}

// registerReport is what --json prints.
type registerReport struct {
	Vendor   string `json:"vendor"`
	Tenant   string `json:"tenant"`
	Executed bool   `json:"executed"` // false: a dry run
	registration.Plan
}

func (r registerReport) writeText(w io.Writer) {
	fmt.Fprintf(w, "%s, tenant %s: ", r.Vendor, r.Tenant)
	if r.ID == "" {
		fmt.Fprintf(w, "no registration %q\n", r.Name)
	} else {
		fmt.Fprintf(w, "registration %q (%s)\n", r.Name, r.ID)
	}
	marks := map[registration.Mark]string{registration.Keep: " ", registration.Remove: "-", registration.Add: "+"}
	for _, l := range r.Lines {
		fmt.Fprintf(w, "  %s %-22s %s\n", marks[l.Mark], l.Field, l.Value)
	}
	if r.Conflict && !r.Executed {
		fmt.Fprintln(w, "conflict: the registration of this name delivers to another URL; if it is another deployment's, use another registration.name")
	}
	for _, note := range r.Notes {
		fmt.Fprintln(w, "note:", note)
	}
	switch {
	case r.Action == registration.None:
		fmt.Fprintln(w, "in order: nothing to do")
	case r.Executed:
		fmt.Fprintf(w, "done: %sd\n", r.Action)
	default:
		fmt.Fprintf(w, "dry run: --execute would %s it\n", r.Action)
	}
}
