package sandbox

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
)

// output is the pipes that a process writes to.
type output struct {
	sinks []func(line string)
	// pipes are the core's ends, writers the process's.
	pipes, writers []*os.File
	lines          sync.WaitGroup
}

// openOutput makes pipes that belong to whom the process runs as: it may open them by
// their names in /proc and /dev, too.
func openOutput(sinks []func(line string), who *Credential) (*output, error) {
	o := &output{sinks: sinks}
	for range sinks {
		r, w, err := os.Pipe()
		if err == nil {
			o.pipes, o.writers = append(o.pipes, r), append(o.writers, w)
			if who != nil {
				err = w.Chown(int(who.UID), int(who.GID))
			}
		}
		if err != nil {
			o.started()
			o.close()
			return nil, fmt.Errorf("make output pipes: %w", err)
		}
	}
	return o, nil
}

// started closes what only the process needs.
func (o *output) started() {
	for _, w := range o.writers {
		w.Close()
	}
}

// read has the sinks called.
func (o *output) read() {
	for i, pipe := range o.pipes {
		o.lines.Go(func() { readLines(pipe, o.sinks[i]) })
	}
}

// drain waits for the rest of a dead process's output.
func (o *output) drain() {
	deadline := time.Now().Add(drainTime)
	for _, pipe := range o.pipes {
		_ = pipe.SetReadDeadline(deadline)
	}
	o.lines.Wait()
	o.close()
}

func (o *output) close() {
	for _, pipe := range o.pipes {
		pipe.Close()
	}
}

// MaxLine bounds a line of output, in bytes; longer ones are cut in pieces.
const MaxLine = 32 << 10

// readLines calls sink for each line until the other end is closed.
func readLines(r io.Reader, sink func(line string)) {
	reader := bufio.NewReaderSize(r, MaxLine)
	for {
		line, err := reader.ReadSlice('\n')
		if len(line) > 0 {
			text := strings.ToValidUTF8(strings.TrimRight(string(line), "\r\n"), "\uFFFD")
			// The C SDK's users end their text with the NUL of their strings.
			sink(strings.TrimRight(text, "\x00"))
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return
		}
	}
}
