package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"text/tabwriter"
)

// failover measures what a refused request costs: one report that holds the
// account, moves its pool on and hands out the next token, against a plain
// token. Both accounts are freed before each report, which is not measured.
func (b *bench) failover(rounds int) error {
	for _, label := range []string{"first", "second"} {
		if err := b.addAccount(label, 3600); err != nil {
			return err
		}
		if _, err := b.authferry("", "move", label, "--pool", "failover"); err != nil {
			return err
		}
	}
	var runs [2][]run
	labels := [2]string{"first", "second"}
	for i := range rounds + 5 {
		from, to := labels[i%2], labels[(i+1)%2]
		for _, l := range labels {
			if _, err := b.authferry("", "holds", "clear", l); err != nil {
				return err
			}
		}
		if _, err := b.authferry("", "use", from); err != nil {
			return err
		}
		doc, err := b.authferry("", "token", "--pool", "failover", "--json")
		if err != nil {
			return err
		}
		var token struct {
			Lease string `json:"lease"`
		}
		if err := json.Unmarshal(doc, &token); err != nil {
			return err
		}
		plain, err := once(exec.CommandContext(ctx, b.path("authferry"), "token", "--account", to, "--json")) // #nosec G204
		if err != nil {
			return err
		}
		var out strings.Builder
		report := exec.CommandContext(ctx, b.path("authferry"), "report", "--next") // #nosec G204
		report.Stdin = strings.NewReader(fmt.Sprintf(`{"lease":%q,"status":429,"headers":{"retry-after":"3600"},"body":"limited"}`, token.Lease))
		report.Stdout = &out
		reported, err := once(report)
		if err != nil {
			return err
		}
		if !strings.Contains(out.String(), `"action":"switch"`) || !strings.Contains(out.String(), `"access_token"`) {
			return fmt.Errorf("report --next did not switch")
		}
		if i >= 5 {
			runs[0], runs[1] = append(runs[0], plain), append(runs[1], reported)
		}
	}
	fmt.Printf("\nFailover, %d alternating runs, real gnome-keyring\n\n", rounds)
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "command\tmedian ms\tp95 ms\tCPU ms\tof a token\t")
	base := quantile(runs[0], 0.5)
	for i, name := range []string{"token --json", "report --next"} {
		median := quantile(runs[i], 0.5)
		fmt.Fprintf(w, "%s\t%.1f\t%.1f\t%.1f\t%.2f ×\t\n", name, ms(median), ms(quantile(runs[i], 0.95)), ms(medianCPU(runs[i])), float64(median)/float64(base))
	}
	return w.Flush()
}
