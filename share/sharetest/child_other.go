//go:build !linux

package sharetest

import "os/exec"

func startChild(cmd *exec.Cmd) error { return cmd.Start() }
