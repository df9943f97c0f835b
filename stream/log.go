package stream

import (
	"fmt"
	"log/slog"
)

// gokaLogger sends goka's own lines to debug: what matters of them comes back
// as errors.
type gokaLogger struct{ log *slog.Logger }

// Print logs at debug level.
func (l gokaLogger) Print(args ...any) { l.log.Debug(fmt.Sprint(args...)) }

// Println logs at debug level.
func (l gokaLogger) Println(args ...any) { l.log.Debug(fmt.Sprint(args...)) }

// Printf logs at debug level.
func (l gokaLogger) Printf(format string, args ...any) { l.log.Debug(fmt.Sprintf(format, args...)) }
