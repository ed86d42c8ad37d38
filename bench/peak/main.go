// Peak runs its arguments and prints the peak memory of that process in bytes.
// A process begins its life as a copy of the one that starts it, so that has to
// be a small one.
package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

func main() {
	cmd := exec.CommandContext(context.Background(), os.Args[1], os.Args[2:]...)
	cmd.Stdin, cmd.Stderr = os.Stdin, os.Stderr
	if err := cmd.Run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss * 1024)
}
