package main

// runChild is become, which on Windows waits for the command, in a job that ends it with
// this process.
func runChild(path string, argv, env []string) error { return become(path, argv, env) }
