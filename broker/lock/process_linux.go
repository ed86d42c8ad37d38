package lock

import (
	"os"
	"strconv"
	"strings"
)

// processName is the time at which a process began, the boot, and the namespace of its
// number. A zombie has none: in a container it may never be reaped.
func processName(pid int) string {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return ""
	}
	// The command is the second field, in brackets, and may contain anything.
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	const state, start = 0, 19
	if len(fields) <= start || strings.ContainsAny(fields[state], "ZXx") {
		return ""
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	space, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		return ""
	}
	return fields[start] + " " + strings.TrimSpace(string(boot)) + " " + space
}
