package config

import (
	"bytes"
	"encoding/json"
	"strings"
)

// file is config.json as it is written. Members that nobody has documented are
// tolerated: files made by the console mix the keys of several generations.
type file struct {
	CoreThing struct {
		CAPath                     string     `json:"caPath"`
		CertPath                   string     `json:"certPath"`
		KeyPath                    string     `json:"keyPath"`
		ThingARN                   string     `json:"thingArn"`
		IoTHost                    string     `json:"iotHost"`
		GGHost                     string     `json:"ggHost"`
		IoTMQTTPort                *int       `json:"iotMqttPort"`
		IoTHTTPPort                *int       `json:"iotHttpPort"`
		GGHTTPPort                 *int       `json:"ggHttpPort"`
		GGMQTTPort                 *int       `json:"ggMqttPort"`
		KeepAlive                  *int       `json:"keepAlive"`
		MQTTOperationTimeout       *int       `json:"mqttOperationTimeout"`
		MaxRetryInterval           *int       `json:"mqttMaxConnectionRetryInterval"`
		NetworkProxy               *proxyFile `json:"networkProxy"`
		GGDaemonPort               *int       `json:"ggDaemonPort"`
		SystemComponentAuthTimeout *int       `json:"systemComponentAuthTimeout"`
		CoreClientID               string     `json:"coreClientId"`
	} `json:"coreThing"`
	Runtime struct {
		MaxWorkItemCount          *int  `json:"maxWorkItemCount"`
		MaxConcurrentLimit        *int  `json:"maxConcurrentLimit"`
		LRUSize                   *int  `json:"lruSize"`
		MountAllBlockDevices      yesNo `json:"mountAllBlockDevices"`
		PostStartHealthCheck      *int  `json:"postStartHealthCheckTimeout"`
		AllowFunctionsToRunAsRoot yesNo `json:"allowFunctionsToRunAsRoot"`
		// FunctionUids is Fescue's own.
		FunctionUids string `json:"functionUids"`
		Cgroup       struct {
			UseSystemd yesNo `json:"useSystemd"`
		} `json:"cgroup"`
	} `json:"runtime"`
	Crypto           *cryptoFile `json:"crypto"`
	MaxRetryInterval *int        `json:"mqttMaxConnectionRetryInterval"`
	ManagedRespawn   bool        `json:"managedRespawn"`
	WriteDirectory   string      `json:"writeDirectory"`
	PIDFileDirectory string      `json:"pidFileDirectory"`
	System           struct {
		ShadowSyncTimeout   *int `json:"shadowSyncTimeout"`
		UseOverlayWithTmpfs bool `json:"useOverlayWithTmpfs"`
	} `json:"system"`
}

type cryptoFile struct {
	CAPath     string `json:"caPath"`
	Principals struct {
		IoTCertificate struct {
			PrivateKeyPath  string `json:"privateKeyPath"`
			CertificatePath string `json:"certificatePath"`
		} `json:"IoTCertificate"`
		MQTTServerCertificate struct {
			PrivateKeyPath string `json:"privateKeyPath"`
		} `json:"MQTTServerCertificate"`
		SecretsManager struct {
			PrivateKeyPath string `json:"privateKeyPath"`
		} `json:"SecretsManager"`
	} `json:"principals"`
}

type proxyFile struct {
	NoProxyAddresses string `json:"noProxyAddresses"`
	Proxy            struct {
		URL      string `json:"url"`
		Username string `json:"username"`
		Password string `json:"password"`
	} `json:"proxy"`
}

// yesNo is a switch that the original writes as "yes" or "no"; files written by
// hand also have true and false.
type yesNo struct {
	set bool
	on  bool
}

// UnmarshalJSON accepts "yes", "no", true and false.
func (y *yesNo) UnmarshalJSON(data []byte) error {
	if bytes.Equal(data, []byte("null")) {
		return nil
	}
	if json.Unmarshal(data, &y.on) == nil {
		y.set = true
		return nil
	}
	var word string
	if err := json.Unmarshal(data, &word); err != nil {
		return err
	}
	switch strings.ToLower(word) {
	case "yes":
		y.on = true
	case "no":
		y.on = false
	default:
		return errSwitch(word)
	}
	y.set = true
	return nil
}
