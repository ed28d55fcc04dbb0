package buckets

import "time"

// Bucket holds objects, by key, inside one partition: another partition may have
// a bucket of the same name.
type Bucket struct {
	Name      string
	CreatedAt time.Time
}

// Object is what a bucket holds under a key, without its content.
type Object struct {
	// Key is any UTF-8 text of 1 to 1,024 bytes without NUL. Slashes, "..", and
	// the like mean nothing.
	Key string
	// ContentID names the content, whose pieces are Parts. It changes with each
	// write.
	ContentID string
	// Size is in bytes.
	Size int64
	// ETag is the MD5 of the content in hexadecimal; of a multipart upload that
	// of the parts' MD5s, with "-" and their number.
	ETag       string
	ModifiedAt time.Time
	Checksum   Checksum
	// PartCount is the number of parts of a multipart upload, else 0.
	PartCount int
	ObjectSettings
}

// ObjectSettings is what a caller sends with an object, to get it back with it.
type ObjectSettings struct {
	ContentType        string            `json:",omitempty"`
	CacheControl       string            `json:",omitempty"`
	ContentDisposition string            `json:",omitempty"`
	ContentEncoding    string            `json:",omitempty"`
	ContentLanguage    string            `json:",omitempty"`
	Expires            string            `json:",omitempty"`
	Metadata           map[string]string `json:",omitempty"`
}

// Checksum is a checksum of an object or a part beside its ETag.
type Checksum struct {
	// Algorithm is S3's name: CRC32, CRC32C, CRC64NVME, SHA1, SHA256; empty for
	// no checksum.
	Algorithm string `json:",omitempty"`
	// Value is in base64; a composite one, made of the parts' checksums, ends in
	// "-" and their number.
	Value string `json:",omitempty"`
	// Composite says what Value is made of.
	Composite bool `json:",omitempty"`
}

// ObjectPart is a piece of a content: the only one of an object that was put at
// once, or a part of a multipart upload.
type ObjectPart struct {
	// Number is 1 to 10,000; parts follow each other by it, with gaps.
	Number int
	// Hash is the SHA-256 that the piece is kept under.
	Hash string
	// Size is in bytes.
	Size int64
	// ETag is the MD5 in hexadecimal.
	ETag       string
	Checksum   Checksum
	ModifiedAt time.Time
}

// ObjectUpload is a multipart upload that was not completed yet. Its id becomes
// the ContentID of what it makes.
type ObjectUpload struct {
	ID        string
	Key       string
	CreatedAt time.Time
	// Checksum is the algorithm and kind that the caller chose, without a value.
	Checksum Checksum
	ObjectSettings
}

// MaxObjectParts is the most parts that a content has, and the highest number.
const MaxObjectParts = 10_000

// ObjectWrite says how an object is written in the place of another.
type ObjectWrite struct {
	// OnlyNew refuses to replace an object, OnlyETag to replace one with another
	// ETag; both with ErrPrecondition.
	OnlyNew  bool
	OnlyETag string
	// LookAt is from when on the blobs of what was replaced may be removed.
	LookAt time.Time
	// Hold is the announcement under which the new blob was put; a write without a
	// new blob has none.
	Hold string
	// HoldUntil is until when the new blob is not looked at.
	HoldUntil time.Time
}

// BlobLook is a blob that may be garbage, as it was found.
type BlobLook struct {
	Hash   string
	LookAt time.Time
	// DoomedUntil is set when somebody began to remove it.
	DoomedUntil time.Time
	// Named says that an object or an upload names it.
	Named bool
}
