// Command bench measures authferry against its peers, in one run on one
// machine, on a bus, a gnome-keyring and a HOME of its own; nothing of yours is
// touched. scripts/bench runs all of it and puts the figures into
// docs/performance.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// ctx ends nothing: whoever measures waits for the end or presses Ctrl-C.
var ctx = context.Background()

// parts are what can be measured, in this order: what fills the keyring or the
// index is last.
var parts = []struct {
	name, title string
	run         func(*bench) (result, error)
}{
	{"hit", "A stored token", (*bench).hit},
	{"commands", "Status and list", (*bench).commands},
	{"file", "The file keystore", (*bench).file},
	{"next", "A refused request", (*bench).next},
	{"slow", "During somebody else's slow refresh", (*bench).slow},
	{"parallel", "Many at once", (*bench).parallel},
	{"expiry", "Many at the moment of expiry", (*bench).expiry},
	{"failing", "A token endpoint that fails", (*bench).failing},
	{"accounts", "Many accounts", (*bench).accounts},
	{"keyring", "A full keyring", (*bench).keyring},
}

func main() {
	only := flag.String("only", "", "measure only these parts, with commas between: "+partNames())
	quick := flag.Bool("quick", false, "few runs, for a first look; written nowhere")
	write := flag.Bool("write", false, "put the figures and plots of what was measured into docs")
	flag.Parse()
	if err := measure(*only, *quick, *write && !*quick); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func partNames() string {
	var names []string
	for _, p := range parts {
		names = append(names, p.name)
	}
	return strings.Join(names, ",")
}

func measure(only string, quick, write bool) error {
	wanted := strings.Split(only, ",")
	for _, name := range wanted {
		if only != "" && !slices.Contains(strings.Split(partNames(), ","), name) {
			return fmt.Errorf("there is no part %q; there are: %s", name, partNames())
		}
	}
	if os.Getenv(private) == "" {
		return privately() // runs this program again
	}
	b, err := prepare(quick)
	if b != nil {
		defer b.close()
	}
	if err != nil {
		return err
	}
	fmt.Println(machine())
	var all []result
	for _, p := range parts {
		if only != "" && !slices.Contains(wanted, p.name) {
			continue
		}
		begun := time.Now()
		r, partErr := p.run(b)
		fmt.Fprintf(os.Stderr, "bench: %s took %v\n", p.name, time.Since(begun).Round(time.Second))
		if partErr != nil {
			err = errors.Join(err, fmt.Errorf("%s: %w", p.name, partErr))
			continue
		}
		r.name, r.title = p.name, p.title
		r.print(os.Stdout)
		all = append(all, r)
	}
	printGoals(os.Stdout, all)
	if write {
		err = errors.Join(err, document("docs", all, only == ""))
	}
	return err
}
