package lock

import (
	"os"
	"strconv"
	"strings"
)

// processName is when a process began, on which boot, and in which namespace its number
// counts. A zombie has no name: in a container nobody may ever wait for it.
func processName(pid int) string {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return ""
	}
	// The command comes second, in brackets, and may have any character in it.
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
