package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud"
	ownapi "github.com/fescue-edge/fescue/cloud/awsapi/fescue"
	"github.com/fescue-edge/fescue/cloud/broker"
	"github.com/fescue-edge/fescue/cloud/deploy"
	"github.com/fescue-edge/fescue/cloud/models"
	"github.com/fescue-edge/fescue/cloud/retention"
	"github.com/fescue-edge/fescue/systemd"
)

// placeFlags say what ARNs carry. What is not given is as it was when a server last
// ran on the state.
type placeFlags struct {
	Account   string   `env:"FESCUE_ACCOUNT" help:"Twelve-digit account of the first access key; ARNs carry it. Default: the data folder's, 000000000000 for a new one."`
	Region    string   `env:"FESCUE_REGION" help:"Region that ARNs carry. Default: the data folder's, us-east-1 for a new one."`
	Regions   []string `help:"All Regions that are served, when there are more than one. Default: the data folder's."`
	Partition string   `default:"" enum:",aws,aws-cn,aws-us-gov" help:"First part of ARNs: aws, aws-cn or aws-us-gov. Default: the data folder's, aws for a new one."`
}

// settle makes the flags complete from what the state says. Region is then the
// first of Regions.
func (f *placeFlags) settle(ctx context.Context, state cloud.State, logger *slog.Logger) error {
	known, err := cloud.KnownPlace(ctx, state, logger)
	if err != nil {
		return err
	}
	regions := f.Regions
	if f.Region != "" {
		regions = append([]string{f.Region}, regions...)
	}
	if len(regions) == 0 {
		regions = known.Regions
	}
	if len(regions) == 0 {
		regions = []string{"us-east-1"}
	}
	f.Regions = nil
	for _, r := range regions {
		if !slices.Contains(f.Regions, r) {
			f.Regions = append(f.Regions, r)
		}
	}
	f.Region = f.Regions[0]
	f.Account, f.Partition = cmp.Or(f.Account, known.Account, "000000000000"), cmp.Or(f.Partition, known.AWS, "aws")
	return nil
}

// databaseFlag says where the database is. A password in it is better given by the
// environment: arguments can be read by everyone on the machine.
type databaseFlag struct {
	Database string `env:"FESCUE_DATABASE" placeholder:"URL" help:"PostgreSQL database, for example postgres://fescue@db.example.com/fescue; the default is a file in the data folder. Give a password in FESCUE_DATABASE or PGPASSFILE, not here."`
}

// brokerFlags say where messages are kept.
type brokerFlags struct {
	URL         string `name:"broker" env:"FESCUE_BROKER" placeholder:"URL" help:"nats-server with JetStream, 2.11 or later, or a cluster, that keeps MQTT sessions and messages for all servers that name it, for example tls://nats-1.example.com:4222,tls://nats-2.example.com:4222; the default is one inside this process, with its store in the data folder. Give a password in FESCUE_BROKER or --broker-credentials, not here."`
	Credentials string `name:"broker-credentials" type:"existingfile" help:"File of credentials for --broker, as nsc makes it."`
	CA          string `name:"broker-ca" type:"existingfile" help:"PEM file of the authorities that certify --broker. Default: the machine's."`
	Replicas    int    `name:"broker-replicas" placeholder:"N" help:"How many nodes of --broker keep each message. Default: what is there; at first 3, or as many as there are."`
}

// remote is nil for the nats-server inside this process.
func (f brokerFlags) remote() (*broker.Remote, error) {
	if f.URL == "" {
		if f.Credentials != "" || f.CA != "" || f.Replicas != 0 {
			return nil, errors.New("--broker-credentials, --broker-ca and --broker-replicas go with --broker")
		}
		return nil, nil
	}
	return &broker.Remote{URL: f.URL, Credentials: f.Credentials, CA: f.CA, Replicas: f.Replicas}, nil
}

// deadlineFlags bound the phases of deployments.
type deadlineFlags struct {
	OfflineDeadline time.Duration `default:"0" placeholder:"DURATION" help:"End a deployment in Failure when its core has not come for it in this time, for example 72h; 0 waits for ever."`
	StageDeadline   time.Duration `default:"6h" help:"End a deployment when its core takes longer to download and unpack it."`
	SwitchDeadline  time.Duration `default:"10m" help:"End a deployment when its core then takes longer to switch."`
	HealthDeadline  time.Duration `default:"30m" help:"End a deployment when its functions then take longer to be healthy."`
}

func (f deadlineFlags) deadlines() deploy.Deadlines {
	return deploy.Deadlines{Offline: f.OfflineDeadline, Stage: f.StageDeadline, Switch: f.SwitchDeadline, Health: f.HealthDeadline}
}

// retentionFlags say how long things are kept.
type retentionFlags struct {
	TokenRetention      time.Duration `default:"168h" help:"How long client tokens are remembered, after which a repeated call does its work again; 0 for ever."`
	DeploymentRetention time.Duration `default:"8760h" help:"How long deployments are kept after their end, beside the last ten of each group and what runs; 0 for ever."`
	AuditRetention      time.Duration `default:"8760h" help:"How long audit records are kept; 0 for ever."`
	LogRetention        time.Duration `default:"720h" help:"How long lines of cores' logs are kept; 0 for ever, up to --log-space."`
	SessionExpiry       time.Duration `name:"mqtt-session-expiry" default:"1h" help:"How long persistent MQTT sessions, and messages for them, are kept while their clients are away, from 1m to 168h."`
}

func (f retentionFlags) retention() retention.Ages {
	return retention.Ages{
		retention.RetainedTokens: f.TokenRetention, retention.RetainedDeployments: f.DeploymentRetention, retention.RetainedAudit: f.AuditRetention,
		retention.RetainedLogs: f.LogRetention,
	}
}

// publicPorts are what cores and devices find the server at, where that is not what it
// listens at.
type publicPorts struct {
	DevicePort int `placeholder:"PORT" help:"Port under which cores and devices reach --device, where something leads from it to another one, as a container's published port or a load balancer. Default: that of --device."`
	MQTTPort   int `name:"mqtt-port" placeholder:"PORT" help:"Port under which cores and devices reach --mqtt. Default: that of --mqtt."`
}

// Validate is kong's.
func (p publicPorts) Validate() error {
	for name, port := range map[string]int{"device": p.DevicePort, "mqtt": p.MQTTPort} {
		if port < 0 || port > 65535 {
			return fmt.Errorf("--public-%s-port %d: a port is 1 to 65535", name, port)
		}
	}
	return nil
}

type serverCommand struct {
	placeFlags
	deadlineFlags
	retentionFlags
	databaseFlag
	brokerFlags
	Data          string             `required:"" type:"path" env:"FESCUE_DATA" help:"Folder of everything that must survive."`
	Artifacts     string             `env:"FESCUE_ARTIFACTS" placeholder:"PLACE" help:"Folder of artifacts, or s3://bucket/prefix in a store that AWS_ENDPOINT_URL_S3, AWS_REGION and the credentials lead to; the default is in the data folder."`
	API           string             `default:"127.0.0.1:9080" help:"Address of the AWS API. Port 0 chooses a free one."`
	Device        string             `default:"127.0.0.1:8443" help:"Address of HTTPS for cores and devices."`
	MQTT          string             `name:"mqtt" default:"127.0.0.1:8883" help:"Address of MQTT for cores and devices; the same as --device for one port, where MQTT is negotiated by ALPN."`
	Ops           string             `placeholder:"ADDRESS" help:"Address of operators, for example 127.0.0.1:9090: /metrics, /fescue/v1/events, /healthz and /readyz over plain HTTP, without a signature. Default: none; on the API address metrics and events need a signature."`
	PublicHost    []string           `default:"localhost" help:"Names or addresses under which devices reach this server; DescribeEndpoint says the first."`
	PublicPorts   publicPorts        `embed:"" prefix:"public-"`
	ProxyProtocol []string           `placeholder:"ADDRESS" help:"Addresses of load balancers, or networks such as 192.0.2.0/24, whose connections to --api, --device and --mqtt begin with a header of the PROXY protocol: what it names counts as the client's address. Everybody else's headers are refused."`
	BasePath      string             `placeholder:"PATH" help:"Path in the URL that clients have of the API, for example /greengrass-v1 behind a proxy that passes on several services."`
	Console       bool               `default:"true" negatable:"" help:"Serve the web console at /console/ of the API's address."`
	TLSCert       string             `name:"tls-cert" type:"existingfile" help:"PEM certificate chain for the API."`
	TLSKey        string             `name:"tls-key" type:"existingfile" help:"PEM key for the API."`
	DeviceTLSCert string             `name:"device-tls-cert" type:"existingfile" help:"PEM certificate chain for the device listeners."`
	DeviceTLSKey  string             `name:"device-tls-key" type:"existingfile" help:"PEM key for the device listeners."`
	InsecureHTTP  bool               `name:"insecure-http" help:"Serve plain HTTP on an API address beyond loopback."`
	ServiceRole   bool               `name:"require-service-role" help:"Fail deployments of an account without a service role that Greengrass may assume, as AWS did."`
	SyncMessages  bool               `help:"Write QoS 1 messages to disk before acknowledging them."`
	Throttle      map[string]float64 `placeholder:"OPERATION=RATE;..." help:"Calls a second that each access key, with its temporary ones, may make of an operation, for example '*=30;CreateDeployment=20', which were AWS's. Default: no limit."`
	Refusals      float64            `default:"50" help:"Refusals a second that each access key, with its temporary ones, or address whose requests prove none, is answered before it is asked to come slower; ten times as many may come at once; 0 is any number."`

	OIDCIssuer           string   `name:"oidc-issuer" placeholder:"URL" help:"Provider of OpenID Connect at which people sign in to the console and to terminals, for example https://id.example.com/realms/plant. It need not be up at the start."`
	OIDCClientID         string   `name:"oidc-client-id" placeholder:"ID" help:"What the provider knows this server by."`
	OIDCClientSecretFile string   `name:"oidc-client-secret-file" type:"existingfile" help:"File of the secret that proves it, in place of FESCUE_OIDC_CLIENT_SECRET. Default: none, for a public client."`
	OIDCDeviceClientID   string   `name:"oidc-device-client-id" placeholder:"ID" help:"Public client that fescue login signs in by, with device codes. Default: --oidc-client-id."`
	OIDCClaim            string   `name:"oidc-claim" default:"groups" help:"Claim of the ID token that decides what somebody may do; one within another as realm_access.roles."`
	OIDCKey              []string `name:"oidc-key" sep:"none" placeholder:"VALUE=ACCESSKEYID" help:"Give those whose claim has the value the rights of an access key, for example operators=AKIAEXAMPLE; may be repeated, the first that fits counts."`
	OIDCScope            []string `name:"oidc-scope" placeholder:"SCOPE" help:"Scope to ask for beside openid and, as far as the provider lists them, profile, email and one named like the claim; may be repeated."`
	OIDCCA               string   `name:"oidc-ca" type:"existingfile" help:"PEM file of the authorities that certify the provider. Default: the machine's."`

	EventURL        []string      `name:"event-url" sep:"none" placeholder:"URL" help:"Webhook that receives every change of a deployment's status; may be repeated. FESCUE_EVENT_SECRET signs what is sent."`
	EventSecretFile string        `type:"existingfile" help:"File of the secret that signs events, in place of FESCUE_EVENT_SECRET."`
	EventRetention  time.Duration `default:"72h" help:"How long events are kept that cannot be delivered."`

	Forward      []string `sep:"none" placeholder:"[ACCOUNT:REGION:]FILTER=URL" help:"Pass messages whose topics the filter finds on to a webhook (https://, or http:// on this machine) or another MQTT broker (mqtts://, mqtt://); may be repeated. Without account and Region: of the first access key's account in the first Region. #credentials=FILE and #ca=FILE at the URL's end name files of USER:PASSWORD and of authorities."`
	ForwardSpace int      `default:"256" placeholder:"MB" help:"How much may wait for one target of --forward, in MB; the oldest messages give way."`

	Quota          map[deploy.Quota]int `placeholder:"QUOTA=N;..." help:"How many there may be in a group that is deployed, where AWS's number does not suit, for example 'functions=300;devices=0'; 0 is any number. docs/server.md lists the quotas."`
	MQTTQuota      map[deploy.Quota]int `name:"mqtt-quota" placeholder:"QUOTA=N;..." help:"How many MQTT sessions and subscriptions a certificate, or an account in a Region, may have, and how much may wait and be retained, for example 'certificate-sessions=2000'; 0 is any number. docs/server.md lists the quotas."`
	OfflineSites   time.Duration        `default:"2160h" placeholder:"DURATION" help:"How long client devices can connect to a core anew that has lost its line here: the life of the intermediate authority with which it then signs its MQTT server's certificate, renewed while the line is up; 24h or more, 0 hands none out. docs/devices.md says what trust it costs."`
	LogSpace       int                  `default:"16" placeholder:"MB" help:"How much of the logs of each core is kept, compressed, in MB; the oldest lines go first."`
	BulkRate       float64              `default:"100" help:"How many deployments a second bulk deployments start at most."`
	Drain          time.Duration        `default:"20s" placeholder:"DURATION" help:"How long a server that is told to stop may take to end the MQTT sessions of devices, up to 200 a second, so that they do not come back, or to another server, all at once; 0 ends all at once."`
	SageMakerModel []string             `name:"sagemaker-model" sep:"none" placeholder:"JOB=URI" help:"Where the model of a SageMaker training job lies, for example 'arn:aws:sagemaker:us-east-1:123456789012:training-job/wear=s3://models/wear.tar.gz'; may be repeated."`
}

// Help implements kong.HelpProvider.
func (serverCommand) Help() string {
	return `The first start makes an access key, keeps it in access-key.json of the data folder
(mode 0600) and every later start uses the keys of the database. To choose the
key, set FESCUE_ACCESS_KEY_ID and FESCUE_SECRET_ACCESS_KEY.

Once it serves, the server prints api=, device= and mqtt= with the addresses, then
ready.

Examples:
  fescue server --data /var/lib/fescue --account 123456789012 --region eu-west-1
  fescue server --data /var/lib/fescue --api 0.0.0.0:443 --device 0.0.0.0:8443 --mqtt 0.0.0.0:8883 \
      --public-host greengrass.example.com
  fescue server --data /var/lib/fescue --forward 'alarms/#=https://hooks.example.com/alarms' \
      --forward 'mill/+/speed=mqtts://broker.example.com#credentials=/etc/fescue/broker'`
}

// options are the server's, from flags and environment.
func (c *serverCommand) options(logger *slog.Logger) (cloud.Options, error) {
	eventSecret := []byte(os.Getenv("FESCUE_EVENT_SECRET"))
	if c.EventSecretFile != "" {
		data, err := os.ReadFile(c.EventSecretFile)
		if err != nil {
			return cloud.Options{}, fmt.Errorf("read --event-secret-file: %w", err)
		}
		eventSecret = bytes.TrimRight(data, "\r\n")
	}
	signIn, err := c.singleSignOn()
	if err != nil {
		return cloud.Options{}, err
	}
	jobs, err := sageMakerModels(c.SageMakerModel)
	if err != nil {
		return cloud.Options{}, err
	}
	remote, err := c.remote()
	if err != nil {
		return cloud.Options{}, err
	}
	return cloud.Options{
		DataDir: c.Data, Database: c.Database, Broker: remote, Artifacts: c.Artifacts, APIAddr: c.API, DeviceAddr: c.Device, MQTTAddr: c.MQTT, OpsAddr: c.Ops,
		AWS: c.Partition, Account: c.Account, Regions: c.Regions, PublicHosts: c.PublicHost,
		PublicDevicePort: c.PublicPorts.DevicePort, PublicMQTTPort: c.PublicPorts.MQTTPort, ProxyProtocol: c.ProxyProtocol,
		BasePath: c.BasePath, NoConsole: !c.Console,
		APICertFile: c.TLSCert, APIKeyFile: c.TLSKey,
		SingleSignOn:   signIn,
		DeviceCertFile: c.DeviceTLSCert, DeviceKeyFile: c.DeviceTLSKey, InsecureHTTP: c.InsecureHTTP,
		AccessKeyID: os.Getenv("FESCUE_ACCESS_KEY_ID"), SecretAccessKey: os.Getenv("FESCUE_SECRET_ACCESS_KEY"),
		MasterKeyFile: os.Getenv("FESCUE_MASTER_KEY_FILE"), RequireServiceRole: c.ServiceRole,
		OfflineSites: c.OfflineSites, Deadlines: c.deadlines(), Retention: c.retention(), SessionExpiry: c.SessionExpiry, SyncMessages: c.SyncMessages, Throttle: c.Throttle, Refusals: cmp.Or(c.Refusals, -1),
		EventURLs: c.EventURL, EventSecret: eventSecret, EventRetention: c.EventRetention,
		Forwards: c.Forward, ForwardSpace: int64(c.ForwardSpace) << 20,
		Drain: c.Drain, BulkRate: c.BulkRate, LogSpace: int64(c.LogSpace) << 20, Quotas: c.Quota, SageMakerModels: jobs, MQTTQuotas: c.MQTTQuota,
		Logger: logger,
	}, nil
}

// singleSignOn is the provider at which people sign in.
func (c *serverCommand) singleSignOn() (cloud.SingleSignOn, error) {
	secret := os.Getenv("FESCUE_OIDC_CLIENT_SECRET")
	if c.OIDCClientSecretFile != "" {
		data, err := os.ReadFile(c.OIDCClientSecretFile)
		if err != nil {
			return cloud.SingleSignOn{}, fmt.Errorf("read --oidc-client-secret-file: %w", err)
		}
		secret = strings.TrimRight(string(data), "\r\n")
	}
	return cloud.SingleSignOn{
		Issuer: c.OIDCIssuer, ClientID: c.OIDCClientID, ClientSecret: secret, DeviceClientID: c.OIDCDeviceClientID,
		Claim: c.OIDCClaim, Keys: c.OIDCKey, Scopes: c.OIDCScope, CAFile: c.OIDCCA,
	}, nil
}

// sageMakerModels are s3:// URIs by the ARNs of training jobs.
func sageMakerModels(list []string) (map[string]string, error) {
	jobs := make(map[string]string)
	for _, text := range list {
		job, uri, ok := strings.Cut(text, "=")
		arn, err := fescue.ParseARN(job)
		if err == nil && (!ok || arn.Service != "sagemaker" || !strings.HasPrefix(arn.Resource, "training-job/")) {
			err = errors.New("it is not the ARN of a training job, '=' and an s3:// URI")
		}
		if err == nil {
			_, _, err = models.Place(uri)
		}
		if err != nil {
			return nil, fmt.Errorf("--sagemaker-model %q: %w", text, err)
		}
		jobs[job] = uri
	}
	return jobs, nil
}

// Run serves until the context ends.
func (c *serverCommand) Run(ctx context.Context, t *terminal) error {
	filesOfOwnUser()
	cloud.LimitMemory(t.logger)
	cloud.CollectSeldom()
	state := cloud.State{DataDir: c.Data, Database: c.Database, MasterKeyFile: os.Getenv("FESCUE_MASTER_KEY_FILE")}
	if err := c.settle(ctx, state, t.logger); err != nil {
		return err
	}
	o, err := c.options(t.logger)
	if err != nil {
		return err
	}
	server, err := cloud.New(ctx, o)
	if err != nil {
		return err
	}
	if server.MadeKey.ID != "" {
		fmt.Fprintf(t.stderr, "Made the access key %s; its secret is in %s.\n", server.MadeKey.ID, server.AccessKeyFile())
	}
	if server.OwnAPICertificate() {
		fmt.Fprintf(t.stderr, "The API's certificate is of Fescue's own authority. To trust it: export AWS_CA_BUNDLE=%s\n", server.AuthorityFile())
	}
	if server.APIScheme() == "http" && c.InsecureHTTP {
		fmt.Fprintln(t.stderr, "WARNING: the API is served over plain HTTP (--insecure-http): anyone on the network can read what is sent, secrets of functions included.")
	}
	var out strings.Builder
	fmt.Fprintf(&out, "api=%s\ndevice=%s\nmqtt=%s\n", server.APIAddr(), server.DeviceAddr(), server.MQTTAddr())
	if ops := server.OpsAddr(); ops != "" {
		fmt.Fprintf(&out, "ops=%s\n", ops)
	}
	if c.Console {
		fmt.Fprintf(t.stderr, "Console: %s://%s%s%s (fescue console prints a link that signs in)\n", server.APIScheme(), server.APIAddr(), c.BasePath, ownapi.ConsolePath)
	}
	out.WriteString("ready\n")
	fmt.Fprint(t.stdout, out.String())
	return systemd.Service{Alive: server.Alive, Logger: t.logger}.Run(ctx, server.Run)
}
