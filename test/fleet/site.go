//go:build linux

package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/greengrass"
	"github.com/aws/aws-sdk-go-v2/service/greengrass/types"
	"github.com/aws/aws-sdk-go-v2/service/iot"
	iottypes "github.com/aws/aws-sdk-go-v2/service/iot/types"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"golang.org/x/sync/errgroup"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/corelink"
	"github.com/fescue-edge/fescue/pki"
	"github.com/fescue-edge/fescue/testkit/programs"
)

// site is the server as its operator calls it, with the AWS SDK.
type site struct {
	cfg        aws.Config
	partition  fescue.Partition
	greengrass *greengrass.Client
	iot        *iot.Client
	s3         *s3.Client
}

// ownKey is the key of a server that was started here.
func ownKey(api string) aws.Config {
	return aws.Config{
		Region: programs.Region, BaseEndpoint: aws.String("http://" + api),
		Credentials: credentials.NewStaticCredentialsProvider(programs.KeyID, programs.Secret, ""),
	}
}

// environmentKey is found as the AWS CLI finds it.
func environmentKey(ctx context.Context, endpoint string) (aws.Config, error) {
	cfg, err := config.LoadDefaultConfig(ctx, config.WithBaseEndpoint(endpoint))
	if err != nil {
		return cfg, fmt.Errorf("read AWS configuration: %w", err)
	}
	return cfg, nil
}

func newSite(ctx context.Context, cfg aws.Config) (*site, error) {
	s := &site{
		cfg: cfg, greengrass: greengrass.NewFromConfig(cfg), iot: iot.NewFromConfig(cfg),
		s3: s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = true }),
	}
	who, err := sts.NewFromConfig(cfg).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return nil, err
	}
	arn, err := fescue.ParseARN(*who.Arn)
	if err != nil {
		return nil, err
	}
	s.partition = fescue.Partition{AWS: arn.Partition().AWS, Account: *who.Account, Region: cfg.Region}
	return s, nil
}

// group is what a core is deployed by.
type group struct{ id, version string }

// registered is a core with its group.
type registered struct {
	identity
	group
}

// atOnce is how many calls are under way at a time.
const atOnce = 16

// each does something for the numbers below n, several at once.
func each(ctx context.Context, n int, do func(ctx context.Context, i int) error) error {
	all, ctx := errgroup.WithContext(ctx)
	all.SetLimit(atOnce)
	for i := range n {
		if ctx.Err() != nil {
			break
		}
		all.Go(func() error { return do(ctx, i) })
	}
	return all.Wait()
}

// register makes things, certificates and groups for n cores. Their names begin with
// prefix.
func (s *site) register(ctx context.Context, prefix string, n int) ([]registered, error) {
	authority, err := pki.NewAuthority(prefix, pki.ECDSA, time.Now())
	if err != nil {
		return nil, err
	}
	// One policy for all, as fleets have it.
	name, document := prefix+"-policy", strings.ReplaceAll(fescue.CorePolicy(s.partition, prefix, nil), prefix, prefix+"-*")
	if _, err := s.iot.CreatePolicy(ctx, &iot.CreatePolicyInput{PolicyName: &name, PolicyDocument: &document}); err != nil {
		return nil, err
	}
	list := make([]registered, n)
	return list, each(ctx, n, func(ctx context.Context, i int) (err error) {
		list[i], err = s.registerOne(ctx, authority, fmt.Sprintf("%s-%d", prefix, i), name)
		list[i].Number = i
		return err
	})
}

func (s *site) registerOne(ctx context.Context, authority *pki.Authority, thing, policy string) (r registered, err error) {
	signer, err := pki.GenerateKey(pki.ECDSA)
	if err != nil {
		return r, err
	}
	leaf, err := authority.IssueDevice(signer.Public(), time.Now())
	if err != nil {
		return r, err
	}
	r.Thing, r.ARN, r.Certificate = thing, s.partition.ThingARN(thing), leaf.Raw
	if r.Key, err = x509.MarshalECPrivateKey(signer.(*ecdsa.PrivateKey)); err != nil {
		return r, err
	}
	cert, err := s.iot.RegisterCertificateWithoutCA(ctx, &iot.RegisterCertificateWithoutCAInput{
		CertificatePem: aws.String(string(pki.EncodeCertificate(leaf.Raw))), Status: iottypes.CertificateStatusActive,
	})
	if err != nil {
		return r, err
	}
	if _, err := s.iot.CreateThing(ctx, &iot.CreateThingInput{ThingName: &thing}); err != nil {
		return r, err
	}
	if _, err := s.iot.AttachPolicy(ctx, &iot.AttachPolicyInput{PolicyName: &policy, Target: cert.CertificateArn}); err != nil {
		return r, err
	}
	if _, err := s.iot.AttachThingPrincipal(ctx, &iot.AttachThingPrincipalInput{ThingName: &thing, Principal: cert.CertificateArn}); err != nil {
		return r, err
	}
	definition, err := s.greengrass.CreateCoreDefinition(ctx, &greengrass.CreateCoreDefinitionInput{
		InitialVersion: &types.CoreDefinitionVersion{Cores: []types.Core{{Id: aws.String("core"), CertificateArn: cert.CertificateArn, ThingArn: &r.ARN}}},
	})
	if err != nil {
		return r, err
	}
	made, err := s.greengrass.CreateGroup(ctx, &greengrass.CreateGroupInput{
		Name: &thing, InitialVersion: &types.GroupVersion{CoreDefinitionVersionArn: definition.LatestVersionArn},
	})
	if err != nil {
		return r, err
	}
	r.group = group{*made.Id, *made.LatestVersion}
	return r, nil
}

// line reads where cores reach a server.
func (s *site) line(ctx context.Context, of *server) (line, error) {
	base := of.API
	if !strings.Contains(base, "://") {
		base = "http://" + base
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/fescue/v1/endpoints", nil)
	if err != nil {
		return line{}, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return line{}, err
	}
	defer resp.Body.Close()
	var e corelink.Endpoints
	if err := json.NewDecoder(resp.Body).Decode(&e); err != nil {
		return line{}, fmt.Errorf("read the endpoints of %s: %w", base, err)
	}
	if e.CA == "" {
		return line{}, fmt.Errorf("the server at %s has a certificate of its operator's: only those of its own authority are known here", base)
	}
	port := func(n int) string { return net.JoinHostPort(e.Host, strconv.Itoa(n)) }
	return line{HTTPS: port(e.DevicePort), MQTT: port(e.MQTTPort), Authority: []byte(e.CA)}, nil
}

// deploy creates a deployment of a group.
func (s *site) deploy(ctx context.Context, g group) (id string, err error) {
	out, err := s.greengrass.CreateDeployment(ctx, &greengrass.CreateDeploymentInput{
		GroupId: &g.id, GroupVersionId: &g.version, DeploymentType: types.DeploymentTypeNewDeployment,
	})
	if err != nil {
		return "", err
	}
	return *out.DeploymentId, nil
}

// status is a deployment's, with its error message.
func (s *site) status(ctx context.Context, g group, id string) (status, message string, err error) {
	out, err := s.greengrass.GetDeploymentStatus(ctx, &greengrass.GetDeploymentStatusInput{GroupId: &g.id, DeploymentId: &id})
	if err != nil {
		return "", "", err
	}
	return *out.DeploymentStatus, aws.ToString(out.ErrorMessage), nil
}

// startBulk has all groups deployed by one bulk deployment.
func (s *site) startBulk(ctx context.Context, bucket string, all []registered) (id string, err error) {
	var input strings.Builder
	for _, r := range all {
		fmt.Fprintf(&input, `{"GroupId":%q,"GroupVersionId":%q,"DeploymentType":"NewDeployment"}`+"\n", r.id, r.version)
	}
	if _, err := s.s3.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: &bucket}); err != nil {
		return "", err
	}
	if _, err := s.s3.PutObject(ctx, &s3.PutObjectInput{Bucket: &bucket, Key: aws.String("input"), Body: strings.NewReader(input.String())}); err != nil {
		return "", err
	}
	out, err := s.greengrass.StartBulkDeployment(ctx, &greengrass.StartBulkDeploymentInput{
		ExecutionRoleArn: aws.String("arn:" + s.partition.AWS + ":iam::" + s.partition.Account + ":role/bulk"),
		InputFileUri:     aws.String("s3://" + bucket + "/input"),
	})
	if err != nil {
		return "", err
	}
	return *out.BulkDeploymentId, nil
}

// bulkStarted says how many deployments a bulk deployment has made, and whether these are all.
func (s *site) bulkStarted(ctx context.Context, id string) (n int, all bool, err error) {
	out, err := s.greengrass.GetBulkDeploymentStatus(ctx, &greengrass.GetBulkDeploymentStatusInput{BulkDeploymentId: &id})
	if err != nil {
		return 0, false, err
	}
	if out.BulkDeploymentStatus == types.BulkDeploymentStatusFailed {
		return 0, false, fmt.Errorf("the bulk deployment failed: %s", aws.ToString(out.ErrorMessage))
	}
	if out.BulkDeploymentMetrics != nil {
		n = int(aws.ToInt32(out.BulkDeploymentMetrics.RecordsProcessed))
	}
	return n, out.BulkDeploymentStatus == types.BulkDeploymentStatusCompleted, nil
}

// bulkDeployments are the deployments that it made, by group.
func (s *site) bulkDeployments(ctx context.Context, id string) (map[string]string, error) {
	made := make(map[string]string)
	in := &greengrass.ListBulkDeploymentDetailedReportsInput{BulkDeploymentId: &id, MaxResults: aws.String("50")}
	for {
		page, err := s.greengrass.ListBulkDeploymentDetailedReports(ctx, in)
		if err != nil {
			return nil, err
		}
		for _, d := range page.Deployments {
			arn := strings.Split(aws.ToString(d.GroupArn), "/")                 // …/greengrass/groups/ID/versions/VERSION
			_, deployment, ok := strings.Cut(aws.ToString(d.DeploymentId), ":") // with the account, as the original has it
			if len(arn) < 4 || !ok {
				return nil, fmt.Errorf("the report of %s has no deployment: %s", aws.ToString(d.GroupArn), aws.ToString(d.ErrorMessage))
			}
			made[arn[3]] = deployment
		}
		if in.NextToken = page.NextToken; in.NextToken == nil {
			return made, nil
		}
	}
}
