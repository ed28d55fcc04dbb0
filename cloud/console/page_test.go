package console

import (
	"strings"
	"testing"
)

func TestBrief(t *testing.T) {
	t.Parallel()
	const group, deployment = "0a1b2c3d-0000-4000-8000-000000000001", "0193a0b1-0000-7000-8000-0000deadbeef"
	hash := "cafe1234" + strings.Repeat("0", 56)
	for arn, want := range map[string]string{
		"arn:aws:greengrass:us-east-1:123456789012:/greengrass/groups/" + group:                                "greengrass/groups/0a1b2c3d",
		"arn:aws:greengrass:us-east-1:123456789012:/greengrass/groups/" + group + "/deployments/" + deployment: "greengrass/groups/0a1b2c3d/deployments/…deadbeef",
		"arn:aws:iot:us-east-1:123456789012:cert/" + hash:                                                      "cert/cafe1234",
		"arn:aws:iot:us-east-1:123456789012:thing/Mill":                                                        "Mill",
		"arn:aws:lambda:us-east-1:123456789012:function:Mill:7":                                                "Mill:7",
		"arn:aws:s3:::fleet/in/" + hash[:63]:                                                                   "fleet/in/" + hash[:63],
		"<b>/a":                                                                                                "<b>/a",
		"":                                                                                                     "",
	} {
		if got := brief(arn); strings.Join(got, "") != want || len(got) != strings.Count(want, "/")+1 {
			t.Errorf("%s: %q, want %q", arn, got, want)
		}
	}
}
