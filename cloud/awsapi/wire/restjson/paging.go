package restjson

import (
	"encoding/base64"
	"fmt"
	"strconv"

	"github.com/fescue-edge/fescue"
)

// PageError says what is wrong with MaxResults or NextToken.
type PageError struct{ Text string }

// Error is the text.
func (e *PageError) Error() string { return e.Text }

// ForeignToken is said of a NextToken of another list, of no list, and of one whose
// record is gone.
const ForeignToken = "NextToken is not one that this API gave out for this list, or the record it stood for is gone. List again from the beginning."

// Page reads MaxResults and NextToken, for a list of at most so many a page, whose
// keys are valid. It asks for one more, which shows whether there is a next page. A
// page's key is a record's, so that tokens survive what is inserted.
func (r *Request) Page(most int, valid func(key string) bool) (fescue.Page, error) {
	p := fescue.Page{Limit: most}
	if text := r.Query.Get("MaxResults"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return p, &PageError{fmt.Sprintf("MaxResults '%s' is not a number of at least 1.", text)}
		}
		p.Limit = min(n, most)
	}
	if token := r.Query.Get("NextToken"); token != "" {
		key, err := base64.RawURLEncoding.DecodeString(token)
		if err != nil || !valid(string(key)) {
			return p, &PageError{ForeignToken}
		}
		p.After = string(key)
	}
	p.Limit++
	return p, nil
}

// Cut drops the record beyond a page that Page gave, and returns the token of the
// next page, empty on the last one.
func Cut[T any](list []T, p fescue.Page, key func(T) string) ([]T, string) {
	if len(list) < p.Limit {
		return list, ""
	}
	list = list[:p.Limit-1]
	return list, base64.RawURLEncoding.EncodeToString([]byte(key(list[len(list)-1])))
}
