package console

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	ownapi "github.com/fescue-edge/fescue/cloud/awsapi/fescue"
)

func TestUnmended(t *testing.T) {
	t.Parallel()
	failed := []ownapi.DeploymentSummary{
		{DeploymentId: "on a core", Last: true}, {DeploymentId: "ended well since"}, {DeploymentId: "not built", Last: true}, {DeploymentId: "on a core that is not listed", Last: true},
	}
	cores := rows([]ownapi.CoreSummary{{}, {LastDeployment: &ownapi.CoreDeployment{DeploymentId: "on a core"}}})
	var got []string
	for _, d := range unmended(failed, cores) {
		got = append(got, d.DeploymentId)
	}
	if diff := cmp.Diff([]string{"not built", "on a core that is not listed"}, got); diff != "" {
		t.Error(diff)
	}
}
