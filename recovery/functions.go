package recovery

import (
	"errors"
	"fmt"
	"io/fs"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/bundle"
)

var versionNumber = regexp.MustCompile(`^[1-9][0-9]{0,17}$`)

// readFunctions restores functions with their code, and connectors, which stood
// among them.
func (r *reading) readFunctions() error {
	lambdas := r.doc.GroupDefinitions.Lambdas
	folders, err := r.codeFolders()
	if err != nil {
		return err
	}
	r.renamed = make(map[string]string)
	version := fescue.FunctionDefinitionVersion{DefaultConfig: lambdas.DefaultConfig}
	var connectors fescue.ConnectorDefinitionVersion
	var problems []error
	ids := make(map[string]bool)
	used := make(map[string]bool)
	for _, f := range lambdas.Content {
		arn, err := fescue.ParseARN(f.FunctionArn)
		name, number, ok := arn.Function()
		_, system := arn.SystemFunction()
		switch {
		case err != nil || !ok:
			problems = append(problems, fmt.Errorf("group.json: %.256q is not the ARN of a function", f.FunctionArn))
			continue
		case system:
			r.renamed[f.FunctionArn] = f.FunctionArn // it has no code
		case !versionNumber.MatchString(number):
			problems = append(problems, fmt.Errorf("group.json: the function %.256q has no version number", f.FunctionArn))
			continue
		case arn.Account == bundle.ConnectorAccount:
			connectors.Connectors = append(connectors.Connectors, r.connector(f, arn, name, number))
			continue
		case arn.Partition() != r.partition:
			problems = append(problems, fmt.Errorf("group.json: the function %.256q lies in another account or Region than the group", f.FunctionArn))
			continue
		default:
			if err := r.publish(f, name, number, folders, used); err != nil {
				problems = append(problems, err)
				continue
			}
		}
		id := name
		if ids[id] {
			id = name + "-" + number
		}
		ids[id] = true
		version.Functions = append(version.Functions, r.configured(f, id))
	}
	r.reportLeftovers(folders, used)
	r.reportFunctions(version)
	if len(connectors.Connectors) > 0 {
		problems = append(problems, r.define(fescue.ConnectorKind, &r.version.ConnectorDefinitionVersionArn, connectors))
	}
	if len(version.Functions) > 0 || version.DefaultConfig != nil {
		problems = append(problems, r.define(fescue.FunctionKind, &r.version.FunctionDefinitionVersionArn, version))
	}
	return errors.Join(problems...)
}

// reportFunctions says what is assumed of the functions, and which of them name
// resources that the group does not have.
func (r *reading) reportFunctions(version fescue.FunctionDefinitionVersion) {
	if len(version.Functions) == 0 {
		return
	}
	r.report.assume("functions", "their Ids, from their names")
	if r.Alias == "" {
		r.report.assume("functions", "that the group names them by version number: group.json has no aliases. --alias NAME makes one for each")
	}
	if len(r.group.Functions) > 0 {
		r.report.assume("functions", "the IAM role %s: roles are not in the folder, and a core does not use them. Code hashes differ from before, since the zips are made anew", r.lambdaRole())
	}
	for _, f := range version.Functions {
		if f.FunctionConfiguration == nil || f.FunctionConfiguration.Environment == nil {
			continue
		}
		for _, p := range f.FunctionConfiguration.Environment.ResourceAccessPolicies {
			if !slices.ContainsFunc(r.doc.GroupDefinitions.Resources.Content, func(x bundle.Resource) bool { return x.Id == p.ResourceId }) {
				r.report.warn("function "+f.Id, "it uses the resource %.128q, which group.json does not have", p.ResourceId)
			}
		}
	}
}

// lambdaRole stands in for the roles of functions.
func (r *reading) lambdaRole() string {
	return "arn:" + r.partition.AWS + ":iam::" + r.partition.Account + ":role/recovered"
}

// codeFolders are the folders below lambda, by their names without what distinguishes the
// two spellings apart: the ARN as it is, or with dots for its colons.
func (r *reading) codeFolders() (map[string]string, error) {
	entries, err := fs.ReadDir(r.Deployment, "lambda")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the folder of the functions: %w", err)
	}
	folders := make(map[string]string, len(entries))
	for _, e := range entries {
		if have, ok := folders[folded(e.Name())]; ok && strings.Contains(have, ":") {
			continue // the documented spelling wins
		}
		folders[folded(e.Name())] = e.Name()
	}
	return folders, nil
}

func folded(name string) string { return strings.ReplaceAll(name, ":", ".") }

// publish adds the version of a function with the code in its folder.
func (r *reading) publish(f bundle.Lambda, name, number string, folders map[string]string, used map[string]bool) error {
	about := "function " + name + ":" + number
	r.renamed[f.FunctionArn] = f.FunctionArn
	if r.Alias != "" {
		r.renamed[f.FunctionArn] = r.partition.FunctionARN(name) + ":" + r.Alias
	}
	c := f.DeploymentConfiguration
	folder, ok := folders[folded(f.FunctionArn)]
	used[folder] = true
	var files []packedFile
	if ok {
		var err error
		if files, err = scan(r.Deployment, "lambda/"+folder, bundle.MaxUnpacked); err != nil {
			return fmt.Errorf("%s: %w", about, err)
		}
	}
	if len(files) == 0 {
		r.report.supply(about, "its code: there is nothing in lambda/%s. Unpack its package there and run this again; until then a deployment fails", f.FunctionArn)
		return nil
	}
	if c.Runtime == "" || c.Handler == "" {
		r.report.supply(about, "its runtime and handler: group.json does not have both. Publish it, and give it its version number, by hand")
		return nil
	}
	program := ""
	if c.Runtime == fescue.ExecutableRuntime {
		program = fescue.EntryPoint(c.Runtime, c.Handler, c.Executable)
		if !slices.ContainsFunc(files, func(x packedFile) bool { return x.name == program }) {
			r.report.warn(about, "its program %.128q is not in lambda/%s", program, folder)
		}
	}
	function := Function{
		FunctionName: name, Version: number, Runtime: c.Runtime, Handler: c.Handler, Description: c.Description, Role: r.lambdaRole(),
		pack: func() ([]byte, error) { return packCode(r.Deployment, "lambda/"+folder, files, program) },
	}
	if r.Alias != "" {
		function.Aliases = []Alias{{Name: r.Alias}}
	}
	if slices.ContainsFunc(r.group.Functions, func(x Function) bool { return x.FunctionName == name }) && r.Alias != "" {
		return fmt.Errorf("%s: the group has two versions of it, which cannot both be the alias %s; leave out --alias", about, r.Alias)
	}
	r.group.Functions = append(r.group.Functions, function)
	return nil
}

// configured is the function as the group's definition has it.
func (r *reading) configured(f bundle.Lambda, id string) fescue.Function {
	c := f.DeploymentConfiguration
	for _, arg := range c.ExecArgs {
		if strings.ContainsAny(arg, " \t\n") {
			r.report.warn("function "+id, "its argument %.128q has white space, which the API's one string of arguments cannot carry", arg)
		}
	}
	configuration := fescue.FunctionConfiguration{
		EncodingType: c.EncodingType, ExecArgs: strings.Join(c.ExecArgs, " "), Executable: c.Executable,
		MemorySize: c.MemorySize, Pinned: c.Pinned, Timeout: c.Timeout,
	}
	if !reflect.ValueOf(c.Environment).IsZero() {
		environment := c.Environment
		configuration.Environment = &environment
	}
	out := fescue.Function{Id: id, FunctionArn: r.renamed[f.FunctionArn]}
	if configuration != (fescue.FunctionConfiguration{}) {
		out.FunctionConfiguration = &configuration
	}
	return out
}

// reportLeftovers names the folders of versions that the group does not have any
// more.
func (r *reading) reportLeftovers(folders map[string]string, used map[string]bool) {
	var left []string
	for _, name := range folders {
		if !used[name] {
			left = append(left, name)
		}
	}
	if len(left) > 0 {
		slices.Sort(left)
		r.report.warn("code", "left alone, since group.json does not name it: %s", strings.Join(left, ", "))
	}
}

// connectors are the names that connectors have in their ARNs (AWS IoT
// Greengrass V1 developer guide, "AWS-provided Greengrass connectors"). Those of
// the two machine learning connectors go on with an architecture.
var connectors = []string{
	"CloudWatchMetrics", "DeviceDefender", "DockerApplicationDeployment", "IoTAnalytics", "IoTEIPProtocolAdaptor", "IoTSiteWise",
	"KinesisFirehose", "MLFeedback", "ImageClassification", "ObjectDetection", "ModbusRTUProtocolAdapter", "ModbusTCPConnector",
	"RaspberryPiGPIO", "SerialStream", "ServiceNowMetricBaseIntegration", "SNS", "SplunkIntegration", "TwilioNotifications",
}

// connector is a connector, recovered from the function that it ran as. How the
// original wrote connectors is not known for sure, so each is to be confirmed.
func (r *reading) connector(f bundle.Lambda, arn fescue.ARN, name, number string) fescue.Connector {
	i := slices.IndexFunc(connectors, func(known string) bool {
		return strings.EqualFold(name, known) || strings.EqualFold(name, known+"Client")
	})
	machineLearning := strings.HasPrefix(name, "ImageClassification") || strings.HasPrefix(name, "ObjectDetection")
	if i >= 0 {
		name = connectors[i]
	} else if !machineLearning {
		r.report.warn("connector "+name, "no connector of this name is known")
	}
	connector := fescue.Connector{
		Id: name, Parameters: f.DeploymentConfiguration.Environment.Variables,
		ConnectorArn: "arn:" + arn.AWS + ":greengrass:" + r.partition.Region + "::/connectors/" + name + "/versions/" + number,
	}
	r.renamed[f.FunctionArn] = connector.ConnectorArn
	r.report.assume("connector "+name, "%s with %d parameters, from the function %s: confirm it", connector.ConnectorArn, len(connector.Parameters), f.FunctionArn)
	return connector
}
