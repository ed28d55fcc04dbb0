package bulk

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/fescue-edge/fescue"
)

// Bounds of the input (AWS IoT Greengrass V1 developer guide, "Create bulk
// deployments for groups").
const (
	// maxInput is the size of a file that is too large, in bytes.
	maxInput = 100 << 20
	// maxLine is the length of a line that is too long, in characters.
	maxLine = 256
)

// InputError says what is wrong with the input. Its texts are the original's own
// where they are known.
type InputError struct{ Text string }

// Error is the reason.
func (e *InputError) Error() string { return e.Text }

func badInput(format string, args ...any) error { return &InputError{fmt.Sprintf(format, args...)} }

// ReadInput reads records, one JSON object on each line, and gives them to keep.
// The first line that is not a record ends it with an InputError. Lines of white
// space are passed over.
func ReadInput(r io.Reader, keep func(BulkRecord) error) error {
	lines := bufio.NewReaderSize(r, maxLine*utf8.UTFMax+2) // with CR and LF
	for number := int64(1); ; number++ {
		line, err := lines.ReadSlice('\n')
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			return tooLong(number)
		case err != nil && !errors.Is(err, io.EOF):
			return fmt.Errorf("read line %d: %w", number, err)
		}
		if len(bytes.TrimSpace(line)) > 0 {
			record, parseErr := parseLine(line, number)
			if parseErr != nil {
				return parseErr
			}
			if err := keep(record); err != nil {
				return err
			}
		}
		if err != nil {
			return nil
		}
	}
}

func tooLong(number int64) error {
	return badInput("Line %d is too long in S3 File. Valid line is less than %d chars.", number, maxLine)
}

// parseLine reads one line, without or with what ends it.
func parseLine(line []byte, number int64) (BulkRecord, error) {
	line = bytes.TrimRight(line, "\r\n")
	if utf8.RuneCount(line) >= maxLine {
		return BulkRecord{}, tooLong(number)
	}
	var in struct {
		GroupID        string                `json:"GroupId"`
		GroupVersionID string                `json:"GroupVersionId"`
		DeploymentType fescue.DeploymentType `json:"DeploymentType"`
	}
	if !utf8.Valid(line) || json.Unmarshal(line, &in) != nil || bytes.TrimSpace(line)[0] != '{' {
		return BulkRecord{}, badInput("Failed to parse input file at line number: %d", number)
	}
	for _, m := range []struct{ name, value string }{{"GroupId", in.GroupID}, {"GroupVersionId", in.GroupVersionID}} {
		if m.value == "" {
			return BulkRecord{}, badInput("InvalidInputFile: Missing %s at line number: %d", m.name, number)
		}
	}
	if in.DeploymentType != fescue.NewDeployment {
		return BulkRecord{}, badInput("InvalidInputFile: Invalid deployment type at line number : %d. Only valid type is 'NewDeployment'.", number)
	}
	// Databases take no NUL; no id has one.
	if strings.Contains(in.GroupID+in.GroupVersionID, "\x00") {
		return BulkRecord{}, badInput("Failed to parse input file at line number: %d", number)
	}
	return BulkRecord{Line: number, GroupID: in.GroupID, GroupVersionID: in.GroupVersionID}, nil
}
