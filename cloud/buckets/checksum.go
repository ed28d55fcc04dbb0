package buckets

import (
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"hash"
	"hash/crc32"
	"hash/crc64"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/fescue-edge/fescue"
)

// CRC64NVME is the checksum that an object gets when its sender names none.
const CRC64NVME = "CRC64NVME"

// algorithm is one way to make a checksum.
type algorithm struct {
	new func() hash.Hash
	// polynomial, reflected, and width in bits of a CRC; 0 for what is none.
	polynomial uint64
	width      int
}

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
	nvme       = crc64.MakeTable(nvmePolynomial)
)

// nvmePolynomial is that of CRC-64/NVME, reflected.
const nvmePolynomial = 0x9a6c9329ac4bc9b5

// algorithms are S3's checksums (Amazon S3 user guide, "Checking object
// integrity").
var algorithms = map[string]algorithm{
	"CRC32":   {func() hash.Hash { return crc32.NewIEEE() }, crc32.IEEE, 32},
	"CRC32C":  {func() hash.Hash { return crc32.New(castagnoli) }, crc32.Castagnoli, 32},
	CRC64NVME: {func() hash.Hash { return crc64.New(nvme) }, nvmePolynomial, 64},
	"SHA1":    {sha1.New, 0, 0},
	"SHA256":  {sha256.New, 0, 0},
}

// Algorithms are the names of S3's checksums that are known, in order.
func Algorithms() []string { return slices.Sorted(maps.Keys(algorithms)) }

// checksums are computed side by side, by algorithm.
type checksums map[string]hash.Hash

// add has a checksum computed too; an empty name asks for none.
func (c checksums) add(name string) error {
	if name == "" {
		return nil
	}
	a, ok := algorithms[name]
	if !ok {
		return fescue.Refuse(ErrAlgorithm, "Checksum algorithm provided is unsupported: %.40q. Use one of %s.", name, strings.Join(Algorithms(), ", "))
	}
	c[name] = a.new()
	return nil
}

// read reads r to its end into all of them, and into others.
func (c checksums) read(r io.Reader, into ...io.Writer) (int64, error) {
	for _, sum := range c {
		into = append(into, sum)
	}
	return io.CopyBuffer(io.MultiWriter(into...), r, make([]byte, 256<<10))
}

// value is a checksum in base64, as S3 writes it.
func (c checksums) value(name string) string {
	sum, ok := c[name]
	if !ok {
		return ""
	}
	return base64.StdEncoding.EncodeToString(sum.Sum(nil))
}

// CheckUpload completes what a caller asked for as the checksum of a multipart
// upload: full is nil when it did not say whether the checksum is to be of the
// whole object or composite.
func CheckUpload(name string, full *bool) (Checksum, error) {
	if name == "" {
		if full != nil {
			return Checksum{}, fescue.Refuse(ErrAlgorithm, "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.")
		}
		name = CRC64NVME
	}
	if err := (checksums{}).add(name); err != nil {
		return Checksum{}, err
	}
	composite := name != CRC64NVME
	if full != nil {
		composite = !*full
	}
	if composite && name == CRC64NVME || !composite && algorithms[name].width == 0 {
		return Checksum{}, fescue.Refuse(ErrAlgorithm, "The checksum type of an upload with %s cannot be that: CRC64NVME is of the full object, SHA1 and SHA256 are composite.", name)
	}
	return Checksum{Algorithm: name, Composite: composite}, nil
}

// join makes the checksum of an upload from those of its parts.
func join(kind Checksum, parts []ObjectPart) (Checksum, error) {
	a := algorithms[kind.Algorithm]
	composite, whole := a.new(), uint64(0)
	for _, part := range parts {
		sum, err := base64.StdEncoding.DecodeString(part.Checksum.Value)
		if err != nil || part.Checksum.Algorithm != kind.Algorithm {
			return kind, fescue.Refuse(ErrPart, "Part %d has no %s checksum: upload it again.", part.Number, kind.Algorithm)
		}
		composite.Write(sum)
		if !kind.Composite {
			whole = combine(a, whole, bigEndian(sum), part.Size)
		}
	}
	if kind.Composite {
		kind.Value = base64.StdEncoding.EncodeToString(composite.Sum(nil)) + "-" + strconv.Itoa(len(parts))
		return kind, nil
	}
	sum := make([]byte, a.width/8)
	for i := range sum {
		sum[i] = byte(whole >> (a.width - 8 - 8*i))
	}
	kind.Value = base64.StdEncoding.EncodeToString(sum)
	return kind, nil
}

func bigEndian(b []byte) (n uint64) {
	for _, c := range b {
		n = n<<8 | uint64(c)
	}
	return n
}

// matrix is a linear map over GF(2): row i is what bit i becomes.
type matrix [64]uint64

func (m *matrix) times(v uint64) (sum uint64) {
	for i := 0; v != 0; i, v = i+1, v>>1 {
		if v&1 != 0 {
			sum ^= m[i]
		}
	}
	return sum
}

func (m *matrix) squared() (s matrix) {
	for i := range m {
		s[i] = m.times(m[i])
	}
	return s
}

// combine is the CRC of two texts one after the other, from that of each and the
// length of the second in bytes: the first is carried through as many zero bits
// (the method of zlib's crc32_combine).
func combine(a algorithm, first, second uint64, length int64) uint64 {
	var step matrix // one zero bit
	step[0] = a.polynomial
	for i := 1; i < a.width; i++ {
		step[i] = 1 << (i - 1)
	}
	for range 3 { // eight: one zero byte
		step = step.squared()
	}
	for ; length > 0; length >>= 1 {
		if length&1 != 0 {
			first = step.times(first)
		}
		step = step.squared()
	}
	return first ^ second
}
