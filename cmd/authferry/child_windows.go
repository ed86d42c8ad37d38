package main

// runChild is become: here it waits for the command, and a job ends that with this
// process.
func runChild(path string, argv, env []string) error { return become(path, argv, env) }
