//go:build linux

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/fescue-edge/fescue/core/cloudlink"
)

// Cores that have a neighbour send it messages with QoS 1, which the cloud keeps while the
// neighbour is away. Each that was sent must arrive.

// messageTopic is where a core gets the messages of its neighbour.
func messageTopic(thing string) string { return "fleet/" + thing + "/" }

// parcel is the payload of such a message.
type parcel struct {
	Number int
	At     time.Time
	// Filler makes it as long as a reading of a few sensors.
	Filler string
}

// send queues a message to the neighbour.
func (c *core) send(number int) {
	payload, err := json.Marshal(parcel{number, time.Now(), strings.Repeat("x", 64)})
	if err != nil {
		panic(err) // numbers and letters always encode
	}
	c.mu.Lock()
	link := c.link
	c.mu.Unlock()
	if link == nil {
		c.tell(event{Core: c.Number, What: failed, At: time.Now(), Error: "there is no link to send on"})
		return
	}
	link.KeepCloud(messageTopic(c.Neighbour)+strconv.Itoa(number), payload, false, func(err error) {
		if err != nil {
			c.tell(event{Core: c.Number, What: failed, At: time.Now(), Error: err.Error()})
		}
	})
}

// receive tells of the messages that come from a neighbour, and of when they can.
func (c *core) receive(ctx context.Context, link *cloudlink.Link) {
	s := link.SubscribeLasting(func(m cloudlink.Message) error {
		var p parcel
		if err := json.Unmarshal(m.Payload, &p); err != nil {
			c.tell(event{Core: c.Number, What: failed, At: time.Now(), Error: fmt.Sprintf("the message on %s: %v", m.Topic, err)})
			return nil
		}
		c.tell(event{Core: c.Number, What: arrived, Message: p.Number, At: time.Now(), Took: time.Since(p.At)})
		return nil
	})
	s.SetFilters(messageTopic(c.Thing) + "+")
	for ctx.Err() == nil && !s.Active() {
		c.pause(ctx, 200*time.Millisecond)
	}
	c.tell(event{Core: c.Number, What: receiving, At: time.Now()})
}

// messages has each core send one to its neighbour, and waits until all have arrived.
func (p *play) messages(ctx context.Context) error {
	before, err := p.use(ctx)
	if err != nil {
		return err
	}
	began := time.Now()
	if err := p.sendMessages(); err != nil {
		return err
	}
	if err := p.awaitMessages(ctx); err != nil {
		return err
	}
	return p.did(ctx, "messages", p.Cores, began, before, p.messageLatency())
}

// sendMessages begins a round of them.
func (p *play) sendMessages() error {
	p.mu.Lock()
	p.round++
	p.arrived, p.arrivals = make(map[int]int), nil
	p.mu.Unlock()
	return p.order(order{Send: p.round})
}

func (p *play) awaitMessages(ctx context.Context) error {
	return p.await(ctx, "all messages have arrived", func() int { return p.Cores - len(p.arrived) })
}

// messageLatency is how long the messages of the round took, repeated ones not counted.
func (p *play) messageLatency() latency {
	return measure("arrived", p.take(func() []time.Duration { return append([]time.Duration(nil), p.arrivals...) }))
}
