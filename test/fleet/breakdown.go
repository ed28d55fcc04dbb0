//go:build linux

package main

import (
	"context"
	"sync"
	"time"
)

// breakdown deploys to all and has all send messages. In the middle of it one of the servers
// and one of the nodes that keep messages are killed, and do not come back before all is
// done: every deployment has to end as it should, and every message to arrive.
func (p *play) breakdown(ctx context.Context) error {
	p.say("deploying to %d cores; a server and a node are killed meanwhile", p.Cores)
	p.clearDeployments()
	began := time.Now()
	var before usage
	var killed time.Time
	kill := sync.OnceValue(func() (err error) {
		if err := p.sendMessages(); err != nil {
			return err
		}
		p.servers.list[0].process.Kill()
		p.servers.nodes[0].Kill()
		p.clearConnected()
		killed = time.Now()
		p.say("killed")
		before, err = p.use(ctx)
		return err
	})
	ids, _, err := p.createDeployments(ctx, func(i int) error {
		if i < p.Cores/2 {
			return nil
		}
		return kill()
	})
	if err != nil {
		return err
	}
	if err := p.awaitEnds(ctx, ids); err != nil {
		return err
	}
	if err := p.awaitMessages(ctx); err != nil {
		return err
	}
	// A second round of messages goes by those that are left.
	first := p.messageLatency()
	first.What = "arrived, the server killed meanwhile"
	if err := p.sendMessages(); err != nil {
		return err
	}
	if err := p.awaitMessages(ctx); err != nil {
		return err
	}
	second := p.messageLatency()
	second.What = "arrived, sent afterwards"
	var ends, back []time.Duration
	p.take(func() []time.Duration {
		for _, at := range p.ended {
			ends = append(ends, at.Sub(began))
		}
		for _, at := range p.back {
			back = append(back, at.Sub(killed))
		}
		return nil
	})
	if err := p.did(ctx, "breakdown", p.Cores, began, before, measure("ended", ends), measure("connected again", back), first, second); err != nil {
		return err
	}
	if err := p.check(ctx, ids); err != nil {
		return err
	}
	if err := p.servers.nodes[0].Start(); err != nil {
		return err
	}
	return p.servers.list[0].run(ctx)
}
