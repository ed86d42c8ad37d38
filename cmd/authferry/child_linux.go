package main

import "syscall"

// dieTogether has the command killed if this process dies: nobody could hand it tokens
// then.
func dieTogether() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
