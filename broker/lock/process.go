package lock

import (
	"os"
	"sync"
)

// ThisProcess names this process. No other process has the same name, even if it has the
// same number. It is empty where the system can't tell.
var ThisProcess = sync.OnceValue(func() string { return processName(os.Getpid()) })

// Alive reports whether the process with this number and this name (ThisProcess) still
// runs. One that can't be seen, as in another container, counts as dead.
func Alive(pid int, name string) bool {
	return name != "" && pid > 0 && pid != os.Getpid() && processName(pid) == name
}
