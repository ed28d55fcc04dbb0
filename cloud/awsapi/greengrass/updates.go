package greengrass

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/awsapi/wire/restjson"
	"github.com/fescue-edge/fescue/cloud/jobs"
)

// Updates makes the jobs that software updates are.
type Updates interface {
	CreateSoftwareUpdate(ctx context.Context, p fescue.Partition, u jobs.SoftwareUpdate, version string, token fescue.Token) (jobs.Job, error)
}

// platformVersion is the version of the Core software that Fescue's core stands
// in for.
const platformVersion = "1.11.6"

// The values of CreateSoftwareUpdateJob's members (API model) and the platforms
// that the original updated (developer guide, "OTA updates of Core software").
var (
	updateSoftware  = []string{"core", "ota_agent"}
	updateLogLevels = []string{"NONE", "TRACE", "DEBUG", "VERBOSE", "INFO", "WARN", "ERROR", "FATAL"}
	updatePlatforms = []string{
		"ubuntu/x86_64", "ubuntu/aarch64", "amazon_linux/x86_64",
		"raspbian/armv7l", "raspbian/armv6l", "openwrt/aarch64", "openwrt/armv7l",
	}
)

const defaultUpdateLogLevel = "ERROR"

func (a *API) updateOperations() []restjson.Operation {
	return []restjson.Operation{
		{Name: "CreateSoftwareUpdateJob", Method: http.MethodPost, Path: "/greengrass/updates", Handle: a.createSoftwareUpdateJob},
	}
}

func (a *API) createSoftwareUpdateJob(ctx context.Context, r *restjson.Request) (any, error) {
	var in struct {
		S3UrlSignerRole              string
		SoftwareToUpdate             string
		UpdateAgentLogLevel          string
		UpdateTargets                []string
		UpdateTargetsArchitecture    string
		UpdateTargetsOperatingSystem string
	}
	if err := restjson.Decode(r.Body, &in); err != nil {
		return nil, malformed(err.Error())
	}
	var missing []string
	for _, m := range []struct{ name, value string }{
		{"S3UrlSignerRole", in.S3UrlSignerRole}, {"SoftwareToUpdate", in.SoftwareToUpdate},
		{"UpdateTargets", strings.Join(in.UpdateTargets, "")},
		{"UpdateTargetsArchitecture", in.UpdateTargetsArchitecture}, {"UpdateTargetsOperatingSystem", in.UpdateTargetsOperatingSystem},
	} {
		if m.value == "" {
			missing = append(missing, m.name)
		}
	}
	if len(missing) > 0 {
		return nil, refuse(http.StatusBadRequest, invalidInput, "Your request is missing the following required parameter(s): {%s}.", strings.Join(missing, ","))
	}
	if in.UpdateAgentLogLevel == "" {
		in.UpdateAgentLogLevel = defaultUpdateLogLevel
	}
	platform := in.UpdateTargetsOperatingSystem + "/" + in.UpdateTargetsArchitecture
	for _, m := range []struct {
		name, value string
		allowed     []string
	}{
		{"SoftwareToUpdate", in.SoftwareToUpdate, updateSoftware},
		{"UpdateAgentLogLevel", in.UpdateAgentLogLevel, updateLogLevels},
		{"UpdateTargetsOperatingSystem/UpdateTargetsArchitecture", platform, updatePlatforms},
	} {
		if !slices.Contains(m.allowed, m.value) {
			return nil, refuse(http.StatusBadRequest, invalidInput, "%s %.100q is not one of %s.", m.name, m.value, strings.Join(m.allowed, ", "))
		}
	}
	role, err := fescue.ParseARN(in.S3UrlSignerRole)
	if err != nil || role.Service != "iam" || !strings.HasPrefix(role.Resource, "role/") {
		return nil, refuse(http.StatusBadRequest, invalidInput, "S3UrlSignerRole %.256q is not the ARN of a role.", in.S3UrlSignerRole)
	}
	t, err := token(r)
	if err != nil {
		return nil, err
	}
	job, err := a.updates.CreateSoftwareUpdate(ctx, r.Partition, jobs.SoftwareUpdate{
		Software: in.SoftwareToUpdate, Architecture: in.UpdateTargetsArchitecture, OS: in.UpdateTargetsOperatingSystem,
		LogLevel: in.UpdateAgentLogLevel, SignerRole: in.S3UrlSignerRole, Targets: in.UpdateTargets,
	}, platformVersion, t)
	if err != nil {
		return nil, fmt.Errorf("create software update job: %w", err)
	}
	return struct {
		IotJobArn               string
		IotJobId                string
		PlatformSoftwareVersion string
	}{r.Partition.JobARN(job.ID), job.ID, platformVersion}, nil
}
