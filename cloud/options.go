package cloud

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/broker"
	"github.com/fescue-edge/fescue/cloud/deploy"
	"github.com/fescue-edge/fescue/cloud/forward"
	"github.com/fescue-edge/fescue/cloud/mqttfront"
	"github.com/fescue-edge/fescue/cloud/retention"
	"github.com/fescue-edge/fescue/disk"
	"github.com/fescue-edge/fescue/inbound"
)

// Options configures a Server. DataDir, the addresses, Account, Region and
// Logger are needed.
type Options struct {
	// DataDir holds everything that must survive: database, artifacts, messages,
	// master key, as far as they do not lie elsewhere.
	DataDir string
	// Database is a PostgreSQL URL; empty means a SQLite file in DataDir. Any
	// number of servers may use one PostgreSQL database, each with a DataDir of its
	// own, and all with one master key and the same Artifacts.
	Database string
	// Broker is a nats-server, or a cluster, in place of the one that keeps messages in
	// DataDir; servers that share a database are to share it, or a message reaches only
	// those who are connected to the server that it came to. Nil means DataDir.
	Broker *broker.Remote
	// Artifacts is where artifacts lie: a folder, or s3://bucket/prefix in a store
	// that the AWS SDK's environment variables lead to; empty means
	// DataDir/artifacts.
	Artifacts string
	// APIAddr, DeviceAddr and MQTTAddr are "host:port"; port 0 chooses a free one.
	// MQTT with ALPN is spoken at DeviceAddr too, and only there when MQTTAddr is
	// the same.
	APIAddr, DeviceAddr, MQTTAddr string
	// OpsAddr is where metrics and the state of events are served to operators without
	// a signature, over plain HTTP; empty is nowhere.
	OpsAddr string
	// ProxyProtocol are the addresses and networks of load balancers, whose connections to
	// the API, devices and MQTT begin with a header of the PROXY protocol that says whom
	// they are from.
	ProxyProtocol []string
	balancers     inbound.Balancers
	// Descriptors is how many files and connections the process may have open, which
	// are divided among the listeners; zero asks the operating system.
	Descriptors int
	// Pace is how slowly a client may send a body and read an answer.
	Pace inbound.Pace

	// AWS is the first part of every ARN: aws, aws-cn or aws-us-gov.
	AWS string
	// Account owns the seeded access key. Region is the first of Regions.
	Account string
	Regions []string

	// BasePath, empty or "/like/this", begins the path of every request when it is
	// part of the URL that clients have of the API: signatures cover it.
	BasePath string

	// NoConsole leaves the web console out of the API's address.
	NoConsole bool

	// PublicHosts are the names and addresses under which devices reach this
	// server: the first is what DescribeEndpoint says, all stand in the
	// listeners' certificates.
	PublicHosts []string
	// PublicDevicePort and PublicMQTTPort are the ports under which cores and devices reach
	// DeviceAddr and MQTTAddr, 1 to 65535: what cores are told. 0 is the port itself, for
	// where nothing leads from another one to it.
	PublicDevicePort, PublicMQTTPort int
	// APICertFile and APIKeyFile, DeviceCertFile and DeviceKeyFile are PEM files
	// to be used in place of leaves of Fescue's own authority.
	APICertFile, APIKeyFile       string
	DeviceCertFile, DeviceKeyFile string
	// InsecureHTTP allows plain HTTP on an API address beyond loopback.
	InsecureHTTP bool

	// SingleSignOn is where people sign in who have no access key.
	SingleSignOn SingleSignOn

	// AccessKeyID and SecretAccessKey are a key to be kept at start; empty makes
	// one on the first start.
	AccessKeyID, SecretAccessKey string
	// MasterKeyFile is where the master key lies; empty means DataDir/master.key.
	MasterKeyFile string
	// RequireServiceRole fails deployments of a partition without a service
	// role, as the original did.
	RequireServiceRole bool
	// Quotas are those of a group that differ from fescue.QuotaFacts.
	Quotas deploy.Quotas
	// SageMakerModels are where the models of SageMaker's training jobs lie: s3:// URIs
	// by the jobs' ARNs.
	SageMakerModels map[string]string
	// MQTTQuotas are those of certificates and partitions on MQTT that differ from
	// mqttfront.QuotaFacts.
	MQTTQuotas deploy.Quotas
	// OfflineSites is for how long cores go on certifying themselves to their client
	// devices without a line; zero is not at all.
	// It is 24 hours or more, or 0.
	OfflineSites time.Duration
	// Deadlines bound how long deployments stay in their phases.
	Deadlines deploy.Deadlines
	// Retention is how long tokens, ended deployments and audit records are kept;
	// nil means fescue.DefaultRetention.
	Retention retention.Ages
	// Throttle is how many calls a second each access key may make of an
	// operation, by its name or "*"; empty is no limit.
	Throttle map[string]float64
	// Refusals is how many refusals a second an access key, or an address whose
	// requests prove none, is answered; ten times as many may come at once. Zero means 50,
	// less than zero any number.
	Refusals float64
	// SyncMessages writes every QoS 1 message to disk before it is acknowledged.
	SyncMessages bool
	// SessionExpiry is how long persistent MQTT sessions are kept, and messages for them,
	// while their clients are away: from a minute to seven days, as AWS IoT Core's can be
	// set; zero means an hour.
	SessionExpiry time.Duration

	// EventURLs are webhooks that get every change of a deployment's
	// status; EventSecret signs what they are sent. EventRetention is how long
	// what cannot be delivered is kept; zero means three days.
	EventURLs      []string
	EventSecret    []byte
	EventRetention time.Duration

	// Forwards are rules by which messages go to webhooks and other brokers, in the form that
	// forward.ParseRule reads; ForwardSpace is how many bytes wait for one target at most,
	// zero means 256 MiB.
	Forwards     []string
	ForwardSpace int64
	forwards     []forward.Rule

	// BulkRate is how many deployments bulk deployments start a second at most;
	// zero means 100.
	BulkRate float64

	// LogSpace is how many bytes of each core's logs are kept, compressed; zero means
	// logs.DefaultSpace.
	LogSpace int64

	// Drain is how long the end of Run may take to send the devices away, one after the
	// other; zero ends their sessions all at once.
	Drain time.Duration

	// Free is how many bytes a file in a folder may still take; nil asks the
	// operating system.
	Free   func(folder string) (int64, error)
	Now    func() time.Time
	Logger *slog.Logger
}

const (
	defaultEventRetention = 72 * time.Hour
	defaultRefusals       = 50
	// minOfflineSites is the shortest life of a core's intermediate authority: a tenth of it
	// is well beyond the hour by which its begin lies before its making.
	minOfflineSites = 24 * time.Hour
)

// complete fills in defaults and refuses what cannot be.
func (o *Options) complete() error {
	if o.DataDir == "" {
		return errors.New("no data folder: name one with --data")
	}
	if o.Descriptors == 0 {
		o.Descriptors = inbound.Descriptors()
	}
	if o.Free == nil {
		o.Free = disk.Local{}.Free
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.AWS == "" {
		o.AWS = "aws"
	}
	if len(o.Regions) == 0 {
		return errors.New("no Region: name one with --region")
	}
	for _, region := range o.Regions {
		p := fescue.Partition{AWS: o.AWS, Account: o.Account, Region: region}
		if err := p.Validate(); err != nil {
			return err
		}
	}
	if o.Retention == nil {
		o.Retention = retention.DefaultAges()
	}
	if err := o.Retention.Validate(); err != nil {
		return err
	}
	if err := o.Quotas.Validate(deploy.QuotaFacts); err != nil {
		return fmt.Errorf("--quota: %w", err)
	}
	if err := o.MQTTQuotas.Validate(mqttfront.QuotaFacts); err != nil {
		return fmt.Errorf("--mqtt-quota: %w", err)
	}
	if len(o.PublicHosts) == 0 {
		o.PublicHosts = []string{"localhost"}
	}
	if o.BasePath != "" && !basePath.MatchString(o.BasePath) {
		return fmt.Errorf("--base-path %q is not in the form /like/this, of letters, digits, '-', '_' and '~'", o.BasePath)
	}
	if o.Refusals == 0 {
		o.Refusals = defaultRefusals
	}
	if o.EventRetention == 0 {
		o.EventRetention = defaultEventRetention
	}
	if o.OfflineSites != 0 && o.OfflineSites < minOfflineSites {
		return fmt.Errorf("--offline-sites %v is less than %v: cores would renew their intermediate authorities all the time; give %v or more, or 0 to hand out none", o.OfflineSites, minOfflineSites, minOfflineSites)
	}
	if o.BulkRate < 0 {
		return fmt.Errorf("--bulk-rate %v is less than nothing", o.BulkRate)
	}
	if err := o.parseForwards(); err != nil {
		return err
	}
	if o.Broker != nil {
		if err := o.Broker.Check(); err != nil {
			return fmt.Errorf("--broker: %w", err)
		}
		if o.SyncMessages {
			return errors.New("--sync-messages is for the nats-server inside this process; with --broker set sync_interval: always in the jetstream block of nats-server's own configuration")
		}
	}
	o.SessionExpiry = cmp.Or(o.SessionExpiry, time.Hour)
	if o.SessionExpiry < time.Minute || o.SessionExpiry > 7*24*time.Hour {
		return fmt.Errorf("--mqtt-session-expiry %s is not from 1m to 168h", o.SessionExpiry)
	}
	if _, _, err := o.SingleSignOn.options(); err != nil {
		return err
	}
	var err error
	if o.balancers, err = inbound.ParseBalancers(o.ProxyProtocol); err != nil {
		return fmt.Errorf("--proxy-protocol: %w", err)
	}
	if o.LogSpace < 0 {
		return fmt.Errorf("--log-space %d is less than nothing", o.LogSpace)
	}
	if o.EventRetention < 0 {
		return fmt.Errorf("--event-retention %s is less than nothing", o.EventRetention)
	}
	if o.Drain < 0 {
		return fmt.Errorf("--drain %s is less than nothing", o.Drain)
	}
	for operation, rate := range o.Throttle {
		if !(rate > 0) {
			return fmt.Errorf("--throttle %s=%v: the rate must be more than nothing", operation, rate)
		}
	}
	if (o.APICertFile == "") != (o.APIKeyFile == "") {
		return errors.New("--tls-cert and --tls-key go together")
	}
	if (o.DeviceCertFile == "") != (o.DeviceKeyFile == "") {
		return errors.New("--device-tls-cert and --device-tls-key go together")
	}
	if (o.AccessKeyID == "") != (o.SecretAccessKey == "") {
		return errors.New("FESCUE_ACCESS_KEY_ID and FESCUE_SECRET_ACCESS_KEY go together")
	}
	return nil
}

// parseForwards reads the rules of Forwards. Those that name no partition are of the
// account in its first Region.
func (o *Options) parseForwards() error {
	if o.ForwardSpace < 0 {
		return fmt.Errorf("--forward-space %d is less than nothing", o.ForwardSpace)
	}
	o.forwards = nil
	for _, text := range o.Forwards {
		r, err := forward.ParseRule(text, fescue.Partition{AWS: o.AWS, Account: o.Account, Region: o.Regions[0]})
		if err != nil {
			return err
		}
		if !slices.Contains(o.Regions, r.Partition.Region) {
			return fmt.Errorf("--forward for %s: Region %s is not served; those that are: %s", r.Filter, r.Partition.Region, strings.Join(o.Regions, ", "))
		}
		o.forwards = append(o.forwards, r)
	}
	return nil
}

var basePath = regexp.MustCompile(`^(/[A-Za-z0-9_~-]+)+$`)

// certificateHosts are the names in the listeners' own certificates.
func (o *Options) certificateHosts() []string {
	hosts := slices.Clone(o.PublicHosts)
	for _, h := range []string{"localhost", "127.0.0.1", "::1"} {
		if !slices.Contains(hosts, h) {
			hosts = append(hosts, h)
		}
	}
	return hosts
}

// loopback reports whether an address can be reached from this machine only.
func loopback(addr net.Addr) bool {
	tcp, ok := addr.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}
