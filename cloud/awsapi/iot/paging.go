package iot

import (
	"encoding/base64"
	"encoding/json"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/fescue-edge/fescue"
	"github.com/fescue-edge/fescue/cloud/awsapi/wire/restjson"
)

// maxPage is the most that one page may hold (API model), and what a page holds
// when the caller says nothing: scripts that do not page get as much as can be.
const maxPage = 250

// The names of paging members, of which the API has two pairs.
type paging struct{ limit, token string }

var (
	byToken  = paging{limit: "maxResults", token: "nextToken"}
	byMarker = paging{limit: "pageSize", token: "marker"}
)

// position is what a token holds: the key of the last record of the page before,
// so that tokens survive what is created and deleted in between. At stands only
// in lists ordered by time.
type position struct {
	Key string `json:"k"`
	// At is in milliseconds since the epoch.
	At int64 `json:"t,omitempty"`
}

func (p position) time() time.Time {
	if p.At == 0 {
		return time.Time{}
	}
	return time.UnixMilli(p.At).UTC()
}

// token is the position as it goes to the caller; empty stands for no further
// page.
func (p position) token() string {
	if p.Key == "" {
		return ""
	}
	data, err := json.Marshal(p)
	if err != nil {
		panic("iot: a token does not encode: " + err.Error()) // a struct of a string and a number does
	}
	return base64.RawURLEncoding.EncodeToString(data)
}

// maxToken bounds what is decoded: keys have at most 128 characters.
const maxToken = 1024

// read returns the number of records that a page may hold and where it begins.
func (g paging) read(r *restjson.Request) (limit int, p position, err error) {
	limit = maxPage
	if text := r.Query.Get(g.limit); text != "" {
		if limit, err = strconv.Atoi(text); err != nil || limit < 1 || limit > maxPage {
			return 0, p, invalid("%s %.32q is not a number from 1 to %d.", g.limit, text, maxPage)
		}
	}
	text := r.Query.Get(g.token)
	if text == "" {
		return limit, p, nil
	}
	data, err := base64.RawURLEncoding.DecodeString(text)
	if len(text) <= maxToken && err == nil && utf8.Valid(data) {
		err = json.Unmarshal(data, &p)
	}
	if err != nil || p.Key == "" || !printable(p.Key) {
		return 0, position{}, invalid("%s is not one that this API gave out.", g.token)
	}
	return limit, p, nil
}

// printable reports whether s can be a key: all are ASCII without spaces.
func printable(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// names pages through a list of names or ids. find is asked for one more than
// the page holds, which shows whether there is another.
func (g paging) names(r *restjson.Request, find func(fescue.Page) ([]string, error)) (list []string, next string, err error) {
	limit, after, err := g.read(r)
	if err != nil {
		return nil, "", err
	}
	list, err = find(fescue.Page{After: after.Key, Limit: limit + 1})
	if err != nil {
		return nil, "", err
	}
	list, next = cut(list, limit, func(name string) position { return position{Key: name} })
	return list, next, nil
}

// cut drops the record beyond the page and returns the token of the next page,
// empty on the last one.
func cut[T any](list []T, limit int, at func(T) position) ([]T, string) {
	if len(list) <= limit {
		return list, ""
	}
	list = list[:limit]
	return list, at(list[limit-1]).token()
}

// byAge reads the page that a request asks for of a list in the order of creation, and
// returns the token of the next one.
func byAge[T any](r *restjson.Request, list func(after position, ascending bool, limit int) ([]T, error), at func(T) position) ([]T, string, error) {
	limit, after, err := byMarker.read(r)
	if err != nil {
		return nil, "", err
	}
	ascending, err := flag(r, "isAscendingOrder")
	if err != nil {
		return nil, "", err
	}
	found, err := list(after, ascending, limit+1)
	if err != nil {
		return nil, "", err
	}
	found, next := cut(found, limit, at)
	return found, next, nil
}

// listed is a list as the API shows it, which is never null.
func listed[T, U any](list []T, show func(T) U) []U {
	out := make([]U, 0, len(list))
	for _, item := range list {
		out = append(out, show(item))
	}
	return out
}
