package ratelimit

import (
	"strconv"
	"strings"
)

// OfOneModel reports whether a window is of one model, not of the account: "7d_opus" and
// "seven_day_opus" are, "7d" and "seven_day" are not.
func OfOneModel(window string) bool {
	switch window {
	case "five_hour", "seven_day":
		return false
	}
	return strings.Contains(window, "_")
}

// WindowName says in words which limit a window is: "5-hour limit" for 5h, "7-day opus
// limit" for 7d_opus. A window of another form keeps its own name.
func WindowName(window string) string {
	length, model, _ := strings.Cut(window, "_")
	name := strings.ReplaceAll(window, "_", " ")
	for letter, unit := range map[string]string{"m": "minute", "h": "hour", "d": "day"} {
		number, ok := strings.CutSuffix(length, letter)
		if n, err := strconv.Atoi(number); ok && err == nil && n > 0 {
			name = strings.TrimSpace(strconv.Itoa(n) + "-" + unit + " " + strings.ReplaceAll(model, "_", " "))
		}
	}
	return strings.TrimSpace(name + " limit")
}
