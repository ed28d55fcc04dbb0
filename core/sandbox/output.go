package sandbox

import (
	"bufio"
	"errors"
	"io"
	"strings"
)

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
