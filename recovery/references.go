package recovery

import (
	"encoding/json"
	"fmt"

	"github.com/fescue-edge/fescue"
)

// References are the ARNs of the things, certificates and functions that a
// version of a definition names.
func References(c Container, v Version) (things, certificates, functions []string, err error) {
	var body struct {
		Cores     []fescue.Core
		Devices   []fescue.Device
		Functions []fescue.Function
	}
	if err := json.Unmarshal(v.Definition, &body); err != nil {
		return nil, nil, nil, fmt.Errorf("%s %s version %s: %w", c.Kind, c.Id, v.Version, err)
	}
	for _, x := range body.Cores {
		things, certificates = append(things, x.ThingArn), append(certificates, x.CertificateArn)
	}
	for _, x := range body.Devices {
		things, certificates = append(things, x.ThingArn), append(certificates, x.CertificateArn)
	}
	for _, x := range body.Functions {
		functions = append(functions, x.FunctionArn)
	}
	return things, certificates, functions, nil
}
