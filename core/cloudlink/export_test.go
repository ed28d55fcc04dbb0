package cloudlink

import "time"

// Assume has a link that does not run believe that it has long been subscribed to all that
// is wanted.
func (l *Link) Assume() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, list := range [][]*connection{l.connections, l.lasting} {
		for _, c := range list {
			c.up, c.since = true, time.Now().Add(-2*suspicionLasts)
			for _, f := range c.wanted {
				if c.gain(f); c.lasting {
					c.recorded[f] = true
				}
			}
		}
	}
}

// Come is a message that the last connection of its kind gets.
func (l *Link) Come(lasting bool, m Message) {
	list := l.connections
	if lasting {
		list = l.lasting
	}
	l.deliver(list[len(list)-1], m)
}

// Held is how many filters connections are believed to be subscribed to, by the index
// of those of each kind.
func (l *Link) Held() (clean, lasting int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.served.Len(), l.servedLasting.Len()
}
