package main

// Windows writes dumps of a program only where an administrator asked for them.
func dumpNoCore() {}

func dumpAsBefore() {}
