package config

import (
	"net"
	"strconv"
	"strings"
)

// Endpoint is a host of the cloud and its port.
type Endpoint struct {
	Host string
	Port int
}

// String is "host:port", with brackets around an IPv6 address.
func (e Endpoint) String() string { return net.JoinHostPort(e.Host, strconv.Itoa(e.Port)) }

// endpoints joins hosts and ports. A port that is written behind the host wins
// over the port's own member: a self-hosted cloud may listen anywhere, and the
// original's files have no port there.
func (c *Config) endpoints(f *file, o Overrides) error {
	iot, gg := f.CoreThing.IoTHost, f.CoreThing.GGHost
	if o.IoTHost != "" {
		iot = o.IoTHost
	}
	if o.GGHost != "" {
		gg = o.GGHost
	}
	for _, e := range []struct {
		hostName, host, portName string
		port                     *int
		standard                 int
		// named says that a port behind the host means this endpoint's.
		named bool
		store *Endpoint
	}{
		{"iotHost", iot, "iotMqttPort", f.CoreThing.IoTMQTTPort, 8883, true, &c.IoTMQTT},
		{"iotHost", iot, "iotHttpPort", f.CoreThing.IoTHTTPPort, 8443, false, &c.IoTHTTP},
		{"ggHost", gg, "ggHttpPort", f.CoreThing.GGHTTPPort, 8443, true, &c.GGHTTP},
	} {
		port := e.standard
		if e.port != nil {
			port = *e.port
		}
		if port < 1 || port > 65535 {
			return invalid("coreThing.%s is %d; it must lie between 1 and 65535", e.portName, port)
		}
		host, own, err := splitHost(e.host)
		if err != nil {
			return invalid("coreThing.%s %q: %v", e.hostName, e.host, err)
		}
		if own != 0 && e.named {
			port = own
		}
		*e.store = Endpoint{Host: host, Port: port}
	}
	return nil
}

// splitHost splits "host", "host:port", an IPv6 address or "[address]:port". The
// port is 0 when there is none.
func splitHost(s string) (host string, port int, err error) {
	switch {
	case s == "":
		return "", 0, invalid("it is missing; give the host name of the cloud's device endpoint")
	case strings.ContainsAny(s, "/@ \t\r\n\x00"):
		return "", 0, invalid("give a host name, or host:port, and nothing else")
	case net.ParseIP(s) != nil || !strings.Contains(s, ":"):
		return s, 0, nil
	}
	host, text, err := net.SplitHostPort(s)
	if err != nil {
		return "", 0, err
	}
	port, err = strconv.Atoi(text)
	if err != nil || port < 1 || port > 65535 || host == "" {
		return "", 0, invalid("%q is not host:port", s)
	}
	return host, port, nil
}
