package testenv

import (
	"context"
	"fmt"
	"os"
	"os/exec"
)

// copyTo names, in the environment of this test binary, where it puts the program that
// it is given.
const copyTo = "AUTHFERRY_TEST_COPY_TO"

// Build makes one of this repository's programs as it is released, but for Go's flags, and
// puts it at path, for a package whose tests are [Alone]. What go run links it keeps, so that
// the tests of one package find it made by those of another.
func Build(program, path string, flags ...string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	args := append([]string{"run", "-trimpath", "-buildvcs=false", "-exec", `"` + self + `"`}, flags...)
	cmd := exec.CommandContext(context.Background(), "go", append(args, "github.com/authferry/authferry/cmd/"+program)...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", copyTo+"="+path)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go run: %w\n%s", err, out)
	}
	return nil
}

// copyProgram ends this process if [Build] started it. A copy that another process makes
// can be run at once: no child of this one has it open for writing.
func copyProgram() {
	to := os.Getenv(copyTo)
	if to == "" {
		return
	}
	program, err := os.ReadFile(os.Args[1])
	if err == nil {
		err = os.WriteFile(to, program, 0o700) // #nosec G302 G306 G703 -- a program
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}
