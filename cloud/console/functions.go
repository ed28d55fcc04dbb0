package console

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"time"

	ownapi "github.com/fescue-edge/fescue/cloud/awsapi/fescue"
	"github.com/fescue-edge/fescue/corelink"
)

// configuration is a version of a function as the API shows it.
type configuration struct {
	FunctionName, FunctionArn, Runtime, Role, Handler string
	CodeSize                                          int64
	Description                                       string
	Timeout, MemorySize                               int
	LastModified, CodeSha256, Version                 string
	Environment                                       struct{ Variables map[string]string }
	Architectures                                     []string
}

// Modified is when it was changed.
func (c configuration) Modified() time.Time {
	t, _ := time.Parse("2006-01-02T15:04:05.000-0700", c.LastModified) // what the API answers
	return t.UTC()
}

// alias is an alias of a function as the API shows it.
type alias struct{ Name, FunctionVersion, Description string }

// functionsPage lists functions.
type functionsPage struct {
	Functions []configuration
	Next      string
	Later     bool
}

// functionsPath is where the API has functions.
const functionsPath = "/2015-03-31/functions/"

func (v *visit) functions() error {
	list, err := get[struct {
		Functions  []configuration
		NextMarker string
	}](v, lambda, functionsPath+"?"+url.Values{"MaxItems": {fmt.Sprint(pageSize)}, "Marker": {v.form.Get("after")}}.Encode())
	if err != nil {
		return err
	}
	return v.show("functions", "Functions", functionsPage{list.Functions, nextPage(list.NextMarker, nil), v.form.Get("after") != ""},
		v.aws("lambda list-functions"))
}

// functionPage is one function, as one of its versions is.
type functionPage struct {
	configuration
	// Qualifier is what was asked for: a version or an alias, or nothing.
	Qualifier string
	// Versions are the last, the newest first.
	Versions []configuration
	Aliases  []alias
	Files    ownapi.FunctionFiles
	// File is the one that is shown; nil for none.
	File *ownapi.FunctionFileContent
	// Unread is why the code is not shown.
	Unread string
}

var (
	functionName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
	qualifier    = regexp.MustCompile(`^(\$LATEST|[A-Za-z0-9_-]{1,128})?$`)
)

func (v *visit) function() error {
	name := v.r.PathValue("function")
	p := functionPage{Qualifier: v.form.Get("qualifier")}
	if !functionName.MatchString(name) || !qualifier.MatchString(p.Qualifier) {
		return &refusal{http.StatusNotFound, "", fmt.Sprintf("There is no function '%.64s' with the version '%.64s'.", name, p.Qualifier)}
	}
	query := "?" + url.Values{"Qualifier": {p.Qualifier}}.Encode()
	var err error
	if p.configuration, err = get[configuration](v, lambda, functionsPath+name+"/configuration"+query); err != nil {
		return err
	}
	for marker := ""; ; { // its versions come oldest first
		list, err := get[struct {
			Versions   []configuration
			NextMarker string
		}](v, lambda, functionsPath+name+"/versions?"+url.Values{"MaxItems": {"1000"}, "Marker": {marker}}.Encode())
		if err != nil {
			return err
		}
		p.Versions = append(p.Versions, list.Versions...)
		if p.Versions = p.Versions[max(0, len(p.Versions)-recent):]; list.NextMarker == "" {
			break
		}
		marker = list.NextMarker
	}
	slices.Reverse(p.Versions)
	aliases, err := get[struct{ Aliases []alias }](v, lambda, functionsPath+name+"/aliases?MaxItems=1000")
	if err != nil {
		return err
	}
	p.Aliases = aliases.Aliases
	denied := (*refusal)(nil)
	if p.Files, err = get[ownapi.FunctionFiles](v, own, "/fescue/v1/functions/"+name+"/files"+query); errors.As(err, &denied) {
		p.Unread = denied.Message
	} else if err != nil {
		return err
	}
	if file := v.form.Get("file"); file != "" {
		content, err := get[ownapi.FunctionFileContent](v, own, "/fescue/v1/functions/"+name+"/file?"+url.Values{"Qualifier": {p.Qualifier}, "Name": {file}}.Encode())
		if err != nil {
			return err
		}
		p.File = &content
	}
	which := "--function-name " + name
	with := which
	if p.Qualifier != "" {
		with += " --qualifier '" + p.Qualifier + "'"
	}
	return v.show("function", name, p, v.aws("lambda get-function "+with), v.aws("lambda list-versions-by-function "+which), v.aws("lambda list-aliases "+which))
}

// logsPage are lines of a group's core's logs.
type logsPage struct {
	Group groupInformation
	// Name and Component are what was asked for, Hours how far back; Spans are the choices.
	Name, Component string
	Hours           int
	Spans           []int
	Events          []ownapi.LogEvent
	// More reports that earlier lines of that time are left out.
	More bool
}

// How far back logs are read, in hours, and how many lines of them at most.
var logSpans = []int{1, 6, 24, 168}

const (
	maxLines    = 500
	logBatches  = 20
	maxLogLine  = 4000 // bytes, of which more is left out
	logsOfAll   = ""
	logsOfCore  = corelink.SystemLogs
	logsOfLines = corelink.FunctionLogs
)

func (v *visit) logs() error {
	id, err := v.id("group")
	if err != nil {
		return err
	}
	p := logsPage{Name: v.form.Get("name"), Component: v.form.Get("component"), Hours: logSpans[0], Spans: logSpans}
	for _, hours := range logSpans {
		if v.form.Get("hours") == fmt.Sprint(hours) {
			p.Hours = hours
		}
	}
	if !slices.Contains([]string{logsOfAll, logsOfCore, logsOfLines}, p.Component) {
		return &refusal{http.StatusNotFound, "", fmt.Sprintf("There are no logs of '%.64s'.", p.Component)}
	}
	if p.Group, err = get[groupInformation](v, greengrass, "/greengrass/groups/"+id); err != nil {
		return err
	}
	query := url.Values{"From": {v.c.o.Now().Add(-time.Duration(p.Hours) * time.Hour).UTC().Format(time.RFC3339)}, "Component": {p.Component}, "Name": {p.Name}}
	for range logBatches {
		list, err := get[ownapi.LogEvents](v, own, "/fescue/v1/groups/"+id+"/logs?"+query.Encode())
		if err != nil {
			return err
		}
		p.Events = append(p.Events, list.Events...)
		if drop := len(p.Events) - maxLines; drop > 0 {
			p.Events, p.More = slices.Delete(p.Events, 0, drop), true
		}
		if list.NextToken == "" {
			break
		}
		query.Set("NextToken", list.NextToken)
	}
	for i, e := range p.Events {
		if len(e.Message) > maxLogLine {
			p.Events[i].Message = e.Message[:maxLogLine] + "…"
		}
	}
	command := fmt.Sprintf("logs --group %s --since %dh", id, p.Hours)
	switch {
	case functionName.MatchString(p.Name):
		command += " --function " + p.Name
	case p.Component == logsOfCore:
		command += " --system"
	}
	return v.show("logs", "Logs of "+p.Group.Name, p, v.fescueCLI(command), v.fescueCLI(command+" --follow"))
}
