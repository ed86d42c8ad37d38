//go:build unix

package atomicfile

import "syscall"

// gently opens a pipe without its writer, and no terminal as one's own.
const gently = syscall.O_NONBLOCK | syscall.O_NOCTTY
