package agent

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/bundle"
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

// problem is a row of the table of deployment failures, filled in.
func problem(function string, code fescue.FailureCode, values ...any) Problem {
	detail := code.Detail(values...)
	return Problem{Function: function, Code: detail.DetailedErrorCode, Message: detail.DetailedErrorMessage}
}

// failure ends a deployment: trying again would not help.
type failure struct{ problems []Problem }

// Error joins the problems.
func (f *failure) Error() string {
	texts := make([]string, len(f.problems))
	for i, p := range f.problems {
		texts[i] = p.Message
	}
	return strings.Join(texts, "; ")
}

func fail(code fescue.FailureCode, values ...any) error {
	return &failure{[]Problem{problem("", code, values...)}}
}

// diskFailure is the end of a deployment by the core's own file system.
func diskFailure(doing string, err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fail(fescue.CoreDiskFull, doing, err)
	}
	return fail(fescue.CoreFileSystem, doing, err)
}

// problemsOf gives the problems of a failure.
func problemsOf(err error) []Problem {
	var f *failure
	if errors.As(err, &f) {
		return f.problems
	}
	return []Problem{problem("", fescue.CoreFileSystem, "go on with the deployment", err)}
}

// details is the problems as a report carries them.
func details(problems []Problem) []fescue.ErrorDetail {
	list := make([]fescue.ErrorDetail, 0, len(problems))
	for _, p := range problems {
		list = append(list, fescue.ErrorDetail{DetailedErrorCode: p.Code, DetailedErrorMessage: p.Message + p.Log})
	}
	return bounded(list)
}

// bounded is a list within the limits of a report.
func bounded(list []fescue.ErrorDetail) []fescue.ErrorDetail {
	const most, longest = 20, 4096
	list = slices.Clone(list[:min(len(list), most)])
	for i := range list {
		list[i].DetailedErrorMessage = cut(list[i].DetailedErrorMessage, longest)
	}
	return list
}

// cut shortens a text to n bytes at a character's border.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}

// failureMessage is the deployment's ErrorMessage, in the original's words (AWS
// IoT Greengrass V1 developer guide, "Troubleshooting"): the first problem in one
// line, and how many others the ErrorDetails hold.
func failureMessage(m bundle.Manifest, problems []Problem) string {
	const longest = 1024
	cause := cut(strings.Join(strings.Fields(problems[0].Message), " "), longest)
	switch more := len(problems) - 1; more {
	case 0:
	case 1:
		cause += " There is 1 more problem, see ErrorDetails."
	default:
		cause += fmt.Sprintf(" There are %d more problems, see ErrorDetails.", more)
	}
	return fescue.FailureMessage(fescue.Deployment{
		ID:      m.DeploymentID,
		Type:    m.DeploymentType,
		GroupID: m.GroupID,
	}, cause)
}
