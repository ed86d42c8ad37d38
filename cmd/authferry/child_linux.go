package main

import "syscall"

// dieTogether has the command killed if this process is: it could ask nobody any more.
func dieTogether() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
