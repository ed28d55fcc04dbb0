package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Earlier versions had nats-server speak MQTT and keep the sessions, in these streams
// (server/mqtt.go of nats-server 2.15). Their names of topics were
// <account>:<region>:<class>/m/<level>/m/<level>/e/<last level>, and a session had the key
// that it has now.
const (
	formerSessions = "$MQTT_sess"
	formerMessages = "$MQTT_msgs"
	formerRetained = "$MQTT_rmsgs"

	formerMessagePrefix  = "$MQTT.msgs."
	formerRetainedPrefix = "$MQTT.rmsgs."
	// formerSeenPrefix is before the key of a session in the retained message that says when
	// its client was last seen.
	formerSeenPrefix = formerRetainedPrefix + "~seen."
)

// formerSession is what nats-server keeps of a session.
type formerSession struct {
	ID    string          `json:"id"`
	Clean bool            `json:"clean"`
	Subs  map[string]byte `json:"subs"`
}

// formerSeen is what the retained message says.
type formerSeen struct {
	Seen        int64  `json:"seen"`
	Certificate string `json:"certificate"`
}

// takeFormer takes over what an earlier version has left, once. A session gets again what
// it had acknowledged, where that still waited for another.
func (b *Broker) takeFormer(ctx context.Context) error {
	if _, err := b.api.Stream(ctx, formerSessions); err == nil {
		if err := b.copyFormer(ctx); err != nil {
			return fmt.Errorf("take over the sessions and messages of an earlier version: %w", err)
		}
	} else if !errors.Is(err, jetstream.ErrStreamNotFound) {
		return err
	}
	// The sessions go first: without them there is nothing to take over any more.
	for _, name := range []string{formerSessions, formerMessages, formerRetained, "$MQTT_out", "$MQTT_qos2in"} {
		if err := b.api.DeleteStream(ctx, name); err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
			return fmt.Errorf("remove %s of an earlier version: %w", name, err)
		}
	}
	return nil
}

func (b *Broker) copyFormer(ctx context.Context) error {
	// An attempt that was cut off has left a part, and no client has been served since.
	for _, stream := range []jetstream.Stream{b.messages, b.retained, b.filing} {
		if err := stream.Purge(ctx); err != nil {
			return err
		}
	}
	seen := map[string]formerSeen{}
	if err := b.eachFormer(ctx, formerRetained, func(m jetstream.Msg, _ *jetstream.MsgMetadata) error {
		if key, ok := strings.CutPrefix(m.Subject(), formerSeenPrefix); ok {
			var s formerSeen
			if json.Unmarshal(m.Data(), &s) == nil {
				seen[key] = s
			}
			return nil
		}
		flags := m.Headers().Get("Nmqtt-RFlags")
		subject, ok := fromFormer(strings.TrimPrefix(m.Subject(), formerRetainedPrefix))
		if !ok || strings.HasPrefix(flags, "-") || len(m.Data()) == 0 {
			return nil
		}
		copied := &nats.Msg{Subject: retainedPrefix + subject, Data: m.Data(), Header: nats.Header{}}
		if n, err := strconv.ParseUint(flags, 16, 8); err == nil && n&0b110 > 0 { // as in the packet's first byte
			copied.Header.Set(qosHeader, "1")
		}
		_, err := b.api.PublishMsg(ctx, copied)
		return err
	}); err != nil {
		return err
	}
	if err := b.eachFormer(ctx, formerMessages, func(m jetstream.Msg, _ *jetstream.MsgMetadata) error {
		subject, ok := fromFormer(strings.TrimPrefix(m.Subject(), formerMessagePrefix))
		if !ok {
			return nil
		}
		_, err := b.api.PublishMsg(ctx, &nats.Msg{Subject: messagePrefix + subject, Data: m.Data()})
		return err
	}); err != nil {
		return err
	}
	return b.eachFormer(ctx, formerSessions, func(m jetstream.Msg, _ *jetstream.MsgMetadata) error {
		var s formerSession
		if json.Unmarshal(m.Data(), &s) != nil || s.Clean || strings.HasPrefix(s.ID, "~") {
			return nil
		}
		r := record{Holder: seen[s.ID].Certificate, Seen: seen[s.ID].Seen, Filters: map[string]grant{}}
		if r.Seen == 0 {
			r.Seen = b.o.Now().UnixMilli()
		}
		for former, qos := range s.Subs {
			subject, ok := fromFormer(former)
			if _, filter, known := original(subject); ok && known {
				r.Filters[filter] = grant{QoS: qos}
			}
		}
		text, err := json.Marshal(r)
		if err != nil {
			return err
		}
		_, err = b.api.PublishMsg(ctx, &nats.Msg{Subject: sessionPrefix + s.ID, Data: text})
		return err
	})
}

// eachFormer calls fn with each message of a stream, if that is there.
func (b *Broker) eachFormer(ctx context.Context, stream string, fn func(m jetstream.Msg, meta *jetstream.MsgMetadata) error) error {
	err := b.consume(ctx, stream, jetstream.ConsumerConfig{DeliverPolicy: jetstream.DeliverAllPolicy}, true, fn)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil
	}
	return err
}

// fromFormer is the subject of a topic or filter by its former name, as MQTT or nats-server
// has it.
func fromFormer(name string) (subject string, ok bool) {
	levels := strings.FieldsFunc(name, func(r rune) bool { return r == '/' || r == '.' })
	if len(levels) == 0 {
		return "", false
	}
	at := strings.LastIndexByte(levels[0], ':')
	if at < 0 {
		return "", false
	}
	list := []string{levels[0][:at], levels[0][at+1:]}
	for rest := levels[1:]; len(rest) > 0; rest = rest[2:] {
		switch {
		case len(rest) == 1 && (rest[0] == "#" || rest[0] == ">"):
			return strings.Join(append(list, ">"), "."), true
		case len(rest) < 2 || rest[0] != "m" && rest[0] != "e":
			return "", false
		case rest[1] == "+":
			list = append(list, "*")
		default:
			list = append(list, rest[1])
		}
	}
	return strings.Join(list, "."), len(list) > 2
}

// formerTime bounds takeFormer.
const formerTime = 10 * time.Minute
