// Package footprint gives back to the machine what a program has of its memory and does not
// use: on a small gateway that is half of a core.
package footprint

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fescue-edge/fescue/periodic"
)

const (
	// settleTime is how long after its start a program has done what it does once.
	settleTime = 5 * time.Second
	// interval is between two times that memory is given back, of what came and went
	// meanwhile, such as a deployment.
	interval = 10 * time.Minute
)

// Run gives memory back soon after a start and now and then, until ctx ends.
func Run(ctx context.Context, logger *slog.Logger) {
	start := time.NewTimer(settleTime)
	defer start.Stop()
	select {
	case <-ctx.Done():
		return
	case <-start.C:
	}
	periodic.AtOnce(ctx, interval, func() {
		if err := giveBack(); err != nil {
			logger.Debug("The core could not give memory back.", slog.String("errorString", err.Error()))
		}
	})
}

// giveBack gives back what garbage was, and the pages of the program's own file that it
// does not need all the time, such as those of its start. A page that is used again comes
// from the page cache, where the machine keeps it as long as it has room.
func giveBack() error {
	debug.FreeOSMemory()
	smaps, err := os.Open("/proc/self/smaps")
	if err != nil {
		return err
	}
	defer smaps.Close()
	list, err := ofFiles(smaps)
	for _, m := range list {
		if _, _, failed := unix.Syscall(unix.SYS_MADVISE, m.begin, m.size, unix.MADV_DONTNEED); failed != 0 {
			err = errors.Join(err, fmt.Errorf("madvise %+v: %w", m, failed))
		}
	}
	return err
}

// mapping is a part of the address space, from an address on, in bytes.
type mapping struct{ begin, size uintptr }

// ofFiles are the mappings of files that are only read and never were written to, in the
// form of /proc/self/smaps: all that is in them is in the files too. A program that is
// linked when it starts has others, whose addresses were filled in before.
func ofFiles(smaps io.Reader) (list []mapping, err error) {
	lines := bufio.NewScanner(smaps)
	var last mapping
	var read bool // last is a file's, and only read
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), " ")
		switch {
		case name == "Anonymous:" && read:
			var written int
			if _, err := fmt.Sscanf(value, "%d kB", &written); err != nil {
				return list, fmt.Errorf("not a size: %q", lines.Text())
			}
			if written == 0 {
				list = append(list, last)
			}
		case strings.HasSuffix(name, ":"):
		default:
			var begin, end, offset uintptr
			var access, device string
			var inode uint64
			if _, err := fmt.Sscanf(lines.Text(), "%x-%x %s %x %s %d", &begin, &end, &access, &offset, &device, &inode); err != nil || end <= begin {
				return list, fmt.Errorf("not a mapping: %q", lines.Text())
			}
			last = mapping{begin, end - begin}
			read = inode != 0 && !strings.Contains(access, "w") && strings.HasSuffix(access, "p")
		}
	}
	return list, lines.Err()
}
