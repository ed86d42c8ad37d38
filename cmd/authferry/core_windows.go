package main

// Windows only writes dumps of a program if an administrator asked for them.
func dumpNoCore() {}

func dumpAsBefore() {}
