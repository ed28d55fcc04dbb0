package recovery

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	"github.com/fescue-edge/fescue"
)

// Rewrite moves a group to another account or Region: every ARN of its own
// partition becomes one of to. Variables and parameters of functions and
// connectors are not touched: what they name may lie outside.
func (g *Group) Rewrite(to fescue.Partition) error {
	from := g.Partition.fescue()
	if from == to {
		return nil
	}
	r := rewriter{from, to}
	for i := range g.Policies {
		g.Policies[i].PolicyDocument = r.document(g.Policies[i].PolicyDocument)
	}
	for i := range g.Functions {
		g.Functions[i].Role = r.role(g.Functions[i].Role)
	}
	for _, c := range append(g.Definitions[:len(g.Definitions):len(g.Definitions)], g.Group) {
		kind, err := c.kindOf()
		if err != nil {
			return err
		}
		for i := range c.Versions {
			body, err := r.body(kind, c.Versions[i].Definition)
			if err != nil {
				return fmt.Errorf("%s %s: version %s: %w", c.Kind, c.Id, c.Versions[i].Version, err)
			}
			c.Versions[i].Definition = body
		}
	}
	g.Partition = Partition(to)
	return nil
}

// rewriter changes what lies in from to the same in to.
type rewriter struct{ from, to fescue.Partition }

// arn rewrites one ARN of the group's partition. Connectors have no account in
// theirs, SageMaker's jobs stay where AWS has them.
func (r rewriter) arn(text string) string {
	arn, err := fescue.ParseARN(text)
	if err != nil || arn.AWS != r.from.AWS || arn.Region != r.from.Region {
		return text
	}
	connector := arn.Service == "greengrass" && arn.Account == ""
	if arn.Service == "sagemaker" || arn.Account != r.from.Account && !connector {
		return text
	}
	arn.AWS, arn.Region = r.to.AWS, r.to.Region
	if !connector {
		arn.Account = r.to.Account
	}
	return arn.String()
}

// document rewrites the ARNs inside a policy. Wildcards stand where parts of
// them would, so it goes by their text.
func (r rewriter) document(text string) string {
	own := regexp.MustCompile(`arn:` + regexp.QuoteMeta(r.from.AWS) + `:(iot|greengrass):` +
		regexp.QuoteMeta(r.from.Region) + `:` + regexp.QuoteMeta(r.from.Account) + `:`)
	return own.ReplaceAllString(text, `arn:`+r.to.AWS+`:$1:`+r.to.Region+`:`+r.to.Account+`:`)
}

// role rewrites an IAM role, whose ARN has no Region.
func (r rewriter) role(text string) string {
	rest, ok := strings.CutPrefix(text, "arn:"+r.from.AWS+":iam::"+r.from.Account+":")
	if !ok {
		return text
	}
	return "arn:" + r.to.AWS + ":iam::" + r.to.Account + ":" + rest
}

// bodies has, for each kind, the ARNs in a version's body.
var bodies = map[string]func(r rewriter, body []byte) (any, error){
	fescue.GroupKind.Segment: rewriting(func(r rewriter, v *fescue.GroupVersion) {
		each(r.arn, &v.ConnectorDefinitionVersionArn, &v.CoreDefinitionVersionArn, &v.DeviceDefinitionVersionArn, &v.FunctionDefinitionVersionArn,
			&v.LoggerDefinitionVersionArn, &v.ResourceDefinitionVersionArn, &v.SubscriptionDefinitionVersionArn)
	}),
	fescue.ConnectorKind.Segment: rewriting(func(r rewriter, v *fescue.ConnectorDefinitionVersion) {
		for i := range v.Connectors {
			each(r.arn, &v.Connectors[i].ConnectorArn)
		}
	}),
	fescue.CoreKind.Segment: rewriting(func(r rewriter, v *fescue.CoreDefinitionVersion) {
		for i := range v.Cores {
			each(r.arn, &v.Cores[i].ThingArn, &v.Cores[i].CertificateArn)
		}
	}),
	fescue.DeviceKind.Segment: rewriting(func(r rewriter, v *fescue.DeviceDefinitionVersion) {
		for i := range v.Devices {
			each(r.arn, &v.Devices[i].ThingArn, &v.Devices[i].CertificateArn)
		}
	}),
	fescue.FunctionKind.Segment: rewriting(func(r rewriter, v *fescue.FunctionDefinitionVersion) {
		for i := range v.Functions {
			each(r.arn, &v.Functions[i].FunctionArn)
		}
	}),
	fescue.LoggerKind.Segment: rewriting(func(rewriter, *fescue.LoggerDefinitionVersion) {}),
	fescue.ResourceKind.Segment: rewriting(func(r rewriter, v *fescue.ResourceDefinitionVersion) {
		for i := range v.Resources {
			if secret := v.Resources[i].ResourceDataContainer.SecretsManagerSecretResourceData; secret != nil {
				each(r.arn, &secret.ARN)
			}
		}
	}),
	fescue.SubscriptionKind.Segment: rewriting(func(r rewriter, v *fescue.SubscriptionDefinitionVersion) {
		for i := range v.Subscriptions {
			each(r.arn, &v.Subscriptions[i].Source, &v.Subscriptions[i].Target)
		}
	}),
}

func (r rewriter) body(k fescue.Kind, body []byte) (json.RawMessage, error) {
	v, err := bodies[k.Segment](r, body)
	if err != nil {
		return nil, err
	}
	return encode(v)
}

func rewriting[T any](change func(rewriter, *T)) func(rewriter, []byte) (any, error) {
	return func(r rewriter, body []byte) (any, error) {
		var v T
		if err := json.Unmarshal(body, &v); err != nil {
			return nil, err
		}
		change(r, &v)
		return v, nil
	}
}

func each(change func(string) string, texts ...*string) {
	for _, t := range texts {
		*t = change(*t)
	}
}
