// Package failure is why a deployment cannot run on this core, in the terms of the
// one table of deployment failures. It knows nothing of what found it.
package failure

import (
	"errors"
	"strings"
	"syscall"

	"github.com/fescue-edge/fescue"
)

// Problem is one reason why a deployment cannot run on this core.
type Problem struct {
	// Function is the ARN of the function concerned, empty for the whole group.
	Function string
	// Code is a fescue.FailureCode and becomes DetailedErrorCode; Message says
	// what is wrong and what to do.
	Code, Message string
	// Log are lines that show more of it; they stand in the ErrorDetails alone.
	Log string
}

// New is a row of the table of deployment failures, filled in.
func New(function string, code fescue.FailureCode, values ...any) Problem {
	detail := code.Detail(values...)
	return Problem{Function: function, Code: detail.DetailedErrorCode, Message: detail.DetailedErrorMessage}
}

// Error ends a deployment: trying again would not help.
type Error struct{ Problems []Problem }

// Error joins the problems.
func (e *Error) Error() string {
	texts := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		texts[i] = p.Message
	}
	return strings.Join(texts, "; ")
}

// Fail is the Error of one problem of the whole group.
func Fail(code fescue.FailureCode, values ...any) error {
	return &Error{[]Problem{New("", code, values...)}}
}

// Disk is the Error of the core's own file system. doing says what failed.
func Disk(doing string, err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return Fail(fescue.CoreDiskFull, doing, err)
	}
	return Fail(fescue.CoreFileSystem, doing, err)
}

// Of gives the problems of an error.
func Of(err error) []Problem {
	var e *Error
	if errors.As(err, &e) {
		return e.Problems
	}
	return []Problem{New("", fescue.CoreFileSystem, "go on with the deployment", err)}
}
