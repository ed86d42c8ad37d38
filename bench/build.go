package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// build puts the programs that are run into dir, built as the released ones are.
func build(dir string) error {
	idle := filepath.Join(dir, "idle.go")
	if err := importsOf("./cmd/authferry", idle); err != nil {
		return err
	}
	for _, p := range []struct {
		out, in string
		args    []string
	}{
		{"authferry", "..", []string{"./cmd/authferry"}},
		{"authferry-share", "..", []string{"./cmd/authferry-share"}},
		{"authferry-stripped", "..", []string{"-ldflags=-s -w", "./cmd/authferry"}},
		{"idle", "..", []string{idle}},
		{"bare", ".", []string{"./bare"}},
		{"hello", ".", []string{"./hello"}},
		{"peak", ".", []string{"./peak"}},
		{"reverse", ".", []string{"./reverse"}},
		{"pump", ".", []string{"./pump"}},
	} {
		if err := compile(p.in, filepath.Join(dir, p.out), p.args...); err != nil {
			return err
		}
	}
	return nil
}

// compile has the kernel forget what was written: a file just written is kept in
// memory in larger pieces than one read from a disk, as a user's is, and each start of
// it takes a fifth fewer page faults.
func compile(in, out string, args ...string) error {
	cmd := exec.CommandContext(ctx, "go", append([]string{"build", "-C", in, "-trimpath", "-o", out}, args...)...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build %s: %w\n%s", strings.Join(args, " "), err, said)
	}
	return exec.CommandContext(ctx, "dd", "of="+out, "oflag=nocache", "conv=notrunc,fdatasync", "count=0", "status=none").Run()
}

// importsOf writes a program that imports what another does, and ends at once.
func importsOf(pkg, file string) error {
	list, err := exec.CommandContext(ctx, "go", "list", "-C", "..", "-f", `{{join .Imports "\n"}}`, pkg).Output()
	var source bytes.Buffer
	source.WriteString("package main\n\nimport (\n")
	for path := range strings.FieldsSeq(string(list)) {
		fmt.Fprintf(&source, "\t_ %q\n", path)
	}
	source.WriteString(")\n\nfunc main() {}\n")
	return errors.Join(err, os.WriteFile(file, source.Bytes(), 0o600))
}
