package fescue

// SystemFunction is the name of a component of the core itself. Functions call
// it, and groups configure it, by an ARN that has neither Region nor account:
// arn:aws:lambda:::function:GGRouter, with or without the qualifier 1 (AWS IoT
// Greengrass V1 developer guide, "Calling the local health check API").
type SystemFunction string

// The system functions of the original.
const (
	RouterFunction      SystemFunction = "GGRouter"
	ShadowFunction      SystemFunction = "GGShadowService"
	ShadowSyncFunction  SystemFunction = "GGShadowSyncManager"
	SecretFunction      SystemFunction = "GGSecretManager"
	SpoolerFunction     SystemFunction = "GGCloudSpooler"
	BrokerFunction      SystemFunction = "GGConnManager"
	CertificateFunction SystemFunction = "GGDeviceCertificateManager"
	IPDetectorFunction  SystemFunction = "GGIPDetector"
	StreamFunction      SystemFunction = "GGStreamManager"
	TokenFunction       SystemFunction = "GGTES"
)

// SystemFunctionFacts are what is known of a system function.
type SystemFunctionFacts struct {
	Name SystemFunction
	// Callable: functions may invoke it.
	Callable bool
	// Configurable: it may stand in a function definition.
	Configurable bool
	// FixedExecution: it takes no Execution there (developer guide,
	// "Troubleshooting").
	FixedExecution bool
	// AlwaysPinned: it can only be long-lived.
	AlwaysPinned bool
}

// SystemFunctions is the table of them. One that it does not have can neither be
// called nor configured.
var SystemFunctions = []SystemFunctionFacts{
	{Name: RouterFunction, Callable: true},
	{Name: ShadowFunction, Callable: true},
	{Name: ShadowSyncFunction},
	{Name: SecretFunction, Callable: true},
	{Name: SpoolerFunction, Configurable: true, FixedExecution: true},
	{Name: BrokerFunction},
	{Name: CertificateFunction},
	{Name: IPDetectorFunction, Configurable: true, FixedExecution: true},
	{Name: StreamFunction, Configurable: true, AlwaysPinned: true},
	{Name: TokenFunction},
}

// Facts are the table's on the function; those of an unknown name are the zero
// ones.
func (f SystemFunction) Facts() SystemFunctionFacts {
	for _, facts := range SystemFunctions {
		if facts.Name == f {
			return facts
		}
	}
	return SystemFunctionFacts{Name: f}
}

// ARN is its ARN without a qualifier.
func (f SystemFunction) ARN() string { return "arn:aws:lambda:::function:" + string(f) }

// SystemFunction is the system function that an ARN names, and false for any
// other ARN. The name need not be one of the table.
func (a ARN) SystemFunction() (SystemFunction, bool) {
	name, qualifier, ok := a.Function()
	if !ok || a.Account != "" || a.Region != "" || qualifier != "" && qualifier != "1" {
		return "", false
	}
	return SystemFunction(name), true
}

// SystemFunctionOf is ARN.SystemFunction for an ARN that is still text.
func SystemFunctionOf(arn string) (SystemFunction, bool) {
	a, err := ParseARN(arn)
	if err != nil {
		return "", false
	}
	return a.SystemFunction()
}
