package authferrytest

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	"github.com/authferry/authferry/testenv"
)

// names are what other programs call authferry when they want its help.
var names = []string{"docker-credential-authferry", "git-credential-authferry", "terraform-credentials-authferry"}

var builtDir string

var built = sync.OnceValues(func() (program string, err error) {
	if builtDir, err = os.MkdirTemp("", "authferry-built-"); err != nil {
		return "", err
	}
	bin := filepath.Join(builtDir, "bin") // as where programs usually are
	if err := os.Mkdir(bin, 0o700); err != nil {
		return "", err
	}
	program = filepath.Join(bin, Exe("authferry"))
	if err := testenv.Build("authferry", program); err != nil {
		return "", err
	}
	for _, name := range names {
		if err := os.Link(program, filepath.Join(bin, Exe(name))); err != nil {
			return "", err
		}
	}
	return program, nil
})

// Built is the path of the program as it is installed, under all its names. It is
// built once, for a package whose tests are [Alone].
func Built(t *testing.T) string {
	t.Helper()
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("needs go: install Go")
	}
	program, err := built()
	testenv.Must(t, err)
	return program
}

var builtShare = sync.OnceValues(func() (program string, err error) {
	beside, err := built()
	if err != nil {
		return "", err
	}
	program = filepath.Join(filepath.Dir(beside), Exe("authferry-share"))
	return program, testenv.Build("authferry-share", program)
})

// BuiltShare is the path of the program for shared pools, beside that of [Built].
func BuiltShare(t *testing.T) string {
	t.Helper()
	Built(t)
	program, err := builtShare()
	testenv.Must(t, err)
	return program
}

// Alone is [testenv.Alone], and removes what [Built] made when the tests have run.
func Alone(tests testenv.Tests) testenv.Tests { return alone{testenv.Alone(tests)} }

type alone struct{ testenv.Tests }

func (a alone) Run() int {
	defer func() {
		if builtDir != "" {
			_ = os.RemoveAll(builtDir)
		}
	}()
	return a.Tests.Run()
}

// Exe is a program's file name.
func Exe(name string) string {
	if runtime.GOOS == "windows" {
		return name + ".exe"
	}
	return name
}
