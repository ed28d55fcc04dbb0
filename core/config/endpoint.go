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
	// ALPN is the protocol's name that a TLS client offers; none when it is "".
	ALPN string
}

// Protocol names of AWS IoT on port 443 (AWS IoT Core developer guide, "Device
// communication protocols").
const (
	alpnMQTT = "x-amzn-mqtt-ca"
	alpnHTTP = "x-amzn-http-ca"
	alpnPort = 443
)

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
		alpn  string
		store *Endpoint
	}{
		{"iotHost", iot, "iotMqttPort", f.CoreThing.IoTMQTTPort, 8883, true, alpnMQTT, &c.IoTMQTT},
		{"iotHost", iot, "iotHttpPort", f.CoreThing.IoTHTTPPort, 8443, false, alpnHTTP, &c.IoTHTTP},
		{"ggHost", gg, "ggHttpPort", f.CoreThing.GGHTTPPort, 8443, true, alpnHTTP, &c.GGHTTP},
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
		if port == alpnPort {
			e.store.ALPN = e.alpn
		}
	}
	// A self-hosted cloud serves shadows where it serves deployments. A port in the file
	// says otherwise, unless the hosts come from someone who knows better.
	if c.IoTHTTP.Host == c.GGHTTP.Host && (f.CoreThing.IoTHTTPPort == nil || o.IoTHost != "" && o.GGHost != "") {
		c.IoTHTTP = c.GGHTTP
	}
	// A cloud that serves both on one port distinguishes them as AWS IoT does on 443.
	if c.IoTMQTT.String() == c.GGHTTP.String() {
		c.IoTMQTT.ALPN, c.GGHTTP.ALPN = alpnMQTT, alpnHTTP
	}
	if c.IoTHTTP.String() == c.GGHTTP.String() {
		c.IoTHTTP.ALPN = c.GGHTTP.ALPN
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
