//go:build unix

package atomicfile

import "syscall"

// gently: don't wait for a pipe's writer, and don't make a terminal this process's own.
const gently = syscall.O_NONBLOCK | syscall.O_NOCTTY
