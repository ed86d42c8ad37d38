//go:build !linux

package share

import (
	"errors"
	"time"
)

// kernelFence: only Linux can kill a process that is stopped.
type kernelFence struct{}

func (*kernelFence) arm(time.Duration) error {
	return errors.New("this system can't end a stopped process in time")
}

func (*kernelFence) disarm() {}

// CanPass reports whether this machine can be one that may never come back.
func CanPass() bool { return false }
