package main

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/client"
	"github.com/fescue-edge/fescue/disk"
	"github.com/fescue-edge/fescue/examples"
)

// exampleTopic is where the first function publishes.
const exampleTopic = "hello/world"

// exampleMemory is its MemorySize in a container, in KB.
const exampleMemory = 64 << 10

// example is a first function.
type example struct {
	name, runtime, handler string
	dir                    string // below examples/
}

// chooseExample takes the Python function where there is a python3, else the
// executable one.
func chooseExample() example {
	if _, err := exec.LookPath("python3"); err == nil {
		return example{"fescue-hello-python", "python3.8", "hello.handler", "hello-python"}
	}
	return example{"fescue-hello-shell", fescue.ExecutableRuntime, "hello", "hello-shell"}
}

// pack zips the example. The same files make the same bytes.
func (e example) pack() ([]byte, error) {
	var buf bytes.Buffer
	w := zip.NewWriter(&buf)
	entries, err := fs.ReadDir(examples.Files, e.dir)
	if err != nil {
		return nil, err
	}
	for _, entry := range entries {
		text, err := fs.ReadFile(examples.Files, e.dir+"/"+entry.Name())
		if err != nil {
			return nil, err
		}
		header := &zip.FileHeader{Name: entry.Name(), Method: zip.Deflate}
		header.SetMode(0o755)
		f, err := w.CreateHeader(header)
		if err != nil {
			return nil, err
		}
		if _, err := f.Write(text); err != nil {
			return nil, err
		}
	}
	err = w.Close()
	return buf.Bytes(), err
}

// exampleDeployment is the deployment of the example's group.
type exampleDeployment struct {
	*upRun
	groupID, id string
	created     time.Time
}

// deployExample brings function, definitions and group to what they should be,
// making what is missing, and deploys.
func (u *upRun) deployExample(ctx context.Context) (*exampleDeployment, error) {
	e := chooseExample()
	functionARN, err := u.publish(ctx, e)
	if err != nil {
		return nil, err
	}
	u.say("function", "%s (%s)", functionARN, e.runtime)
	group, version, err := u.makeGroup(ctx, e, functionARN)
	if err != nil {
		return nil, err
	}
	var answer struct{ DeploymentId string }
	created := time.Now()
	err = u.api.Call(ctx, "greengrass", "CreateDeployment", http.MethodPost, "/greengrass/groups/"+group+"/deployments",
		map[string]string{"DeploymentType": "NewDeployment", "GroupVersionId": version}, &answer)
	if err != nil {
		return nil, err
	}
	u.say("deployment", "%s of group %s", answer.DeploymentId, group)
	return &exampleDeployment{u, group, answer.DeploymentId, created}, nil
}

// publish makes the function or updates its code, and publishes a version if the
// code changed.
func (u *upRun) publish(ctx context.Context, e example) (versionARN string, err error) {
	code, err := e.pack()
	if err != nil {
		return "", fmt.Errorf("pack examples/%s: %w", e.dir, err)
	}
	const functions = "/2015-03-31/functions"
	sum := sha256.Sum256(code)
	var have struct{ CodeSha256, FunctionArn string }
	err = u.api.Call(ctx, "lambda", "GetFunctionConfiguration", http.MethodGet, functions+"/"+e.name+"/configuration", nil, &have)
	switch {
	case client.IsCode(err, "ResourceNotFoundException"):
		err = u.api.Call(ctx, "lambda", "CreateFunction", http.MethodPost, functions, map[string]any{
			"FunctionName": e.name, "Runtime": e.runtime, "Handler": e.handler,
			"Role": "arn:aws:iam::" + u.Account + ":role/unused", "Code": map[string]any{"ZipFile": code},
		}, nil)
	case err == nil && have.CodeSha256 != base64.StdEncoding.EncodeToString(sum[:]):
		err = u.api.Call(ctx, "lambda", "UpdateFunctionCode", http.MethodPut, functions+"/"+e.name+"/code",
			map[string]any{"ZipFile": code}, nil)
	}
	if err != nil {
		return "", err
	}
	var published struct{ FunctionArn string }
	err = u.api.Call(ctx, "lambda", "PublishVersion", http.MethodPost, functions+"/"+e.name+"/versions", struct{}{}, &published)
	return published.FunctionArn, err
}

// upState is what a run of up made and the next one uses again.
type upState struct {
	FunctionARN, CertificateARN, GroupID, GroupVersionID string
	Isolation                                            fescue.IsolationMode
}

// makeGroup makes the group and a version of it, unless an earlier run made them
// of the same function, certificate and isolation and they are still there.
func (u *upRun) makeGroup(ctx context.Context, e example, functionARN string) (group, version string, err error) {
	var certificates struct{ Principals []string }
	if err := u.api.Call(ctx, "iot", "ListThingPrincipals", http.MethodGet, "/things/"+upCore+"/principals", nil, &certificates); err != nil {
		return "", "", err
	}
	if len(certificates.Principals) == 0 {
		return "", "", fmt.Errorf("the thing %s has no certificate: remove %s and start again", upCore, u.Data)
	}
	want := upState{FunctionARN: functionARN, CertificateARN: certificates.Principals[0], Isolation: u.isolation}
	stateFile := filepath.Join(u.Data, "up.json")
	var have upState
	if data, err := os.ReadFile(stateFile); err == nil && json.Unmarshal(data, &have) == nil {
		want.GroupID, want.GroupVersionID = have.GroupID, have.GroupVersionID
		path := "/greengrass/groups/" + have.GroupID + "/versions/" + have.GroupVersionID
		if have == want && u.api.Call(ctx, "greengrass", "GetGroupVersion", http.MethodGet, path, nil, nil) == nil {
			return have.GroupID, have.GroupVersionID, nil
		}
	}
	if want.GroupID, want.GroupVersionID, err = u.newGroup(ctx, e, want); err != nil {
		return "", "", err
	}
	data, err := json.Marshal(want)
	if err != nil {
		return "", "", err
	}
	return want.GroupID, want.GroupVersionID, disk.WriteFile(stateFile, data, 0o600)
}

// newGroup makes a version of the group of an earlier run, or a new group, with
// new definitions.
func (u *upRun) newGroup(ctx context.Context, e example, want upState) (group, version string, err error) {
	const name = "fescue-up"
	type object = map[string]any
	encoding := "json"
	if e.runtime == fescue.ExecutableRuntime {
		encoding = "binary"
	}
	configuration := object{
		"Pinned": true, "Timeout": 10, "EncodingType": encoding,
		"Environment": object{"Variables": object{"TOPIC": exampleTopic}},
	}
	if u.isolation == fescue.GreengrassContainer {
		configuration["MemorySize"] = exampleMemory
	}
	thingARN := fescue.Partition{AWS: u.Partition, Account: u.Account, Region: u.Region}.ThingARN(upCore)
	references := make(map[string]string)
	for _, def := range []struct {
		kind fescue.Kind
		body object
	}{
		{fescue.CoreKind, object{"Cores": []object{{"Id": "core", "ThingArn": thingARN, "CertificateArn": want.CertificateARN}}}},
		{fescue.FunctionKind, object{
			"DefaultConfig": object{"Execution": object{"IsolationMode": u.isolation}},
			"Functions":     []object{{"Id": "hello", "FunctionArn": want.FunctionARN, "FunctionConfiguration": configuration}},
		}},
		{fescue.SubscriptionKind, object{"Subscriptions": []object{
			{"Id": "hello-to-cloud", "Source": want.FunctionARN, "Subject": "hello/#", "Target": fescue.CloudEndpoint},
		}}},
		{fescue.LoggerKind, object{"Loggers": []object{
			{"Id": "files", "Type": "FileSystem", "Component": "Lambda", "Level": "INFO", "Space": 128},
			{"Id": "functions", "Type": "AWSCloudWatch", "Component": "Lambda", "Level": "INFO"},
			{"Id": "core", "Type": "AWSCloudWatch", "Component": "GreengrassSystem", "Level": "INFO"},
		}}},
	} {
		var made struct{ LatestVersionArn string }
		if err := u.api.Call(ctx, "greengrass", "Create"+def.kind.Name+"Definition", http.MethodPost,
			"/greengrass/definition/"+def.kind.Segment, object{"Name": name, "InitialVersion": def.body}, &made); err != nil {
			return "", "", err
		}
		references[def.kind.Reference] = made.LatestVersionArn
	}
	if want.GroupID != "" {
		var made struct{ Version string }
		err := u.api.Call(ctx, "greengrass", "CreateGroupVersion", http.MethodPost, "/greengrass/groups/"+want.GroupID+"/versions", references, &made)
		if err == nil || !client.IsCode(err, "IdNotFoundException") {
			return want.GroupID, made.Version, err
		}
	}
	var made struct{ Id, LatestVersion string }
	err = u.api.Call(ctx, "greengrass", "CreateGroup", http.MethodPost, "/greengrass/groups",
		object{"Name": name, "InitialVersion": references}, &made)
	return made.Id, made.LatestVersion, err
}

// watchInterval is how often the status is asked for; each change is printed once.
const watchInterval = 20 * time.Millisecond

// watch polls GetDeploymentStatus, as scripts do, and prints each change with the
// time since the deployment was created. A Failure is an error.
func (d *exampleDeployment) watch(ctx context.Context) error {
	path := "/greengrass/groups/" + d.groupID + "/deployments/" + d.id + "/status"
	var last fescue.DeploymentStatus
	tick := time.NewTicker(watchInterval)
	defer tick.Stop()
	for {
		var status struct {
			DeploymentStatus fescue.DeploymentStatus
			ErrorMessage     string
			ErrorDetails     []fescue.ErrorDetail
		}
		if err := d.api.Call(ctx, "greengrass", "GetDeploymentStatus", http.MethodGet, path, nil, &status); err != nil {
			return err
		}
		if status.DeploymentStatus != last {
			last = status.DeploymentStatus
			d.say("status", "%-11s after %6.3f s", last, time.Since(d.created).Seconds())
		}
		switch last {
		case fescue.Success:
			return nil
		case fescue.Failure:
			for _, detail := range status.ErrorDetails {
				d.say("  cause", "%s: %s", detail.DetailedErrorCode, detail.DetailedErrorMessage)
			}
			return fmt.Errorf("the deployment failed: %s", status.ErrorMessage)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}
