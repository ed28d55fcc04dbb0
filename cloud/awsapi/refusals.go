package awsapi

import "github.com/fescue-edge/fescue/cloud/awsapi/wire"

// refuseIn is a refusal as a service says it, "" for the protocol's own message.
func refuseIn(words wire.Words, service, message string) *Error {
	return errorOf(words[wire.Find(service).Protocol], message)
}

// throttled refuses a call too many. SDKs try again.
func throttled(service, message string) *Error {
	if own := wire.Find(service).Throttled; own.Code != "" {
		return errorOf(own, message)
	}
	return refuseIn(wire.Throttled, service, message)
}

func errorOf(r wire.Refusal, message string) *Error {
	if message == "" {
		message = r.Message
	}
	return &Error{Status: r.Status, Code: r.Code, Message: message}
}
