package recovery

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/bundle"
)

// Folder is the folder of a V1 core.
type Folder struct {
	// Root has config/ and certs/.
	Root fs.FS
	// Deployment has group/ and lambda/: ggc/deployment below the root, or
	// deployment below the core's write directory.
	Deployment fs.FS
}

// Options are what an operator decides.
type Options struct {
	// Name is the group's name; empty takes it from the core's.
	Name string
	// Alias, when it is not empty, is made for each function and stands in the
	// place of version numbers.
	Alias string
	// NoContainer has functions run without a container that had one.
	NoContainer bool
	// CorePolicy and DevicePolicy are the IoT policies that stand in for the
	// originals, which no folder has.
	CorePolicy, DevicePolicy string
	// DeviceCertificates are certificates of client devices, in PEM. Those that
	// the group does not name are left out.
	DeviceCertificates [][]byte
	// Now is the time that certificates are held against; zero holds them against
	// none.
	Now time.Time
}

// ErrFolder is wrapped by everything that Read refuses.
var ErrFolder = errors.New("the group cannot be recovered from this folder")

// Read reads the folder of a V1 core. Of the files in certs only the one that
// config.json names as the core's certificate is opened, private keys never.
func Read(f Folder, o Options) (*Group, *Report, error) {
	r := &reading{Folder: f, Options: o, report: new(Report), group: &Group{Format: Format}}
	if err := r.read(); err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrFolder, err)
	}
	return r.group, r.report, nil
}

// reading is one run of Read.
type reading struct {
	Folder
	Options
	doc       document
	partition fescue.Partition
	coreThing string
	config    configFile
	group     *Group
	report    *Report
	// version refers to the definitions so far.
	version fescue.GroupVersion
	// groupID, versionID are the group's and its version's.
	groupID, versionID string
	// renamed is what functions are called now, by the ARN in group.json.
	renamed map[string]string
	// manifest is what a core of Fescue's runs, and zero where that is not known.
	manifest bundle.Manifest
}

func (r *reading) read() error {
	if err := r.readDocument(); err != nil {
		return err
	}
	if err := r.readConfig(); err != nil {
		return err
	}
	if err := r.readManifest(); err != nil {
		r.report.warn(manifestFile, "what the core runs is not known by it, nor which models lie in .store: %v", err)
	}
	r.nameGroup()
	if r.NoContainer {
		r.leaveContainers()
	}
	r.judge()
	var problems []error
	for _, step := range []func() error{r.readCore, r.readDevices, r.readFunctions, r.readResources, r.readSubscriptions, r.readLoggers} {
		problems = append(problems, step())
	}
	if err := errors.Join(problems...); err != nil {
		return err
	}
	body, err := encode(r.version)
	if err != nil {
		return err
	}
	r.group.Group.Versions = []Version{{Version: r.versionID, Definition: body}}
	r.reportLosses()
	return nil
}

func (r *reading) readDocument() error {
	const name = "group/group.json"
	data, err := readFile(r.Deployment, name, maxGroupFile)
	if errors.Is(err, fs.ErrNotExist) {
		return r.errNoDocument(name)
	}
	if err != nil {
		return err
	}
	var unknown []string
	if r.doc, unknown, err = parseDocument(data); err != nil {
		return err
	}
	if len(unknown) > 0 {
		r.report.warn("group.json", "members that are not known and not restored: %s", strings.Join(unknown, ", "))
	}
	switch len(r.doc.Cores) {
	case 1:
	case 0:
		return errors.New("group.json names no core: nothing was ever deployed here, or the deployment was reset. There is nothing to recover")
	default:
		return fmt.Errorf("group.json names %d cores; a deployed group has one", len(r.doc.Cores))
	}
	if r.partition, r.groupID, r.versionID, err = r.doc.groupIDs(); err != nil {
		return err
	}
	if r.coreThing, err = r.thing("Cores", r.doc.Cores[0].ThingArn); err != nil {
		return err
	}
	if region := r.doc.Region; region != nil && *region != r.partition.Region {
		r.report.warn("group.json", "Region is %q, its Arn says %s, which counts", *region, r.partition.Region)
	}
	r.group.Partition = Partition(r.partition)
	r.report.DeploymentID = r.doc.deploymentID()
	return nil
}

// errNoDocument says where the document may be instead.
func (r *reading) errNoDocument(name string) error {
	var config configFile
	if data, err := readFile(r.Root, configName, maxConfigFile); err == nil && json.Unmarshal(data, &config) == nil && config.WriteDirectory != "" {
		return fmt.Errorf("there is no %s in the deployment folder. %s has the write directory %s: name its deployment folder, for example with --deployment %s/deployment",
			name, configName, config.WriteDirectory, config.WriteDirectory)
	}
	return fmt.Errorf("there is no %s in the deployment folder (ggc/deployment below a core's root)", name)
}

// thing is the name in the ARN of a thing of the group's partition.
func (r *reading) thing(where, text string) (string, error) {
	arn, err := fescue.ParseARN(text)
	name, ok := arn.ThingName()
	if err != nil || !ok || !fescue.ValidThingName(name) {
		return "", fmt.Errorf("group.json: %s: %.256q is not the ARN of a thing", where, text)
	}
	if arn.Partition() != r.partition {
		return "", fmt.Errorf("group.json: %s: %.256q lies in another account or Region than the group", where, text)
	}
	return name, nil
}

// certificate is the id in the ARN of a certificate of the group's partition.
func (r *reading) certificate(where, text string) (string, error) {
	arn, err := fescue.ParseARN(text)
	id, ok := arn.CertificateID()
	if err != nil || !ok || !fescue.ValidHash(id) {
		return "", fmt.Errorf("group.json: %s: %.256q is not the ARN of a certificate", where, text)
	}
	if arn.Partition() != r.partition {
		return "", fmt.Errorf("group.json: %s: %.256q lies in another account or Region than the group", where, text)
	}
	return id, nil
}

func (r *reading) nameGroup() {
	name := r.Name
	if name == "" {
		name = r.coreThing
		for _, suffix := range []string{"_Core", "-core", "_core", "-Core"} {
			if rest, ok := strings.CutSuffix(name, suffix); ok && rest != "" {
				name = rest
				break
			}
		}
		r.report.assume("group", "the name %s, from the core's name; --name gives another", name)
	}
	r.group.Group = Container{Kind: fescue.GroupKind.Segment, Id: r.groupID, Name: name}
}

// define adds a definition with one version. Its ids are new, since no folder has
// the old ones, and the same at each reading.
func (r *reading) define(k fescue.Kind, reference *string, body any) error {
	text, err := encode(body)
	if err != nil {
		return err
	}
	space := uuid.NewSHA1(uuid.NameSpaceURL, []byte(r.groupID+"/"+r.versionID+"/"+k.Segment))
	id, version := space.String(), uuid.NewSHA1(space, []byte("version")).String()
	r.group.Definitions = append(r.group.Definitions, Container{
		Kind: k.Segment, Id: id, Name: r.group.Group.Name, Versions: []Version{{Version: version, Definition: text}},
	})
	*reference = r.partition.VersionARN(k, id, version)
	return nil
}

// encode is a version's body as the control plane keeps it.
func encode(v any) (json.RawMessage, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode %T: %w", v, err)
	}
	return text, nil
}

func (r *reading) readCore() error {
	const where = "Cores"
	named, err := r.certificate(where, r.doc.Cores[0].CertArn)
	if err != nil {
		return err
	}
	id, err := r.coreCertificate(named)
	if err != nil {
		return err
	}
	synced, strange := r.doc.synced()
	for _, entry := range strange {
		r.report.supply("shadow sync", "the entry %.300s is not understood; set SyncShadow of the thing that it means", entry)
	}
	arn := r.partition.ThingARN(r.coreThing)
	sync := synced[arn] || synced[r.coreThing]
	r.report.assume("core", "the Id %s, from its thing's name", r.coreThing)
	return r.define(fescue.CoreKind, &r.version.CoreDefinitionVersionArn, fescue.CoreDefinitionVersion{Cores: []fescue.Core{{
		Id: r.coreThing, ThingArn: arn, CertificateArn: r.partition.CertificateARN(id), SyncShadow: &sync,
	}}})
}

func (r *reading) readDevices() error {
	if len(r.doc.Devices) == 0 {
		return nil
	}
	pems, err := r.deviceCertificates()
	if err != nil {
		return err
	}
	synced, _ := r.doc.synced()
	policy := r.coreThing + "-devices-policy"
	var devices fescue.DeviceDefinitionVersion
	var missing int
	for _, d := range r.doc.Devices {
		name, err := r.thing("Devices", d.ThingArn)
		if err != nil {
			return err
		}
		id, err := r.certificate("Devices", d.CertArn)
		if err != nil {
			return err
		}
		sync := synced[d.ThingArn] || synced[name]
		devices.Devices = append(devices.Devices, fescue.Device{Id: name, ThingArn: d.ThingArn, CertificateArn: d.CertArn, SyncShadow: &sync})
		thing := Thing{ThingName: name}
		if text, ok := pems[id]; ok {
			r.register(id, text, policy)
			thing.Principals = []string{id}
		} else {
			missing++
			r.report.supply("device "+name, "its certificate %s in PEM, in a folder named with --certificates; the folder of a core has only the id, and a deployment fails until it is registered", id)
		}
		r.group.Things = append(r.group.Things, thing)
	}
	if missing < len(r.doc.Devices) {
		r.assumePolicy(policy, r.DevicePolicy, "the devices' certificates")
	}
	r.report.assume("devices", "their Ids, from their things' names")
	r.report.warn("devices", "they have to discover the core anew: the group gets another certificate authority")
	return r.define(fescue.DeviceKind, &r.version.DeviceDefinitionVersionArn, devices)
}

// register adds a certificate to those that are registered.
func (r *reading) register(id string, text []byte, policy string) {
	for _, c := range r.group.Certificates {
		if c.CertificateId == id {
			return
		}
	}
	r.group.Certificates = append(r.group.Certificates, Certificate{
		CertificateId: id, CertificatePem: string(text), Status: fescue.CertificateActive, Policies: []string{policy}, Assumed: true,
	})
}

func (r *reading) assumePolicy(name, document, whom string) {
	r.group.Policies = append(r.group.Policies, Policy{PolicyName: name, PolicyDocument: document, Assumed: true})
	r.report.assume("policy "+name, "for %s; the originals are not in the folder. Put your own in its place where it gives too much", whom)
}

func (r *reading) readSubscriptions() error {
	list := r.doc.GroupDefinitions.Subscriptions.Content
	if len(list) == 0 {
		return nil
	}
	known := map[string]bool{fescue.CloudEndpoint: true, fescue.ShadowServiceEndpoint: true}
	for _, d := range r.doc.Devices {
		known[d.ThingArn] = true
	}
	var table fescue.SubscriptionDefinitionVersion
	for _, s := range list {
		for _, end := range []*string{&s.Source, &s.Target} {
			if now, ok := r.renamed[*end]; ok {
				*end = now
			} else if !known[*end] {
				r.report.warn("subscription "+s.Id, "%s is nothing that the group has", *end)
			}
		}
		table.Subscriptions = append(table.Subscriptions, s)
	}
	return r.define(fescue.SubscriptionKind, &r.version.SubscriptionDefinitionVersionArn, table)
}

func (r *reading) readLoggers() error {
	list := r.doc.GroupDefinitions.Logging.Content
	if len(list) == 0 {
		return nil
	}
	var loggers fescue.LoggerDefinitionVersion
	for _, l := range list {
		loggers.Loggers = append(loggers.Loggers, fescue.Logger{
			Id: l.Component + "-" + l.Type, Component: l.Component, Level: l.Level, Space: l.Space, Type: l.Type,
		})
	}
	r.report.assume("loggers", "their Ids, from component and type")
	return r.define(fescue.LoggerKind, &r.version.LoggerDefinitionVersionArn, loggers)
}

// reportLosses says what no folder has.
func (r *reading) reportLosses() {
	r.report.assume("definitions", "the group's name, and new ids")
	history := "older versions, deployments and dates are not in the folder"
	if id := r.report.DeploymentID; id != "" {
		history += "; the last deployment was " + id
	}
	r.report.assume("group", "that this version is the first: %s", history)
	r.report.assume("group.json", "that nobody edited it after the deployment: it has no signature")
	r.report.supply("group", "its role (AssociateRoleToGroup), if functions used one; connectivity information is told anew by the core")
}

// readResources restores the resources by the members that their data have: what
// type names they had beside is not known of all.
func (r *reading) readResources() error {
	list := r.doc.GroupDefinitions.Resources.Content
	if len(list) == 0 {
		return nil
	}
	var resources fescue.ResourceDefinitionVersion
	for _, res := range list {
		definition, ok := res.Definition()
		if !ok {
			return fmt.Errorf("group.json: the data of resource %.128q (%.64s) are of no known kind", res.Id, res.Type)
		}
		if modelSource(res) != "" {
			if err := r.restoreModel(res, &definition); err != nil {
				return err
			}
		}
		if secret := res.Data.ARN; secret != "" {
			r.report.supply("resource "+res.Id, "the value of the secret %s: it is encrypted on the core and has to be entered again", secret)
		}
		resources.Resources = append(resources.Resources, definition)
	}
	r.report.assume("resources", "their Names, from their Ids")
	return r.define(fescue.ResourceKind, &r.version.ResourceDefinitionVersionArn, resources)
}
