// Package shadow is the algebra of device shadow documents: what an update makes
// of a document, the difference between what is desired and what is reported, and
// the JSON and the topics of the answers; and how the shadow that a core has and the
// cloud's are brought in step. It does no I/O; who keeps documents and sends messages is
// the callers' part.
//
// The rules are those of the AWS IoT Core developer guide ("Device Shadow service
// documents"). Where it is silent they follow what the successor's shadow
// component does, which docs/compatibility.md lists.
package shadow
