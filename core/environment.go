package core

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
)

// environment is what every function learns about its core (observed in
// functions of the original).
func (c *Core) environment() map[string]string {
	env := map[string]string{
		"AWS_IOT_THING_NAME":    c.config.ThingName,
		"AWS_IOT_THING_ARN":     c.config.ThingARN,
		"AWS_IOT_MQTT_ENDPOINT": c.config.IoTMQTT.String(),
		"AWS_IOT_HTTP_ENDPOINT": c.config.IoTHTTP.String(),
		"AWS_GG_MQTT_ENDPOINT":  c.config.IoTMQTT.String(),
		"AWS_GG_HTTP_ENDPOINT":  c.config.GGHTTP.String(),
		"GG_ROOT_CA_PATH":       c.config.Credentials.CAPath,
		"GGC_VERSION":           Version,
	}
	maps.Copy(env, c.config.Proxy.Variables())
	return env
}

// searchPath is where interpreters are looked for: the original's two folders,
// then where the core itself finds programs.
func (o Options) searchPath() []string {
	if len(o.SearchPath) > 0 {
		return o.SearchPath
	}
	folders := []string{"/usr/bin", "/usr/local/bin"}
	for _, folder := range filepath.SplitList(os.Getenv("PATH")) {
		if filepath.IsAbs(folder) && !slices.Contains(folders, folder) {
			folders = append(folders, folder)
		}
	}
	return folders
}
