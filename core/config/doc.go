// Package config reads config/config.json, the file that says who a core is
// and where its cloud lies, in the format of Greengrass Core 1.x: with the crypto
// object of 1.7 and later, or with the certificate paths of coreThing before it.
//
// The package knows the file, the certificates that it names and the folders
// that follow from it. It must not know what a deployment is, nor connect to
// anything.
package config
