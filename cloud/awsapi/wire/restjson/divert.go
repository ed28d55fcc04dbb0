package restjson

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"unicode/utf8"
)

// maxDepth bounds how deep a document may nest; no request needs ten levels.
const maxDepth = 1000

// errCut means that a document ends inside of something.
var errCut = errors.New("the body is not valid JSON: it ends too early")

// Divert reads a JSON document of which one string member is too large for
// memory. The member's text, unescaped, goes to take, which must read it to its
// end; the rest of the document is returned with "" in its place, to be decoded
// as usual (which finds what is not valid in it). The member is found by exact
// names from the document's root; found is false when it is absent or no
// string. The rest is at most limit bytes.
func Divert(r io.Reader, limit int, path []string, take func(text io.Reader) error) (rest []byte, found bool, err error) {
	d := &diverter{r: bufio.NewReaderSize(r, 64<<10), limit: limit, path: path, take: take}
	for {
		c, err := d.r.ReadByte()
		if err == io.EOF {
			return d.rest.Bytes(), d.found, nil
		}
		if err == nil {
			err = d.step(c)
		}
		if err != nil {
			return nil, d.found, err
		}
	}
}

type diverter struct {
	r     *bufio.Reader
	limit int
	path  []string
	take  func(io.Reader) error

	rest  bytes.Buffer
	found bool
	// open are the objects and arrays around the present place.
	open []nest
	// key is true where the next string is a member's name.
	key bool
}

// nest is an object, with the member that is being read, or an array.
type nest struct {
	object bool
	member string
}

// there reports whether the present place is at the path.
func (d *diverter) there() bool {
	return slices.EqualFunc(d.open, d.path, func(n nest, member string) bool { return n.object && n.member == member })
}

func (d *diverter) step(c byte) error {
	switch c {
	case '{', '[':
		if len(d.open) >= maxDepth {
			return errors.New("the body nests too deep")
		}
		d.key = c == '{'
		d.open = append(d.open, nest{object: d.key})
	case '}', ']':
		if len(d.open) == 0 {
			return fmt.Errorf("the body is not valid JSON: unexpected %q", c)
		}
		d.open = d.open[:len(d.open)-1]
		d.key = false
	case ',':
		d.key = len(d.open) > 0 && d.open[len(d.open)-1].object
	case '"':
		return d.text()
	}
	return d.keep(c)
}

func (d *diverter) keep(b ...byte) error {
	if d.rest.Len()+len(b) > d.limit {
		return fmt.Errorf("the body is larger than %d bytes without its large member", d.limit)
	}
	d.rest.Write(b)
	return nil
}

// text handles a string whose opening quote was read.
func (d *diverter) text() error {
	if !d.key && d.there() {
		if d.found {
			return fmt.Errorf("member %q is there twice", d.path[len(d.path)-1])
		}
		d.found = true
		text := &textReader{r: d.r}
		if err := d.take(text); err != nil {
			return err
		}
		if !text.ended {
			return errors.New("the body's large member was not read to its end")
		}
		return d.keep('"', '"')
	}
	start := d.rest.Len()
	if err := d.keep('"'); err != nil {
		return err
	}
	for escaped := false; ; {
		c, err := d.r.ReadByte()
		if err == io.EOF {
			return errCut
		}
		if err == nil {
			err = d.keep(c)
		}
		if err != nil {
			return err
		}
		if c == '"' && !escaped {
			break
		}
		escaped = c == '\\' && !escaped
	}
	if d.key {
		d.key = false
		var name string
		if err := json.Unmarshal(d.rest.Bytes()[start:], &name); err != nil {
			return fmt.Errorf("the body is not valid JSON: %w", err)
		}
		d.open[len(d.open)-1].member = name
	}
	return nil
}

// textReader reads the inside of a JSON string up to its closing quote.
type textReader struct {
	r       *bufio.Reader
	pending []byte // of an escape, not yet handed out
	ended   bool
}

// Read implements io.Reader.
func (t *textReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for len(t.pending) == 0 {
		if t.ended {
			return 0, io.EOF
		}
		if _, err := t.r.Peek(1); err != nil {
			return 0, cut(err)
		}
		ready, err := t.r.Peek(min(t.r.Buffered(), len(p)))
		if err != nil {
			return 0, cut(err)
		}
		if plain := plainPrefix(ready); plain > 0 {
			n := copy(p, ready[:plain])
			_, err := t.r.Discard(n)
			return n, err
		}
		if err := t.special(); err != nil {
			return 0, err
		}
	}
	n := copy(p, t.pending)
	t.pending = t.pending[n:]
	return n, nil
}

func cut(err error) error {
	if err == io.EOF {
		return errCut
	}
	return err
}

// plainPrefix counts the bytes before the first that means something else.
func plainPrefix(b []byte) int {
	for i, c := range b {
		if c == '"' || c == '\\' || c < ' ' {
			return i
		}
	}
	return len(b)
}

var escapes = map[byte]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

// special reads a closing quote or an escape.
func (t *textReader) special() error {
	c, err := t.r.ReadByte()
	if err != nil {
		return cut(err)
	}
	if c == '"' {
		t.ended = true
		return nil
	}
	if c != '\\' {
		return fmt.Errorf("the body is not valid JSON: control character %#x in a string", c)
	}
	if c, err = t.r.ReadByte(); err != nil {
		return cut(err)
	}
	if plain, ok := escapes[c]; ok {
		t.pending = []byte{plain}
		return nil
	}
	if c != 'u' {
		return fmt.Errorf("the body is not valid JSON: unknown escape %q", c)
	}
	var hex [4]byte
	if _, err := io.ReadFull(t.r, hex[:]); err != nil {
		return errCut
	}
	code, err := strconv.ParseUint(string(hex[:]), 16, 16)
	if err != nil {
		return fmt.Errorf("the body is not valid JSON: escape \\u%.4q", hex[:])
	}
	t.pending = utf8.AppendRune(nil, rune(code))
	return nil
}
