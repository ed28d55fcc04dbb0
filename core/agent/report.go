package agent

import (
	"fmt"
	"slices"
	"strings"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/bundle"
	"github.com/fescue-edge/fescue/core/failure"
)

// details is the problems as a report carries them.
func details(problems []failure.Problem) []fescue.ErrorDetail {
	list := make([]fescue.ErrorDetail, 0, len(problems))
	for _, p := range problems {
		list = append(list, fescue.ErrorDetail{DetailedErrorCode: p.Code, DetailedErrorMessage: p.Message + p.Log})
	}
	return bounded(list)
}

// mostDetails is how many problems, and how many warnings, a report has.
const mostDetails = 20

// bounded is a list within the limits of a report.
func bounded(list []fescue.ErrorDetail) []fescue.ErrorDetail {
	const longest = 4096
	list = slices.Clone(list[:min(len(list), mostDetails)])
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
func failureMessage(m bundle.Manifest, problems []failure.Problem) string {
	const longest = 1024
	cause := cut(strings.Join(strings.Fields(problems[0].Message), " "), longest)
	switch more := len(problems) - 1; more {
	case 0:
	case 1:
		cause += " There is 1 more problem, see ErrorDetails."
	default:
		cause += fmt.Sprintf(" There are %d more problems, see ErrorDetails", more)
		if len(problems) > mostDetails {
			cause += fmt.Sprintf(" for the first %d of all", mostDetails)
		}
		cause += "."
	}
	return fescue.FailureMessage(fescue.Deployment{
		ID:      m.DeploymentID,
		Type:    m.DeploymentType,
		GroupID: m.GroupID,
	}, cause)
}
