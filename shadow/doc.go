// Package shadow is the algebra of device shadow documents: what an update makes
// of a document, the difference between what is desired and what is reported, and
// the JSON of the answers. It does no I/O and knows no topics; who keeps documents
// and tells whom is the callers' part.
//
// The rules are those of the AWS IoT Core developer guide ("Device Shadow service
// documents"). Where it is silent they follow what the successor's shadow
// component does, which docs/compatibility.md lists.
package shadow
