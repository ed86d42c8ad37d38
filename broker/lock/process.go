package lock

import (
	"os"
	"sync"
)

// ThisProcess names this process among all that have or had its number; empty where
// the system does not tell.
var ThisProcess = sync.OnceValue(func() string { return processName(os.Getpid()) })

// Alive reports that another process, which had this number and called itself name
// (ThisProcess), still runs. One that can't be seen, as in another container, does not.
func Alive(pid int, name string) bool {
	return name != "" && pid > 0 && pid != os.Getpid() && processName(pid) == name
}
