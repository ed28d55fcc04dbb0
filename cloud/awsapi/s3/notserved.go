package s3

import "strings"

// notServed are the other operations that a parameter makes of a request (Amazon
// S3 API reference): without it the request would be taken for something else.
var notServed = unserved(`
CreateBucketMetadataConfiguration POST bucket metadataConfiguration
CreateBucketMetadataTableConfiguration POST bucket metadataTable
CreateSession GET bucket session
DeleteBucketAnalyticsConfiguration DELETE bucket analytics
DeleteBucketCors DELETE bucket cors
DeleteBucketEncryption DELETE bucket encryption
DeleteBucketIntelligentTieringConfiguration DELETE bucket intelligent-tiering
DeleteBucketInventoryConfiguration DELETE bucket inventory
DeleteBucketLifecycle DELETE bucket lifecycle
DeleteBucketMetadataConfiguration DELETE bucket metadataConfiguration
DeleteBucketMetadataTableConfiguration DELETE bucket metadataTable
DeleteBucketMetricsConfiguration DELETE bucket metrics
DeleteBucketOwnershipControls DELETE bucket ownershipControls
DeleteBucketPolicy DELETE bucket policy
DeleteBucketReplication DELETE bucket replication
DeleteBucketTagging DELETE bucket tagging
DeleteBucketWebsite DELETE bucket website
DeleteObjectTagging DELETE object tagging
DeletePublicAccessBlock DELETE bucket publicAccessBlock
GetBucketAbac GET bucket abac
GetBucketAccelerateConfiguration GET bucket accelerate
GetBucketAcl GET bucket acl
GetBucketAnalyticsConfiguration GET bucket analytics
GetBucketCors GET bucket cors
GetBucketEncryption GET bucket encryption
GetBucketIntelligentTieringConfiguration GET bucket intelligent-tiering
GetBucketInventoryConfiguration GET bucket inventory
GetBucketLifecycleConfiguration GET bucket lifecycle
GetBucketLogging GET bucket logging
GetBucketMetadataConfiguration GET bucket metadataConfiguration
GetBucketMetadataTableConfiguration GET bucket metadataTable
GetBucketMetricsConfiguration GET bucket metrics
GetBucketNotificationConfiguration GET bucket notification
GetBucketOwnershipControls GET bucket ownershipControls
GetBucketPolicy GET bucket policy
GetBucketPolicyStatus GET bucket policyStatus
GetBucketReplication GET bucket replication
GetBucketRequestPayment GET bucket requestPayment
GetBucketTagging GET bucket tagging
GetBucketWebsite GET bucket website
GetObjectAcl GET object acl
GetObjectAttributes GET object attributes
GetObjectLegalHold GET object legal-hold
GetObjectLockConfiguration GET bucket object-lock
GetObjectRetention GET object retention
GetObjectTorrent GET object torrent
GetPublicAccessBlock GET bucket publicAccessBlock
ListObjectVersions GET bucket versions
PutBucketAbac PUT bucket abac
PutBucketAccelerateConfiguration PUT bucket accelerate
PutBucketAcl PUT bucket acl
PutBucketAnalyticsConfiguration PUT bucket analytics
PutBucketCors PUT bucket cors
PutBucketEncryption PUT bucket encryption
PutBucketIntelligentTieringConfiguration PUT bucket intelligent-tiering
PutBucketInventoryConfiguration PUT bucket inventory
PutBucketLifecycleConfiguration PUT bucket lifecycle
PutBucketLogging PUT bucket logging
PutBucketMetricsConfiguration PUT bucket metrics
PutBucketNotificationConfiguration PUT bucket notification
PutBucketOwnershipControls PUT bucket ownershipControls
PutBucketPolicy PUT bucket policy
PutBucketReplication PUT bucket replication
PutBucketRequestPayment PUT bucket requestPayment
PutBucketTagging PUT bucket tagging
PutBucketVersioning PUT bucket versioning
PutBucketWebsite PUT bucket website
PutObjectAcl PUT object acl
PutObjectLegalHold PUT object legal-hold
PutObjectLockConfiguration PUT bucket object-lock
PutObjectRetention PUT object retention
PutObjectTagging PUT object tagging
PutPublicAccessBlock PUT bucket publicAccessBlock
RenameObject PUT object renameObject
RestoreObject POST object restore
SelectObjectContent POST object select
UpdateBucketMetadataInventoryTableConfiguration PUT bucket metadataInventoryTable
UpdateBucketMetadataJournalTableConfiguration PUT bucket metadataJournalTable
UpdateObjectEncryption PUT object encryption
`)

// unserved reads the table: in each line name, method, what the path names, and
// the parameter.
func unserved(table string) (ops []operation) {
	levels := map[string]level{"bucket": bucketLevel, "object": objectLevel}
	for line := range strings.Lines(strings.TrimSpace(table)) {
		f := strings.Fields(line)
		ops = append(ops, operation{name: f[0], method: f[1], level: levels[f[2]], query: f[3]})
	}
	return ops
}
