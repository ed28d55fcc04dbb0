package mqttfront

import "sync/atomic"

// Stats are counts since the front was made, except Connections.
type Stats struct {
	// Connections is how many MQTT sessions are open now.
	Connections int64
	// Accepted and Refused count CONNECTs answered with 0 and with any other
	// code; Rejected counts connections whose certificate was not accepted.
	Accepted, Refused, Rejected uint64
	// Published and Delivered count messages from and to clients.
	Published, Delivered uint64
	// DeniedPublish, DeniedSubscribe and DeniedReceive count what policies and
	// topic rules forbade.
	DeniedPublish, DeniedSubscribe, DeniedReceive uint64
	// Dropped counts QoS 0 messages for clients that read too slowly, and for
	// the cloud's own subscribers.
	Dropped uint64
	// Stalled counts sessions that ended because the client read too slowly.
	Stalled uint64
	// Silent counts sessions that ended because the client said nothing.
	Silent uint64
	// Malformed counts sessions that ended with a packet that MQTT forbids.
	Malformed uint64
	// TakenOver counts sessions that gave way to one with the same client id.
	TakenOver uint64
	// Revoked counts sessions ended because their certificate was no longer
	// active, known or within its validity.
	Revoked uint64
	// BrokerLost counts sessions that ended with their broker connection.
	BrokerLost uint64
	// Wills counts wills that were published.
	Wills uint64
	// OverQuota counts sessions and subscriptions refused because of a quota,
	// Unkept messages that were not taken because there was no room to keep them.
	OverQuota, Unkept uint64
	// ExpiredSessions counts persistent sessions removed after their client
	// stayed away for too long.
	ExpiredSessions uint64
}

type counters struct {
	connections                                   atomic.Int64
	accepted, refused, rejected                   atomic.Uint64
	published, delivered                          atomic.Uint64
	deniedPublish, deniedSubscribe, deniedReceive atomic.Uint64
	dropped, stalled, silent, malformed           atomic.Uint64
	takenOver, revoked, brokerLost, wills         atomic.Uint64
	expired, overQuota, unkept                    atomic.Uint64
}

// Stats are the counts at this moment.
func (f *Front) Stats() Stats {
	c := &f.counters
	return Stats{
		Connections: c.connections.Load(),
		Accepted:    c.accepted.Load(), Refused: c.refused.Load(), Rejected: c.rejected.Load(),
		Published: c.published.Load(), Delivered: c.delivered.Load(),
		DeniedPublish: c.deniedPublish.Load(), DeniedSubscribe: c.deniedSubscribe.Load(),
		DeniedReceive: c.deniedReceive.Load(),
		Dropped:       c.dropped.Load(), Stalled: c.stalled.Load(), Silent: c.silent.Load(),
		Malformed: c.malformed.Load(), TakenOver: c.takenOver.Load(), Revoked: c.revoked.Load(),
		BrokerLost: c.brokerLost.Load(), Wills: c.wills.Load(), ExpiredSessions: c.expired.Load(),
		OverQuota: c.overQuota.Load(), Unkept: c.unkept.Load(),
	}
}
