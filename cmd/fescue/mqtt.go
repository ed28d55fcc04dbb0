package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/fescue-edge/fescue/client"
	ownapi "github.com/fescue-edge/fescue/cloud/awsapi/fescue"
	"github.com/fescue-edge/fescue/cloud/awsapi/iotdata"
)

type mqttCommand struct {
	Sub subCommand `cmd:"" help:"Print the messages that come to topics."`
	Pub pubCommand `cmd:"" help:"Publish a message."`
}

// Help implements kong.HelpProvider.
func (mqttCommand) Help() string {
	return `Needs no certificate: both are calls of the API, of the account and Region of the access
key. What the key may is decided as for every call: to read it needs fescue:Subscribe, to
publish iot:Publish, which the roles admin and deployer have.

Examples:
  fescue mqtt sub 'mill/#'
  fescue mqtt pub mill/speed 12`
}

type subCommand struct {
	serverFlags
	Filter  string        `arg:"" help:"MQTT filter: + stands for one level, # at its end for any number."`
	Count   int           `placeholder:"N" help:"End after so many messages."`
	Timeout time.Duration `placeholder:"DURATION" help:"End after this time; with --count, with exit code 3 when there were fewer messages."`
	JSON    bool          `name:"json" help:"Print a line of JSON for each message: topic, payload, time; a payload that is no text as payloadBase64."`
}

// Help implements kong.HelpProvider.
func (subCommand) Help() string {
	return `Prints topic and payload of each message that is published to the account's topics in
the Region from now on, and first what is retained, until interrupted. It reads along and
takes nothing from anybody. A reader that is too slow, a server that stops and a key that
is revoked end it, with exit code 1.

Examples:
  fescue mqtt sub 'mill/#'
  fescue mqtt sub '$aws/events/#' --json
  fescue mqtt sub mill/ready --count 1 --timeout 1m`
}

// subscribeAnswer bounds how long the server takes to begin.
const subscribeAnswer = 30 * time.Second

// errFewMessages ends a sub whose time ran out.
var errFewMessages = &exitError{code: exitNoAnswer, text: "fewer messages than --count came within --timeout"}

// Run prints messages.
func (c *subCommand) Run(ctx context.Context, t *terminal) error {
	api, err := c.connect(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	late := time.AfterFunc(subscribeAnswer, func() { cancel(fmt.Errorf("no answer to Subscribe within %s", subscribeAnswer)) })
	stream, err := api.Send(ctx, "iotdata", "Subscribe", http.MethodGet, "/fescue/v1/messages?filter="+url.QueryEscape(c.Filter), nil)
	if err != nil {
		return causeOr(ctx, err)
	}
	defer stream.Close()
	lines := json.NewDecoder(bufio.NewReader(stream))
	for n := 0; ; {
		var m ownapi.StreamedMessage
		err := lines.Decode(&m)
		switch {
		case ctx.Err() != nil:
			if cause := context.Cause(ctx); !errors.Is(cause, errTimeUp) {
				return cause
			}
			if n < c.Count {
				return errFewMessages
			}
			return nil
		case err != nil:
			return fmt.Errorf("the server ended the stream, messages may have been missed: %w", err)
		case m.Error != "":
			return fmt.Errorf("the server ended the stream, messages may have been missed: %s", m.Error)
		case m.Subscribed != "":
			late.Stop()
			if c.Timeout > 0 {
				defer time.AfterFunc(c.Timeout, func() { cancel(errTimeUp) }).Stop()
			}
			fmt.Fprintf(t.stderr, "subscribed to %s\n", m.Subscribed)
			continue
		}
		if err := c.show(t.stdout, m); err != nil {
			return err
		}
		if n++; n == c.Count {
			return nil
		}
	}
}

// errTimeUp is the cause of a context that --timeout ended.
var errTimeUp = errors.New("the time is up")

// causeOr is why ctx ended, if it did, else err.
func causeOr(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// show prints a message.
func (c *subCommand) show(w io.Writer, m ownapi.StreamedMessage) error {
	text := utf8.Valid(m.Payload)
	if !c.JSON {
		payload := string(m.Payload)
		if !text || strings.ContainsFunc(payload, func(r rune) bool { return r < ' ' && r != '\t' && r != '\n' }) {
			payload = fmt.Sprintf("%q", m.Payload)
		}
		_, err := fmt.Fprintf(w, "%s %s\n", m.Topic, payload)
		return err
	}
	line := struct {
		Topic         string     `json:"topic"`
		At            *time.Time `json:"at"`
		Payload       *string    `json:"payload,omitempty"`
		PayloadBase64 []byte     `json:"payloadBase64,omitempty"`
		Retained      bool       `json:"retained,omitempty"`
	}{Topic: m.Topic, At: m.At, Retained: m.Retained}
	if payload := string(m.Payload); text {
		line.Payload = &payload
	} else {
		line.PayloadBase64 = m.Payload
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	return enc.Encode(line)
}

type pubCommand struct {
	serverFlags
	Topic   string  `arg:"" help:"The topic."`
	Payload *string `arg:"" optional:"" help:"The payload. Without it and without --file it is empty."`
	File    string  `placeholder:"FILE" help:"Read the payload from this file; - is standard input."`
	QoS     int     `name:"qos" default:"1" enum:"0,1" help:"1 returns when the broker has the message; 0 may lose it."`
	Retain  bool    `help:"Have the broker keep the message for those who subscribe later; an empty payload ends that."`
}

// Help implements kong.HelpProvider.
func (pubCommand) Help() string {
	return `Publishes to all subscribers of the account in the Region: cores, devices, and fescue
mqtt sub. It is the AWS IoT operation Publish.

Examples:
  fescue mqtt pub mill/speed 12
  fescue mqtt pub mill/config --file config.json --retain
  echo '{"stop":true}' | fescue mqtt pub mill/command --file -`
}

// maxPubPayload bounds what is read of a file, in bytes, just above what a server
// takes, so that the server's refusal is what is reported.
const maxPubPayload = iotdata.MaxPayload + 1

// Run publishes.
func (c *pubCommand) Run(ctx context.Context, t *terminal) error {
	payload, err := c.payload()
	if err != nil {
		return err
	}
	api, err := c.connect(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, client.Timeout)
	defer cancel()
	path := "/topics/" + url.PathEscape(c.Topic) + fmt.Sprintf("?qos=%d&retain=%t", c.QoS, c.Retain)
	answer, err := api.Send(ctx, "iotdata", "Publish", http.MethodPost, path, payload, "Content-Type", "application/octet-stream")
	if err != nil {
		return err
	}
	return answer.Close()
}

func (c *pubCommand) payload() ([]byte, error) {
	switch {
	case c.Payload != nil && c.File != "":
		return nil, &exitError{code: 2, text: "give the payload or --file, not both"}
	case c.Payload != nil:
		return []byte(*c.Payload), nil
	case c.File == "":
		return nil, nil
	case c.File == "-":
		return io.ReadAll(io.LimitReader(os.Stdin, maxPubPayload))
	}
	f, err := os.Open(c.File)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxPubPayload))
}
