package cloud_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/greengrass"
	"github.com/aws/aws-sdk-go-v2/service/greengrass/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud"
	model "github.com/fescue-edge/fescue/cloud/awsapi/greengrass"
	"github.com/fescue-edge/fescue/cloud/identity"
	"github.com/fescue-edge/fescue/corelink"
	"github.com/fescue-edge/fescue/testkit"
)

// tenants are two sites on one account and Region: the one that an outsider of
// another test is, with one of everything, and a key that is limited to groups
// with the tag site=north and to names that begin with north.
type tenants struct {
	*server
	south  *tenant
	north  *site
	values map[string]string // of labels and bodies, all south's
	epochs map[string]int64  // of cores
}

func newTenants(t *testing.T) *tenants {
	t.Helper()
	s := start(t, options(t.TempDir()))
	w := &tenants{server: s, south: newTenant(t, s, "us-east-1", s.key, "marksouth"), epochs: map[string]int64{}}
	key := s.keyWith(identity.Grant{Access: "deployer", Limit: identity.Limit{
		GroupTag: "site=north", Things: []string{"north*"}, Functions: []string{"north*"}, Secrets: []string{"north/*"}, Buckets: []string{"north*"},
	}})
	w.north = w.as(key)
	w.values = map[string]string{"role": "arn:aws:iam::" + account + ":role/r", "ThingName": "Twin", "certificate": w.south.core.certificateARN}
	w.values["cores"] = w.south.shared["cores"]
	for _, k := range kinds {
		made := w.south.make("Create"+k.noun, nil)
		w.values[k.label()], w.values[k.noun+"VersionId"] = made["Id"].(string), made["LatestVersion"].(string)
	}
	w.values["GroupId"], w.values["DeploymentId"] = w.south.group, w.south.deployment
	w.values["ResourceArn"] = "arn:aws:greengrass:us-east-1:" + account + ":/greengrass/groups/" + w.south.group
	w.values["CertificateAuthorityId"], w.values["BulkDeploymentId"] = fescue.NewID(), fescue.NewID()
	return w
}

// as is the API as a key sees it.
func (w *tenants) as(key cloud.AccessKey) *site {
	client, base := w.client()
	return &site{t: w.t, key: key, client: client, base: base, region: "us-east-1", sdk: w.greengrass("us-east-1", key)}
}

// TestTenants has the limited key call everything there is on what is not its own.
func TestTenants(t *testing.T) {
	t.Parallel()
	w := newTenants(t)
	refused := func(t *testing.T, what string, a answer) {
		t.Helper()
		if (a.status != 403 && a.status != 400) || !strings.Contains(a.body, "AccessDenied") && a.exception != "AccessDeniedException" {
			t.Errorf("%s: %+v", what, a)
		}
		if strings.Contains(a.body, "marksouth") {
			t.Errorf("%s shows the other: %+v", what, a)
		}
	}
	t.Run("the API of Greengrass", func(t *testing.T) {
		// What names no resource and may be done: it lists names, or makes what is
		// the key's own.
		may := []string{"GetServiceRoleForAccount", "CreateConnectorDefinition", "CreateLoggerDefinition", "CreateSubscriptionDefinition"}
		for _, m := range model.Model {
			op := w.north.operation(m.Name)
			if len(op.labels()) == 0 && (strings.HasPrefix(op.Name, "List") || slices.Contains(may, op.Name)) {
				continue
			}
			refused(t, op.Name, w.north.call(op, w.values, fill(op.body, w.values), nil))
		}
	})
	t.Run("other services", func(t *testing.T) {
		code := `{"ZipFile":"UEsFBgAAAAAAAAAAAAAAAAAAAAAAAA=="}`
		json11 := func(operation string) http.Header {
			return http.Header{"X-Amz-Target": {"secretsmanager." + operation}, "Content-Type": {"application/x-amz-json-1.1"}}
		}
		form := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
		const lambda = "/2015-03-31/functions"
		for _, name := range []string{"twin", "south/db"} {
			if got := w.south.send("secretsmanager", "POST", "/", json11("CreateSecret"), `{"Name":"`+name+`","SecretString":"marksouth"}`); got.status != 200 {
				t.Fatalf("%+v", got)
			}
		}
		for _, c := range []struct {
			service, method, target string
			header                  http.Header
			body                    string
		}{
			{"greengrass", "GET", "/fescue/v1/groups/" + w.south.group + "/deployments/" + w.south.deployment + "/timeline", nil, ""},
			{"greengrass", "POST", "/fescue/v1/groups/" + w.south.group + "/deployments/" + w.south.deployment + "/cancel", nil, "{}"},
			{"greengrass", "GET", "/fescue/v1/deployments?DeploymentStatus=Success", nil, ""},
			{"greengrass", "GET", "/fescue/v1/audit", nil, ""},
			{"greengrass", "GET", "/fescue/v1/cores", nil, ""},
			{"greengrass", "GET", "/fescue/v1/groups/" + w.south.group + "/cores", nil, ""},
			{"greengrass", "POST", "/fescue/v1/cores/Twin/epoch", nil, "{}"},
			{"iotdata", "GET", "/fescue/v1/messages?TopicFilter=%23", nil, ""},
			{"iot", "POST", "/thing-types/t", nil, "{}"},
			{"greengrass", "PUT", "/fescue/v1/definitions/cores/" + fescue.NewID() + "/versions/" + fescue.NewID(), nil, `{"Name":"x","Version":{"Definition":{"Cores":[]}}}`},
			{"lambda", "GET", lambda + "/Twin", nil, ""},
			{"lambda", "GET", lambda + "/Twin/configuration", nil, ""},
			{"lambda", "GET", lambda + "/" + url.PathEscape("arn:aws:lambda:us-east-1:"+account+":function:Twin:1"), nil, ""},
			{"lambda", "GET", lambda + "/" + account + ":function:Twin", nil, ""},
			{"lambda", "PUT", lambda + "/Twin/code", nil, code},
			{"lambda", "PUT", lambda + "/Twin/configuration", nil, `{"Description":"north"}`},
			{"lambda", "POST", lambda + "/Twin/versions", nil, "{}"},
			{"lambda", "POST", lambda + "/Twin/aliases", nil, `{"Name":"a","FunctionVersion":"1"}`},
			{"lambda", "POST", lambda + "/Twin/policy", nil, `{"StatementId":"a","Action":"lambda:*","Principal":"*"}`},
			{"lambda", "POST", "/2017-03-31/tags/" + url.PathEscape("arn:aws:lambda:us-east-1:"+account+":function:Twin"), nil, `{"Tags":{"a":"b"}}`},
			{"lambda", "POST", lambda, nil, `{"FunctionName":"south2","Runtime":"python3.7","Handler":"a.b","Role":"arn:aws:iam::123456789012:role/r","Code":` + code + `}`},
			{"lambda", "POST", lambda, nil, `{"FunctionName":"north2","Runtime":"python3.7","Handler":"a.b","Role":"arn:aws:iam::123456789012:role/r","Code":{"S3Bucket":"fleet","S3Key":"records"}}`},
			{"lambda", "PUT", "/fescue/v1/functions/Twin/versions/9", nil, `{}`},
			{"s3", "GET", "/fleet/records", nil, ""},
			{"s3", "GET", "/fleet?list-type=2", nil, ""},
			{"s3", "PUT", "/fleet/records", nil, "north"},
			{"s3", "PUT", "/north-x", nil, ""}, // made, for the next
			{"s3", "PUT", "/north-x/copy", http.Header{"X-Amz-Copy-Source": {"/fleet/records"}}, ""},
			{"s3", "PUT", "/south-bucket", nil, ""},
			{"s3", "POST", "/fleet/big?uploads", nil, ""},
			{"secretsmanager", "POST", "/", json11("GetSecretValue"), `{"SecretId":"twin"}`},
			{"secretsmanager", "POST", "/", json11("PutSecretValue"), `{"SecretId":"twin","SecretString":"north"}`},
			{"secretsmanager", "POST", "/", json11("DescribeSecret"), `{"SecretId":"south/db"}`},
			{"secretsmanager", "POST", "/", json11("CreateSecret"), `{"Name":"south/x","SecretId":"north/x","SecretString":"x"}`},
			{"secretsmanager", "POST", "/", json11("TagResource"), `{"Name":"north/x","SecretId":"twin","Tags":[]}`},
			{"iot", "POST", "/things/south9", nil, "{}"},
			{"iot", "PATCH", "/things/Twin", nil, `{"attributePayload":{"attributes":{"a":"b"}}}`},
			{"iot", "PUT", "/things/north1/principals", http.Header{"X-Amzn-Principal": {w.south.core.certificateARN}}, ""},
			{"iot", "POST", "/keys-and-certificate?setAsActive=true", nil, ""},
			{"iot", "POST", "/policies/north", nil, `{"policyDocument":"{}"}`},
			{"iot", "PUT", "/target-policies/Twin", nil, `{"target":"` + w.south.core.certificateARN + `"}`},
			{"iot", "PUT", "/jobs/j", nil, `{"targets":["arn:aws:iot:us-east-1:` + account + `:thing/Twin"],"document":"{}"}`},
			{"iot", "GET", "/jobs/j/job-document", nil, ""},
			{"iot", "POST", "/role-aliases/a", nil, `{"roleArn":"arn:aws:iam::` + account + `:role/r"}`},
			{"iotdata", "GET", "/things/Twin/shadow", nil, ""},
			{"iotdata", "POST", "/things/Twin/shadow", nil, `{"state":{"desired":{"a":1}}}`},
			{"iotdata", "GET", "/things/Twin/shadow?name=x", nil, ""},
			{"iotdata", "GET", "/api/things/shadow/ListNamedShadowsForThing/Twin", nil, ""},
			{"iotdata", "POST", "/topics/north%2Fx", nil, "x"},
			{"iotdata", "POST", "/topics/%24aws%2Fthings%2FTwin%2Fshadow%2Fupdate", nil, "{}"},
			{"iot-jobs-data", "GET", "/things/Twin/jobs", nil, ""},
			{"iot-jobs-data", "PUT", "/things/Twin/jobs/$next", nil, "{}"},
			{"iam", "POST", "/", form, "Action=CreateRole&Version=2010-05-08&RoleName=north&AssumeRolePolicyDocument=%7B%7D"},
			{"iam", "POST", "/", form, "Action=PutRolePolicy&Version=2010-05-08&RoleName=r&PolicyName=p&PolicyDocument=%7B%7D"},
			{"iam", "POST", "/", form, "Action=AttachRolePolicy&Version=2010-05-08&RoleName=r&PolicyArn=arn:aws:iam::aws:policy/AdministratorAccess"},
			{"sts", "POST", "/", form, "Action=AssumeRole&Version=2011-06-15&RoleSessionName=ab&RoleArn=arn:aws:iam::" + account + ":role/r"},
		} {
			got := w.north.send(c.service, c.method, c.target, c.header, c.body)
			if c.target == "/north-x" {
				if got.status != 200 {
					t.Errorf("its own bucket: %+v", got)
				}
				continue
			}
			refused(t, c.service+" "+c.method+" "+c.target+" "+c.body, got)
		}
		if got := w.north.send("lambda", "GET", lambda, nil, ""); got.status != 200 || strings.Contains(got.body, "marksouth") {
			t.Errorf("the list of functions: %+v", got)
		}
	})
	t.Run("a session of the key", func(t *testing.T) {
		client, base := w.client()
		made, err := w.sts(w.north.key).GetSessionToken(t.Context(), &sts.GetSessionTokenInput{})
		if err != nil {
			t.Fatal(err)
		}
		c := greengrass.New(greengrass.Options{
			Region: "us-east-1", BaseEndpoint: &base, HTTPClient: client, Retryer: aws.NopRetryer{},
			Credentials: credentials.NewStaticCredentialsProvider(*made.Credentials.AccessKeyId, *made.Credentials.SecretAccessKey, *made.Credentials.SessionToken),
		})
		_, err = c.GetGroup(t.Context(), &greengrass.GetGroupInput{GroupId: &w.south.group})
		wantDenied(t, err, "greengrass:GetGroup", w.values["ResourceArn"])
	})
	t.Run("nothing came of it", func(t *testing.T) {
		offer, err := w.south.link.GetDeployment(t.Context(), "Twin", corelink.Poll{Wait: patience})
		if err != nil || offer.DeploymentID != w.south.deployment {
			t.Errorf("the core is offered %+v, %v", offer, err)
		}
		for _, c := range [][3]string{{"s3", "/fleet/records", "NewDeployment"}, {"lambda", "/2015-03-31/functions/Twin/configuration", "marksouth"}} {
			if got := w.south.send(c[0], "GET", c[1], nil, ""); got.status != 200 || !strings.Contains(got.body, c[2]) || strings.Contains(got.body, "north") {
				t.Errorf("%+v", got)
			}
		}
	})
}

// group makes a group of the site north whose version has the definitions.
func (w *tenants) group(t *testing.T, c *greengrass.Client, version *types.GroupVersion) (id, versionID string, err error) {
	t.Helper()
	made, err := c.CreateGroup(t.Context(), &greengrass.CreateGroupInput{Name: aws.String("g"), Tags: map[string]string{"site": "north"}, InitialVersion: version})
	if err != nil {
		return "", "", err
	}
	return *made.Id, aws.ToString(made.LatestVersion), nil
}

func deploy(t *testing.T, c *greengrass.Client, group, version string) (string, error) {
	t.Helper()
	made, err := c.CreateDeployment(t.Context(), &greengrass.CreateDeploymentInput{GroupId: &group, GroupVersionId: &version, DeploymentType: types.DeploymentTypeNewDeployment})
	if err != nil {
		return "", err
	}
	return *made.DeploymentId, nil
}

// TestTenantsCore: by no way does a limited key come to deploy to a core that is
// not its own, and its own it deploys to as every deployer does.
func TestTenantsCore(t *testing.T) {
	t.Parallel()
	w := newTenants(t)
	ctx, admin, north := t.Context(), w.greengrass("us-east-1", cloud.AccessKey{}), w.north.sdk
	twin, theirFunction := "arn:aws:iot:us-east-1:"+account+":thing/Twin", "arn:aws:lambda:us-east-1:"+account+":function:Twin"
	cores := func(c *greengrass.Client, thing, certificate string) (string, error) {
		made, err := c.CreateCoreDefinition(ctx, &greengrass.CreateCoreDefinitionInput{InitialVersion: &types.CoreDefinitionVersion{
			Cores: []types.Core{{Id: aws.String("c"), ThingArn: &thing, CertificateArn: &certificate}},
		}})
		if err != nil {
			return "", err
		}
		return *made.LatestVersionArn, nil
	}
	must := func(text string, err error) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	theirs := must(cores(admin, twin, w.south.core.certificateARN))
	t.Run("a definition that names it", func(t *testing.T) {
		_, err := cores(north, twin, w.south.core.certificateARN)
		wantDenied(t, err, "greengrass:CreateCoreDefinition", twin)
		_, err = north.CreateDeviceDefinition(ctx, &greengrass.CreateDeviceDefinitionInput{InitialVersion: &types.DeviceDefinitionVersion{
			Devices: []types.Device{{Id: aws.String("d"), ThingArn: &twin, CertificateArn: &w.south.core.certificateARN}},
		}})
		wantDenied(t, err, "greengrass:CreateDeviceDefinition", twin)
		_, err = north.CreateFunctionDefinition(ctx, &greengrass.CreateFunctionDefinitionInput{InitialVersion: &types.FunctionDefinitionVersion{
			Functions: []types.Function{{Id: aws.String("f"), FunctionArn: aws.String(theirFunction + ":1")}},
		}})
		wantDenied(t, err, "greengrass:CreateFunctionDefinition", theirFunction)
		_, _, err = w.group(t, north, &types.GroupVersion{CoreDefinitionVersionArn: &theirs})
		wantDenied(t, err, "greengrass:CreateGroup", twin)
	})
	t.Run("a version that somebody else made", func(t *testing.T) {
		group, version, err := w.group(t, admin, &types.GroupVersion{CoreDefinitionVersionArn: &theirs})
		must(group, err)
		_, err = deploy(t, north, group, version)
		wantDenied(t, err, "greengrass:CreateDeployment", twin)
		if got := w.north.send("greengrass", "POST", "/fescue/v1/groups/"+group+"/versions/"+version+"/check", nil, "{}"); got.status != 403 {
			t.Errorf("the core is asked: %+v", got)
		}
		t.Run("deployed before", func(t *testing.T) {
			// The group's own, by an admin; it ended when the admin took it back.
			id := must(deploy(t, admin, group, version))
			testkit.Until(t, "built", func() bool { return w.deploymentStatus(t, group, id) != "Building" })
			_, err := north.CreateDeployment(ctx, &greengrass.CreateDeploymentInput{GroupId: &group, DeploymentId: &id, DeploymentType: types.DeploymentTypeRedeployment})
			wantDenied(t, err, "greengrass:CreateDeployment", twin)
		})
	})

	t.Run("its own core", func(t *testing.T) {
		c := w.provision("us-east-1", "north-core")
		own := must(cores(north, "arn:aws:iot:us-east-1:"+account+":thing/north-core", c.certificateARN))
		group, version, err := w.group(t, north, &types.GroupVersion{CoreDefinitionVersionArn: &own})
		must(group, err)
		id := must(deploy(t, north, group, version))
		w.finish(t, c, group, id)
		// Its definitions bear its tag, so it may go on with them.
		definition, _, err := (fescue.Partition{AWS: "aws", Account: account, Region: "us-east-1"}).ParseVersionARN(fescue.CoreKind, own)
		must(definition, err)
		if _, err := north.CreateCoreDefinitionVersion(ctx, &greengrass.CreateCoreDefinitionVersionInput{CoreDefinitionId: &definition}); err != nil {
			t.Error(err)
		}
	})
	t.Run("what its group holds", func(t *testing.T) {
		// An admin deploys a core of another name to a group of north.
		c := w.provision("us-east-1", "Odd")
		odd := "arn:aws:iot:us-east-1:" + account + ":thing/Odd"
		group, version, err := w.group(t, admin, &types.GroupVersion{CoreDefinitionVersionArn: aws.String(must(cores(admin, odd, c.certificateARN)))})
		must(group, err)
		_, err = deploy(t, north, group, version)
		wantDenied(t, err, "greengrass:CreateDeployment", odd)
		connect := func() error {
			_, err := north.UpdateConnectivityInfo(ctx, &greengrass.UpdateConnectivityInfoInput{ThingName: aws.String("Odd"), ConnectivityInfo: []types.ConnectivityInfo{}})
			return err
		}
		wantDenied(t, connect(), "greengrass:UpdateConnectivityInfo", "arn:aws:greengrass:us-east-1:"+account+":/greengrass/things/Odd")
		w.finish(t, c, group, must(deploy(t, admin, group, version)))
		if err := connect(); err != nil {
			t.Error(err)
		}
		w.finish(t, c, group, must(deploy(t, north, group, version)))
		// The admin takes it back.
		reset, err := admin.ResetDeployments(ctx, &greengrass.ResetDeploymentsInput{GroupId: &group, Force: aws.Bool(true)})
		must("", err)
		testkit.Until(t, "the reset", func() bool { return w.deploymentStatus(t, group, *reset.DeploymentId) == "Success" })
		_, err = deploy(t, north, group, version)
		wantDenied(t, err, "greengrass:CreateDeployment", odd)
		wantDenied(t, connect(), "greengrass:UpdateConnectivityInfo", "arn:aws:greengrass:us-east-1:"+account+":/greengrass/things/Odd")
	})
	t.Run("a waiting deployment of another group is not superseded", func(t *testing.T) {
		// This key's patterns cover the core, its tag not the group that waits for it.
		wide := w.as(w.keyWith(identity.Grant{Access: "deployer", Limit: identity.Limit{GroupTag: "site=north", Things: []string{"*"}}})).sdk
		c := w.provision("us-east-1", "contested")
		contested := must(cores(wide, "arn:aws:iot:us-east-1:"+account+":thing/contested", c.certificateARN))
		groups := map[string]string{}
		versions := map[string]string{}
		for _, site := range []string{"north", "south"} {
			made, err := admin.CreateGroup(ctx, &greengrass.CreateGroupInput{
				Name: aws.String("g"), Tags: map[string]string{"site": site}, InitialVersion: &types.GroupVersion{CoreDefinitionVersionArn: &contested},
			})
			must("", err)
			groups[site], versions[site] = *made.Id, *made.LatestVersion
		}
		waiting := must(deploy(t, admin, groups["south"], versions["south"]))
		testkit.Until(t, "offered", func() bool { return w.deploymentStatus(t, groups["south"], waiting) == "InProgress" })
		attack := must(deploy(t, wide, groups["north"], versions["north"]))
		testkit.Until(t, "the end of the attack", func() bool { return w.deploymentStatus(t, groups["north"], attack) == "Failure" })
		got, err := admin.GetDeploymentStatus(ctx, &greengrass.GetDeploymentStatusInput{GroupId: aws.String(groups["north"]), DeploymentId: &attack})
		if err != nil || len(got.ErrorDetails) != 1 || *got.ErrorDetails[0].DetailedErrorCode != string(fescue.CoreInOtherGroup) {
			t.Errorf("%+v, %v", got, err)
		}
		if got := w.deploymentStatus(t, groups["south"], waiting); got != "InProgress" {
			t.Errorf("the other's deployment is %s", got)
		}
		w.finish(t, c, groups["south"], waiting)
		// Whoever covers both may.
		second := w.provision("us-east-1", "second")
		again := must(cores(admin, "arn:aws:iot:us-east-1:"+account+":thing/second", second.certificateARN))
		for site, group := range groups {
			made, err := admin.CreateGroupVersion(ctx, &greengrass.CreateGroupVersionInput{GroupId: &group, CoreDefinitionVersionArn: &again})
			must("", err)
			versions[site] = *made.Version
		}
		waiting = must(deploy(t, admin, groups["south"], versions["south"]))
		testkit.Until(t, "offered", func() bool { return w.deploymentStatus(t, groups["south"], waiting) == "InProgress" })
		must(deploy(t, admin, groups["north"], versions["north"]))
		testkit.Until(t, "superseded", func() bool { return w.deploymentStatus(t, groups["south"], waiting) == "Failure" })
	})
}

func (w *tenants) deploymentStatus(t *testing.T, group, id string) string {
	t.Helper()
	got, err := w.greengrass("us-east-1", cloud.AccessKey{}).GetDeploymentStatus(t.Context(), &greengrass.GetDeploymentStatusInput{GroupId: &group, DeploymentId: &id})
	if err != nil {
		t.Fatal(err)
	}
	return aws.ToString(got.DeploymentStatus)
}

// finish has a core take a deployment to Success.
func (w *tenants) finish(t *testing.T, c core, group, id string) {
	t.Helper()
	link := w.link(c)
	offer, err := link.GetDeployment(t.Context(), c.thing, corelink.Poll{After: w.epochs[c.thing], Wait: patience})
	if err != nil || offer.DeploymentID != id {
		t.Fatalf("offered %+v, %v, want %s", offer, err, id)
	}
	w.epochs[c.thing] = offer.Epoch
	for _, event := range []fescue.DeploymentEvent{fescue.EventClaimed, fescue.EventStaged, fescue.EventSwitched, fescue.EventSucceeded} {
		if _, err := link.UpdateStatus(t.Context(), group, id, "arn:aws:iot:us-east-1:"+account+":thing/"+c.thing, corelink.StatusReport{Event: event, Epoch: offer.Epoch}); err != nil {
			t.Fatal(err)
		}
	}
}
