// Command corpus keeps what a fuzz target has found:
//
//	corpus PACKAGE TARGET CACHE
//
// Of the inputs in the folder CACHE it copies the fewest that reach code of this
// module which no seed and no kept input reaches, to the package's testdata/fuzz,
// where each `go test` runs them. scripts/fuzz -keep calls it.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// maxInput is what is worth keeping of an input: reviewers read these.
const maxInput = 2000

func main() {
	if len(os.Args) != 4 {
		fmt.Fprintln(os.Stderr, "usage: corpus PACKAGE TARGET CACHE")
		os.Exit(80)
	}
	kept, err := keep(context.Background(), os.Args[1], os.Args[2], os.Args[3])
	if err != nil {
		fmt.Fprintln(os.Stderr, "corpus:", err)
		os.Exit(1)
	}
	if kept > 0 {
		fmt.Printf("%s: %d inputs kept\n", os.Args[2], kept)
	}
}

// reach is a set of blocks of code, as a coverage profile names them.
type reach map[string]bool

func (r reach) beyond(known reach) (n int) {
	for block := range r {
		if !known[block] {
			n++
		}
	}
	return n
}

func keep(ctx context.Context, pkg, target, cache string) (kept int, err error) {
	inputs, err := os.ReadDir(cache)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	out, err := exec.CommandContext(ctx, "go", "list", "-f", "{{.Dir}}\n{{.Module.Path}}", pkg).Output()
	if err != nil {
		return 0, err
	}
	dir, module, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	temp, err := os.MkdirTemp("", "corpus")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(temp)
	p := program{path: filepath.Join(temp, "test"), profile: filepath.Join(temp, "profile"), dir: dir}
	if out, err := exec.CommandContext(ctx, "go", "test", "-c", "-vet=off", "-cover", "-coverpkg="+module+"/...", "-o", p.path, pkg).CombinedOutput(); err != nil {
		return 0, fmt.Errorf("%w\n%s", err, out)
	}
	known, err := p.reach(ctx, "^"+target+"$")
	if err != nil {
		return 0, err
	}

	folder := filepath.Join(dir, "testdata", "fuzz", target)
	if err := os.MkdirAll(folder, 0o750); err != nil {
		return 0, err
	}
	defer os.Remove(folder) // where nothing was worth keeping
	found := map[string]reach{}
	content := map[string][]byte{}
	for _, input := range inputs {
		name := input.Name()
		path := filepath.Join(folder, name)
		data, err := os.ReadFile(filepath.Join(cache, name))
		if err != nil {
			return 0, err
		}
		if _, err := os.Stat(path); err == nil || len(data) > maxInput {
			continue
		}
		// Only what stands there is run by its name.
		if err := os.WriteFile(path, data, 0o600); err != nil {
			return 0, err
		}
		r, err := p.reach(ctx, "^"+target+"$/^"+name+"$")
		if err := errors.Join(err, os.Remove(path)); err != nil {
			return 0, err
		}
		if r.beyond(known) > 0 {
			found[name], content[name] = r, data
		}
	}
	for {
		best, gain := "", 0
		for name, r := range found {
			if n := r.beyond(known); n > gain || n == gain && n > 0 && len(content[name]) < len(content[best]) {
				best, gain = name, n
			}
		}
		if gain == 0 {
			return kept, nil
		}
		if err := os.WriteFile(filepath.Join(folder, best), content[best], 0o600); err != nil {
			return kept, err
		}
		for block := range found[best] {
			known[block] = true
		}
		delete(found, best)
		kept++
	}
}

// program is a test binary that says what it reaches.
type program struct{ path, profile, dir string }

func (p program) reach(ctx context.Context, pattern string) (reach, error) {
	cmd := exec.CommandContext(ctx, p.path, "-test.run", pattern, "-test.coverprofile", p.profile)
	cmd.Dir = p.dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", pattern, err, out)
	}
	f, err := os.Open(p.profile)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r := reach{}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		// file:from,to statements count
		if block, ok := strings.CutSuffix(lines.Text(), " 0"); !ok && !strings.HasPrefix(block, "mode:") {
			fields := strings.Fields(block)
			r[fields[0]] = true
		}
	}
	return r, nil
}
