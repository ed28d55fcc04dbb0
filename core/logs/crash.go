package logs

import (
	"fmt"
	"path/filepath"
	"runtime/debug"
)

// crashName is the log of the process's ends by its own fault, of which nothing is handed
// on, and crashSpace what it has with its rotated files, in bytes: one says some 50 KB.
const (
	crashName  = "crash.log"
	crashSpace = 1 << 20
)

// TakeCrashes has the process write into crash.log, too, what it says as it crashes. It
// is for a process that is a core and nothing else: there is one such file in each.
func (l *Logs) TakeCrashes() error {
	f := file{path: filepath.Join(l.dir, crashName)}
	err := f.begin(crashSpace)
	if err == nil && f.size > crashSpace/(keep+1) {
		err = f.rotate(crashSpace)
	}
	if err == nil {
		err = debug.SetCrashOutput(f.open, debug.CrashOptions{})
	}
	if err != nil {
		return fmt.Errorf("open %s: %w", crashName, err)
	}
	return f.close()
}
