package cloud_test

import (
	"archive/zip"
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/iot"
	paho "github.com/eclipse/paho.mqtt.golang"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud"
	model "github.com/fescue-edge/fescue/cloud/awsapi/greengrass"
	"github.com/fescue-edge/fescue/cloud/identity"
	"github.com/fescue-edge/fescue/corelink"
	"github.com/fescue-edge/fescue/testkit"
)

// tenant is a partition that must not see the others. Everything that it writes
// bears its mark.
type tenant struct {
	*site
	mark string
	core core
	link *corelink.Client
	// port is the URL of the port for cores and devices, door a client of it with
	// the core's certificate.
	port   string
	door   *http.Client
	device *mqttClient

	// pool are values for labels, ids everything that only this partition may show:
	// UUIDs and SHA-256s of its answers.
	pool map[string][]string
	ids  map[string]bool
	// named are ids that it sent, wherever it had them from: its audit lists them.
	named map[string]bool
	// group, deployment and hashes are what its core is offered.
	group, deployment string
	hashes            []string

	mu       sync.Mutex
	messages []paho.Message
}

var idPattern = regexp.MustCompile(`[0-9a-f]{64}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}`)

// TestTenantIsolation has partitions do random things by all doors: none may ever see
// another's marks or ids. FESCUE_ISOLATION_STEPS and FESCUE_ISOLATION_SEED say how
// many and which.
func TestTenantIsolation(t *testing.T) {
	t.Parallel()
	number := func(name string, standard uint64) uint64 {
		if n, err := strconv.ParseUint(os.Getenv(name), 10, 64); err == nil {
			return n
		}
		return standard
	}
	r := rand.New(rand.NewPCG(number("FESCUE_ISOLATION_SEED", 1), 0))
	server := start(t, options(t.TempDir()))
	elsewhere := server.keyOf("210987654321", identity.Grant{Access: identity.Admin})
	all := []*tenant{
		newTenant(t, server, "us-east-1", server.key, "markalpha"),
		newTenant(t, server, "eu-west-1", server.key, "markbravo"),
		newTenant(t, server, "us-east-1", elsewhere, "markcharlie"),
	}
	for step := range number("FESCUE_ISOLATION_STEPS", 1500) {
		s := all[r.IntN(len(all))]
		other := all[r.IntN(len(all))]
		what, sent, got := s.act(r, other)
		s.sees(t, fmt.Sprintf("step %d: %s", step, what), all, sent, got)
		if t.Failed() {
			return
		}
	}
	for _, s := range all {
		// What was published before arrives before this.
		s.device.publish("shared/end", s.mark+" ends")
		testkit.Until(t, "the last message", func() bool {
			return slices.ContainsFunc(s.received(), func(m paho.Message) bool { return string(m.Payload()) == s.mark+" ends" })
		})
		for _, m := range s.received() {
			s.sees(t, "MQTT "+m.Topic(), all, "", m.Topic()+" "+string(m.Payload()))
		}
		if len(s.received()) < 10 {
			t.Errorf("%s received %d messages only", s.mark, len(s.received()))
		}
	}
}

// sees checks an answer: no other's mark, and no id that is another's, unless a
// request named it. Its own new ids are remembered.
func (s *tenant) sees(t *testing.T, what string, all []*tenant, sent, got string) {
	t.Helper()
	for _, other := range all {
		if other != s && strings.Contains(got, other.mark) {
			t.Errorf("%s of %s shows the mark of %s: %.2000s", what, s.mark, other.mark, got)
		}
	}
	for _, id := range idPattern.FindAllString(sent, -1) {
		s.named[id] = true
	}
	for _, id := range idPattern.FindAllString(got, -1) {
		if s.named[id] || s.ids[id] {
			continue
		}
		for _, other := range all {
			if other != s && other.ids[id] {
				t.Errorf("%s of %s shows %s, which is %s's: %.2000s", what, s.mark, id, other.mark, got)
				return
			}
		}
		s.ids[id] = true
	}
}

func (s *tenant) received() []paho.Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.messages)
}

// newOutsider makes a partition with one of everything, all of the same names as
// in the others.
func newTenant(t *testing.T, server *server, region string, key cloud.AccessKey, mark string) *tenant {
	s := &tenant{site: newSite(t, server, region, key), mark: mark, pool: map[string][]string{}, ids: map[string]bool{}, named: map[string]bool{}}
	ctx := t.Context()
	c := iot.New(iot.Options{Region: region, BaseEndpoint: &s.base, HTTPClient: s.client, Credentials: s.sdk.Options().Credentials})
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	keys, err := c.CreateKeysAndCertificate(ctx, &iot.CreateKeysAndCertificateInput{SetAsActive: true})
	must(err)
	name := aws.String("Twin")
	_, err = c.CreateThing(ctx, &iot.CreateThingInput{ThingName: name})
	must(err)
	_, err = c.AttachThingPrincipal(ctx, &iot.AttachThingPrincipalInput{ThingName: name, Principal: keys.CertificateArn})
	must(err)
	_, err = c.CreatePolicy(ctx, &iot.CreatePolicyInput{PolicyName: name, PolicyDocument: aws.String(allowAll)})
	must(err)
	_, err = c.AttachPolicy(ctx, &iot.AttachPolicyInput{PolicyName: name, Target: keys.CertificateArn})
	must(err)
	s.core = core{thing: *name, certificateARN: *keys.CertificateArn}
	s.core.tls, err = tls.X509KeyPair([]byte(*keys.CertificatePem), []byte(*keys.KeyPair.PrivateKey))
	must(err)
	s.link, s.device = server.link(s.core), server.mqttClient(s.core)
	transport := &http.Transport{TLSClientConfig: server.trusting()}
	transport.TLSClientConfig.Certificates = []tls.Certificate{s.core.tls}
	t.Cleanup(transport.CloseIdleConnections)
	s.port, s.door = "https://"+server.DeviceAddr(), &http.Client{Transport: transport, Timeout: patience}
	s.device.wait("SUBSCRIBE", s.device.SubscribeMultiple(map[string]byte{
		"#": 1, "shared/#": 1, "$aws/things/Twin/shadow/#": 1, "$aws/events/greengrass/deployment/#": 1,
	}, func(_ paho.Client, m paho.Message) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.messages = append(s.messages, m)
	}))

	// A function of the same name with the partition's own code, in a group that
	// its core is offered.
	var code bytes.Buffer
	w := zip.NewWriter(&code)
	f, err := w.Create("main.py")
	must(err)
	_, err = io.WriteString(f, "# "+mark)
	must(err)
	must(w.Close())
	function := map[string]any{
		"FunctionName": "Twin", "Runtime": "python3.7", "Handler": "main.handler", "Role": s.shared["role"], "Description": mark, "Publish": true,
		"Code": map[string]any{"ZipFile": code.Bytes()},
	}
	if got := s.send("lambda", "POST", "/2015-03-31/functions", nil, encoded(function)); got.status != http.StatusCreated {
		t.Fatalf("%+v", got)
	}
	account := strings.Split(s.core.certificateARN, ":")[4]
	values := maps.Clone(s.shared)
	values["certificate"], values["ThingName"] = s.core.certificateARN, "Twin"
	arn := func(operation, body string) string {
		got := s.send("greengrass", "POST", "/greengrass/definition/"+operation, nil, body)
		var v map[string]string
		if json.Unmarshal([]byte(got.body), &v); v["LatestVersionArn"] == "" {
			t.Fatalf("%+v", got)
		}
		return v["LatestVersionArn"]
	}
	thing := "arn:aws:iot:" + region + ":" + account + ":thing/Twin"
	cores := arn("cores", `{"Name":"`+mark+`","InitialVersion":{"Cores":[{"Id":"`+mark+`","CertificateArn":"`+s.core.certificateARN+`","ThingArn":"`+thing+`"}]}}`)
	functions := arn("functions", `{"Name":"`+mark+`","InitialVersion":{"Functions":[{"Id":"`+mark+`","FunctionArn":"arn:aws:lambda:`+region+`:`+account+`:function:Twin:1","FunctionConfiguration":{"Environment":{"Execution":{"IsolationMode":"NoContainer"}}}}]}}`)
	devices := arn("devices", `{"Name":"`+mark+`","InitialVersion":{"Devices":[{"Id":"`+mark+`","CertificateArn":"`+s.core.certificateARN+`","ThingArn":"`+thing+`"}]}}`)
	var group struct{ Id, LatestVersion string }
	got := s.send("greengrass", "POST", "/greengrass/groups", nil, `{"Name":"`+mark+`","InitialVersion":{"CoreDefinitionVersionArn":"`+cores+
		`","DeviceDefinitionVersionArn":"`+devices+`","FunctionDefinitionVersionArn":"`+functions+`"}}`)
	must(json.Unmarshal([]byte(got.body), &group))
	s.group = group.Id
	offered := func(epoch int64) corelink.Offer {
		t.Helper()
		var deployment struct{ DeploymentId string }
		got := s.send("greengrass", "POST", "/greengrass/groups/"+group.Id+"/deployments", nil, `{"DeploymentType":"NewDeployment","GroupVersionId":"`+group.LatestVersion+`"}`)
		must(json.Unmarshal([]byte(got.body), &deployment))
		s.deployment = deployment.DeploymentId
		offer, err := s.link.GetDeployment(ctx, "Twin", corelink.Poll{After: epoch, Wait: patience})
		must(err)
		return offer
	}
	// The first deployment succeeds: discovery returns the group from here on.
	offer := offered(0)
	for _, event := range []fescue.DeploymentEvent{fescue.EventClaimed, fescue.EventStaged, fescue.EventSwitched, fescue.EventSucceeded} {
		_, err = s.link.UpdateStatus(ctx, s.group, s.deployment, thing, corelink.StatusReport{Event: event, Epoch: offer.Epoch})
		must(err)
	}
	got = s.send("greengrass", "PUT", "/greengrass/things/Twin/connectivityInfo", nil, `{"ConnectivityInfo":[{"Id":"`+mark+`","HostAddress":"10.0.0.1","Metadata":"`+mark+`"}]}`)
	if got.status != http.StatusOK {
		t.Fatalf("%+v", got)
	}
	if found := s.ask("GET", "/greengrass/discover/thing/Twin", ""); found.status != http.StatusOK || strings.Count(found.body, "GGGroupId") != 1 ||
		!strings.Contains(found.body, s.group) || !strings.Contains(found.body, mark) {
		t.Fatalf("discovery: %+v", found)
	}
	offer = offered(offer.Epoch)
	var envelope struct{ Payload string }
	must(json.Unmarshal(offer.Envelope, &envelope))
	manifest, err := base64.StdEncoding.DecodeString(envelope.Payload)
	must(err)
	for _, hash := range regexp.MustCompile(`[0-9a-f]{64}`).FindAllString(string(manifest), -1) {
		if body, err := s.link.GetArtifact(ctx, s.group, s.deployment, hash, 0); err == nil {
			body.Close()
			s.hashes = append(s.hashes, hash)
		}
	}
	if len(s.hashes) < 2 { // the document and the code
		t.Fatalf("the manifest names no artifact: %s", manifest)
	}
	for label, id := range map[string]string{"GroupId": s.group, "DeploymentId": s.deployment} {
		s.pool[label] = append(s.pool[label], id)
		s.ids[id] = true
	}
	return s
}

// act does something at random, with names that are the same everywhere and ids
// of its own or of another. It returns what it did, what it sent, and what came
// back.
func (s *tenant) act(r *rand.Rand, other *tenant) (what, sent, got string) {
	call := func(service, method, target, body string) (string, string, string) {
		a := s.send(service, method, target, nil, body)
		if a.status >= 500 {
			s.t.Errorf("%s %s: %+v", method, target, a)
		}
		return service + " " + method + " " + target, target + " " + body, a.body
	}
	switch r.IntN(15) {
	case 0:
		return call("s3", "PUT", "/fleet/"+strconv.Itoa(r.IntN(5)), s.mark+" object")
	case 1:
		return call("s3", "GET", []string{"/fleet/" + strconv.Itoa(r.IntN(5)), "/fleet?list-type=2", "/", "/fleet?uploads"}[r.IntN(4)], "")
	case 2:
		return call("iotdata", "POST", "/topics/shared%2Fapi", s.mark+" published")
	case 3:
		return call("iotdata", []string{"POST", "GET"}[r.IntN(2)], "/things/Twin/shadow", `{"state":{"reported":{"mark":"`+s.mark+`"}}}`)
	case 4:
		secret := []struct{ operation, body string }{
			{"CreateSecret", `{"Name":"twin","SecretString":"` + s.mark + `","ClientRequestToken":"` + fescue.NewID() + `"}`},
			{"GetSecretValue", `{"SecretId":"twin"}`}, {"ListSecrets", `{}`}, {"DescribeSecret", `{"SecretId":"twin"}`},
		}[r.IntN(4)]
		a := s.send("secretsmanager", "POST", "/", http.Header{"X-Amz-Target": {"secretsmanager." + secret.operation}, "Content-Type": {"application/x-amz-json-1.1"}}, secret.body)
		return secret.operation, secret.body, a.body
	case 5:
		return call("lambda", "GET", []string{"/2015-03-31/functions", "/2015-03-31/functions/Twin", "/2015-03-31/functions/Twin/versions"}[r.IntN(3)], "")
	case 6:
		return call("iot", "GET", []string{"/things", "/certificates", "/policies", "/things/Twin", "/things/Twin/principals", "/policies/Twin",
			"/certificates/" + strings.SplitN(other.core.certificateARN, "/", 2)[1]}[r.IntN(7)], "")
	case 7:
		what, sent, got = call("greengrass", "GET", "/fescue/v1/audit?MaxResults=1000", "")
		// What has no Region is the account's, for instance who made its keys.
		return what, sent, regexp.MustCompile(`\{"Time":[^}]*\}`).ReplaceAllStringFunc(got, func(record string) string {
			if !strings.Contains(record, `"Region":`) {
				return ""
			}
			return record
		})
	case 8:
		return call("greengrass", "GET", []string{"/fescue/v1/deployments?DeploymentStatus=InProgress", "/fescue/v1/deployments?DeploymentStatus=Failure", "/fescue/v1/events",
			"/fescue/v1/groups/" + other.group + "/deployments/" + other.deployment + "/timeline"}[r.IntN(4)], "")
	case 9:
		s.device.publish("shared/device", s.mark+" published")
		return "MQTT", "", ""
	case 10:
		return s.fetch(r, other)
	case 11:
		return s.knock(r, other)
	default:
		return s.operate(r, other)
	}
}

// fetch asks for an artifact by its hash, as the core does.
func (s *tenant) fetch(r *rand.Rand, other *tenant) (what, sent, got string) {
	from := []*tenant{s, other}[r.IntN(2)]
	hash := other.hashes[r.IntN(len(other.hashes))]
	body, err := s.link.GetArtifact(s.t.Context(), from.group, from.deployment, hash, 0)
	what = "artifact " + hash
	if err != nil { // another's, or its own deployment is over
		return what, from.group + from.deployment + hash, err.Error()
	}
	defer body.Close()
	content, err := io.ReadAll(body)
	if err != nil {
		s.t.Error(err)
	}
	if from != s || other != s && !slices.Contains(s.hashes, hash) {
		s.t.Errorf("%s was given the artifact %s of %s", s.mark, hash, other.mark)
	}
	return what, hash, string(content)
}

// knock calls what cores and devices call, as its own core.
func (s *tenant) knock(r *rand.Rand, other *tenant) (what, sent, got string) {
	theirs := "/greengrass/groups/" + other.group + "/deployments/" + other.deployment + "/cores/" +
		url.PathEscape(strings.Join(strings.Split(other.core.certificateARN, ":")[:5], ":")+":thing/Twin")
	request := []struct{ method, path, body string }{
		{"GET", "/things/Twin/shadow", ""},
		{"POST", "/things/Twin/shadow", `{"state":{"reported":{"core":"` + s.mark + `"}}}`},
		{"POST", "/greengrass/cores/Twin/shadows/batch", `{"entries":[{"operation":"get","thing":"Twin"},{"operation":"update","thing":"Twin","name":"n","payload":{"state":{"reported":{"core":"` + s.mark + `"}}}}]}`},
		{"GET", "/greengrass/cores/Twin/deployment", ""},
		{"GET", "/greengrass/discover/thing/Twin", ""},
		{"PUT", theirs, `{"Status":"Success","Epoch":1}`},
		{"PUT", theirs + "/progress", `{"Step":"` + s.mark + `"}`},
		{"PUT", theirs + "/check", `{"Id":"` + fescue.NewID() + `"}`},
	}[r.IntN(8)]
	if request.method == "PUT" && other == s {
		request.method = "GET" // it would end its own deployment
	}
	answer := s.ask(request.method, request.path, request.body)
	what = request.method + " " + request.path
	if answer.status >= 500 || request.method == "PUT" && answer.status < 400 {
		s.t.Errorf("%s of %s: %+v", what, s.mark, answer)
	}
	return what, request.path + request.body, answer.body
}

// ask sends a request to the port for cores and devices.
func (s *tenant) ask(method, path, body string) answer {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.port+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	resp, err := s.door.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return answer{status: resp.StatusCode, body: string(data)}
}

// operate calls one of the 92 operations.
func (s *tenant) operate(r *rand.Rand, other *tenant) (what, sent, got string) {
	op := s.operation(model.Model[r.IntN(len(model.Model))].Name)
	values := maps.Clone(s.shared)
	for label := range strings.FieldsSeq(strings.Join(op.labels(), " ") + " GroupVersionId") {
		from := []*tenant{s, other}[r.IntN(2)]
		if pool := from.pool[label]; len(pool) > 0 {
			values[label] = pool[r.IntN(len(pool))]
		}
		if values[label] == "" {
			values[label] = fescue.NewID()
		}
	}
	body := strings.NewReplacer(`"Name":"n"`, `"Name":"`+s.mark+`"`, `"Name":"m"`, `"Name":"`+s.mark+`"`, `"a":"b"`, `"a":"`+s.mark+`"`,
		`"Metadata":"m"`, `"Metadata":"`+s.mark+`"`).Replace(fill(op.body, values))
	answer := s.call(op, values, body, nil)
	if answer.status >= 500 {
		s.t.Errorf("%s %v %s: %+v", op.Name, values, body, answer)
	}
	s.learn(op, answer)
	var labels []string
	for _, label := range op.labels() {
		labels = append(labels, values[label])
	}
	escaped := url.QueryEscape(strings.Join(labels, " "))
	return op.Name, strings.Join(labels, " ") + " " + escaped + " " + body, answer.body
}

// learn keeps the ids of what was made for later labels.
func (s *tenant) learn(op operation, a answer) {
	var v map[string]any
	if a.status/100 != 2 || json.Unmarshal([]byte(a.body), &v) != nil {
		return
	}
	keep := func(label string, value any) {
		if text, ok := value.(string); ok && text != "" && len(s.pool[label]) < 50 {
			s.pool[label] = append(s.pool[label], text)
		}
	}
	for _, k := range kinds {
		switch op.Name {
		case "Create" + k.noun:
			keep(k.label(), v["Id"])
			keep(k.noun+"VersionId", v["LatestVersion"])
			keep("ResourceArn", v["Arn"])
		case "Create" + k.noun + "Version":
			keep(k.noun+"VersionId", v["Version"])
		}
	}
	for _, label := range []string{"DeploymentId", "BulkDeploymentId"} {
		keep(label, v[label])
	}
	if arn, ok := v["GroupCertificateAuthorityArn"].(string); ok {
		keep("CertificateAuthorityId", arn[strings.LastIndex(arn, "/")+1:])
	}
}
