package doctor

import (
	"github.com/authferry/authferry/broker/fault"
)

// fileSystem is a variable for the tests.
var fileSystem = networkFileSystem

// disk warns about file systems whose locks may not work between machines, or may hang.
func (d *examination) disk() {
	if name := fileSystem(d.f.Dir); name != "" {
		d.try("file system", Warning, fault.Remedy{Do: fault.SetVariable, Name: "AUTHFERRY_DIR", Value: "A_FOLDER_ON_A_LOCAL_DISK"},
			"%s is on %s: locks may not reach other machines there, and can hang; two machines that share a login lose it", d.f.Dir, name)
	}
}
