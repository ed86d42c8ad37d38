package testenv

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"
)

// LeavingNothing runs the tests alone, and fails where a goroutine is left whose stack
// names one of the packages. It returns the exit code.
func LeavingNothing(tests Tests, packages ...string) int {
	code := Alone(tests).Run()
	left := running(packages)
	for deadline := time.Now().Add(10 * time.Second); len(left) > 0 && time.Now().Before(deadline); left = running(packages) {
		time.Sleep(10 * time.Millisecond)
	}
	if len(left) > 0 && code == 0 {
		fmt.Printf("left running:\n%s\n", strings.Join(left, "\n\n"))
		return 1
	}
	return code
}

func running(packages []string) (stacks []string) {
	all := make([]byte, 4<<20)
	all = all[:runtime.Stack(all, true)]
	for stack := range strings.SplitSeq(string(all), "\n\n") {
		if !strings.Contains(stack, "TestMain") && slices.ContainsFunc(packages, func(p string) bool { return strings.Contains(stack, p) }) {
			stacks = append(stacks, stack)
		}
	}
	return stacks
}
