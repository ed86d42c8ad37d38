package main

import (
	"os"

	"golang.org/x/sys/windows"
)

// screenSignals: consoles send none; what a person types comes as keys.
var screenSignals = []os.Signal{os.Interrupt}

// redrawable makes a console understand what is written to draw on it.
func redrawable(out *os.File) (restore func(), err error) {
	console := windows.Handle(out.Fd())
	var before uint32
	if err := windows.GetConsoleMode(console, &before); err != nil {
		return nil, err
	}
	if err := windows.SetConsoleMode(console, before|windows.ENABLE_PROCESSED_OUTPUT|windows.ENABLE_VIRTUAL_TERMINAL_PROCESSING); err != nil {
		return nil, err
	}
	return func() { _ = windows.SetConsoleMode(console, before) }, nil
}

// signal acts on one of screenSignals, which end the program.
func (s *screen) signal(os.Signal) (over bool) { return true }

// suspend does nothing: there are no jobs.
func (s *screen) suspend() {}
