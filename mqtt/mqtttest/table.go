package mqtttest

import (
	"strings"
	"time"

	"github.com/fescue-edge/fescue/mqtt"
)

// row is what is sent and what must come back.
type row struct {
	// ids are the statements that it is about, separated by spaces.
	ids, name string
	// both are the steps with either server; core and cloud those with one, and why
	// is why they are not the same.
	both, core, cloud []step
	why               string
}

// Why rows differ.
const (
	notRetained = "The original core's dealing with retained messages is not documented; ours keeps none and says so (docs/devices.md). AWS IoT Core keeps one for each topic."
	noRow       = "The core has no right to refuse a message by; what no row takes on goes nowhere. AWS IoT Core ends the connection when a topic is reserved."
	knownOnly   = "The core lets in the things of its group, each under its name, and answers every other name with code 5, as the original did. AWS IoT Core takes any name of up to 128 bytes that the policy allows."
	noQoS2      = "The core grants 1 where 2 is asked for, as devices that never were with AWS IoT Core may ask. AWS IoT Core ends the connection."
)

// CONNECT packets in bytes, for client a.
const (
	connectHead = "\x00\x04MQTT\x04"
	idA         = "\x00\x01a"
)

// connectBytes is a CONNECT with these flags and what follows the keep-alive.
func connectBytes(flags byte, payload string) string {
	body := connectHead + string([]byte{flags, 0, 60}) + payload
	return string([]byte{0x10, byte(len(body))}) + body
}

func filters(list ...string) (subscriptions []mqtt.Subscription) {
	for _, f := range list {
		subscriptions = append(subscriptions, mqtt.Subscription{Filter: f, QoS: 1})
	}
	return subscriptions
}

// matching has b subscribe to a filter and a publish to topics, of which those that are marked
// with ! must not come.
func matching(ids, filter string, topics ...string) row {
	steps := []step{join(A), join(B), subscribe(B, filter+":1", "marker:1")}
	for _, t := range topics {
		name, not := strings.CutPrefix(t, "!")
		steps = append(steps, publish(A, name, "to "+name, 1))
		if !not {
			steps = append(steps, message(B, name, "to "+name, 1), acknowledge(B))
		}
	}
	steps = append(steps, publish(A, "marker", "end", 1), message(B, "marker", "end", 1))
	return row{ids: ids, name: "what " + filter + " matches", both: steps}
}

var table = []row{
	// 1.5.3 strings
	broken("1.5.3-1 3.3.2-1", "a topic that is not UTF-8", "\x30\x03\x00\x01\xff"),
	broken("1.5.3-1", "a topic with half of a surrogate pair", "\x30\x05\x00\x03\xed\xa0\x80"),
	broken("1.5.3-1", "a topic in too many bytes", "\x30\x04\x00\x02\xc0\xaf"),
	broken("1.5.3-2 4.7.3-2", "a topic with U+0000", "\x30\x05\x00\x03a\x00b"),
	broken("1.5.3-2 4.7.3-2", "a filter with U+0000", "\x82\x06\x00\x01\x00\x01\x00\x00"),
	broken("1.5.3-2", "a filter to give up with U+0000", "\xa2\x05\x00\x01\x00\x01\x00"),
	matching("1.5.3-3", "\ufefft", "!t", "\ufefft"),

	// 2.2.2 flags
	brokenFirst("2.2.2-1 2.2.2-2", "flags of CONNECT", "\x11"+connectBytes(2, idA)[1:]),
	broken("2.2.2-2", "flags of PUBACK", "\x41\x02\x00\x01"),
	broken("2.2.2-2 3.8.1-1", "flags of SUBSCRIBE", "\x80\x06\x00\x01\x00\x01t\x00"),
	broken("2.2.2-2 3.10.1-1", "flags of UNSUBSCRIBE", "\xa0\x05\x00\x01\x00\x01t"),
	broken("2.2.2-2", "flags of PINGREQ", "\xc1\x00"),
	broken("2.2.2-2 3.14.1-1", "flags of DISCONNECT", "\xe1\x00"),
	broken("3.6.1-1", "flags of PUBREL", "\x60\x02\x00\x01"),
	broken("2.2.2-2", "a packet type that there is not", "\xf0\x00"),
	broken("2.2.2-2", "the other one", "\x00\x00"),
	broken("4.8.0-1", "a length of five bytes", "\x30\x80\x80\x80\x80\x01"),

	// 2.3.1 packet identifiers
	broken("2.3.1-1", "PUBLISH with identifier 0", "\x32\x05\x00\x01t\x00\x00"),
	broken("2.3.1-1", "PUBLISH without room for one", "\x32\x03\x00\x01t"),
	broken("2.3.1-1", "SUBSCRIBE with identifier 0", "\x82\x06\x00\x00\x00\x01t\x00"),
	broken("2.3.1-1", "UNSUBSCRIBE with identifier 0", "\xa2\x05\x00\x00\x00\x01t"),
	broken("2.3.1-1", "PUBACK with identifier 0", "\x40\x02\x00\x00"),
	{ids: "2.3.1-4 4.3.2-1", name: "messages in flight have identifiers of their own", both: []step{
		join(A), join(B), subscribe(B, "t:1"), publish(A, "t", "1", 1), publish(A, "t", "2", 1), publish(A, "t", "3", 1),
		message(B, "t", "1", 1), message(B, "t", "2", 1), message(B, "t", "3", 1),
	}},
	{ids: "2.3.1-5 3.3.1-2 4.3.1-1", name: "a message with QoS 0 has none, and no DUP", both: []step{
		join(A), join(B), subscribe(B, "t:0"), publish(A, "t", "0", 0), message(B, "t", "0", 0),
	}},
	{ids: "2.3.1-6 3.3.4-1", name: "PUBACK has the message's", both: []step{
		join(A), send(A, &mqtt.Publish{Topic: "t", QoS: 1, ID: 65535}), want(A, &mqtt.Puback{ID: 65535}),
	}},
	{ids: "2.3.1-7 3.8.4-1 3.8.4-2", name: "SUBACK has the SUBSCRIBE's", both: []step{
		join(A), send(A, &mqtt.Subscribe{ID: 65535, Filters: filters("t")}), want(A, &mqtt.Suback{ID: 65535, Codes: []byte{1}}),
	}},
	{ids: "2.3.1-7 3.10.4-4", name: "UNSUBACK has the UNSUBSCRIBE's", both: []step{
		join(A), subscribe(A, "t:1"), send(A, &mqtt.Unsubscribe{ID: 65535, Filters: []string{"t"}}), want(A, &mqtt.Unsuback{ID: 65535}),
	}},

	// 3.1 CONNECT
	brokenFirst("3.1.0-1", "PINGREQ comes first", "\xc0\x00"),
	brokenFirst("3.1.0-1", "PUBLISH comes first", "\x30\x03\x00\x01t"),
	brokenFirst("3.1.0-1", "SUBSCRIBE comes first", "\x82\x06\x00\x01\x00\x01t\x00"),
	brokenFirst("3.1.0-1", "DISCONNECT comes first", "\xe0\x00"),
	brokenFirst("3.1.0-1", "HTTP comes first", "GET / HTTP/1.1\r\n\r\n"),
	broken("3.1.0-2 4.8.0-1", "a second CONNECT", connectBytes(2, idA)),
	brokenFirst("3.1.2-1", "another protocol's name", "\x10\x0d\x00\x04MQTX\x04\x02\x00\x3c"+idA),
	brokenFirst("3.1.2-1", "the name in small letters", "\x10\x0d\x00\x04mqtt\x04\x02\x00\x3c"+idA),
	{ids: "3.1.2-2 3.2.2-4 3.2.2-5", name: "MQTT 5", both: []step{
		raw(A, "\x10\x0e\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x01a"), want(A, &mqtt.Connack{Code: mqtt.RefusedVersion}), ends(A),
	}},
	{ids: "3.1.2-2", name: "a level that there never was", both: []step{
		raw(A, "\x10\x0d\x00\x04MQTT\x7f\x02\x00\x3c"+idA), want(A, &mqtt.Connack{Code: mqtt.RefusedVersion}), ends(A),
	}},
	brokenFirst("3.1.2-3", "the reserved flag", connectBytes(3, idA)),
	{ids: "3.1.2-4 3.1.2-5 3.1.3-2 3.2.2-2 3.2.2-3 4.1.0-1 4.5.0-1", name: "a session goes on", both: []step{
		join(A), join(B, lasting), subscribe(B, "t:1"), leave(B),
		publish(A, "t", "while away", 1), resume(B), waited(B, "t", "while away"), acknowledge(B),
		publish(A, "t", "still subscribed", 1), message(B, "t", "still subscribed", 1),
	}},
	{ids: "3.1.2-6 3.1.4-3 3.2.2-1", name: "a clean session ends the one that there was", both: []step{
		join(A), join(B, lasting), subscribe(B, "t:1"), leave(B), publish(A, "t", "while away", 1),
		join(B), subscribe(B, "marker:1"), publish(A, "t", "not subscribed", 1), publish(A, "marker", "end", 1), message(B, "marker", "end", 1), leave(B),
		join(B, lasting), subscribe(B, "marker:1"), publish(A, "marker", "nothing waited", 1), message(B, "marker", "nothing waited", 1),
	}},
	{ids: "3.1.2-6 4.1.0-2", name: "a clean session ends with its connection", both: []step{
		join(A), join(B), subscribe(B, "t:1"), leave(B),
		join(B, lasting), subscribe(B, "marker:1"), publish(A, "t", "not subscribed", 1), publish(A, "marker", "end", 1), message(B, "marker", "end", 1),
	}},
	{ids: "3.1.2-7", name: "retained messages outlive the session", why: notRetained,
		cloud: []step{
			join(A), retained(A, "t", "kept"), leave(A), join(A), leave(A),
			join(B), subscribe(B, "t:1"), arrives(B, mqtt.Publish{Topic: "t", Payload: []byte("kept"), QoS: 1, Retain: true}),
		},
		core: []step{
			join(A), retained(A, "t", "kept"), join(B), subscribe(B, "t:1"), publish(A, "t", "end", 1), message(B, "t", "end", 1),
		}},
	{ids: "3.1.2-8 3.1.2-10 3.1.2-16", name: "the will when the connection breaks, once", both: []step{
		join(B), subscribe(B, "will:1", "t:1"), join(A, will("will", 1, false)), cut(A), message(B, "will", "gone", 1), acknowledge(B),
		join(A), publish(A, "t", "back", 1), message(B, "t", "back", 1),
	}},
	{ids: "3.1.2-8", name: "the will when the client breaks the protocol", both: []step{
		join(B), subscribe(B, "will:0"), join(A, will("will", 0, false)), raw(A, "\xf0\x00"), ends(A), message(B, "will", "gone", 0),
	}},
	{ids: "3.1.2-17", name: "a will to be retained", why: notRetained,
		cloud: []step{
			join(B), subscribe(B, "will:1"), join(A, will("will", 1, true)), cut(A), message(B, "will", "gone", 1), acknowledge(B), leave(B),
			join(B), subscribe(B, "will:1"), arrives(B, mqtt.Publish{Topic: "will", Payload: []byte("gone"), QoS: 1, Retain: true}),
		},
		core: []step{
			join(B), subscribe(B, "will:1"), join(A, will("will", 1, true)), cut(A), message(B, "will", "gone", 1), acknowledge(B), leave(B),
			join(A), join(B), subscribe(B, "will:1"), publish(A, "will", "end", 1), message(B, "will", "end", 1),
		}},
	{ids: "3.1.2-12", name: "no will, none is published", both: []step{
		join(B), subscribe(B, "will:1"), join(A), cut(A), join(A), publish(A, "will", "end", 1), message(B, "will", "end", 1),
	}},
	brokenFirst("3.1.2-9", "a will without a topic", connectBytes(6, idA)),
	brokenFirst("3.1.2-9", "a will without a message", connectBytes(6, idA+"\x00\x01w")),
	brokenFirst("3.1.2-11", "a will's topic and message without its flag", connectBytes(2, idA+"\x00\x01w\x00\x01m")),
	brokenFirst("3.1.2-11 3.1.2-13", "a will's QoS without its flag", connectBytes(2|1<<3, idA)),
	brokenFirst("3.1.2-14", "a will with QoS 3", connectBytes(6|3<<3, idA+"\x00\x01w\x00\x01m")),
	brokenFirst("3.1.2-11 3.1.2-15", "a will's retain flag without its flag", connectBytes(2|1<<5, idA)),
	brokenFirst("3.1.2-18", "a user name without its flag", connectBytes(2, idA+"\x00\x01u")),
	brokenFirst("3.1.2-19", "no user name with its flag", connectBytes(2|1<<7, idA)),
	brokenFirst("3.1.2-20", "a password without its flag", connectBytes(2|1<<7, idA+"\x00\x01u\x00\x01p")),
	brokenFirst("3.1.2-21", "no password with its flag", connectBytes(2|3<<6, idA+"\x00\x01u")),
	brokenFirst("3.1.2-22", "a password and no user name", connectBytes(2|1<<6, idA+"\x00\x01p")),
	{ids: "3.1.2-19 3.1.2-21 3.1.3-1", name: "user name and password, which count for nothing, in their order", both: []step{
		raw(A, connectBytes(6|3<<6, idA+"\x00\x01w\x00\x01m\x00\x01u\x00\x01p")), want(A, &mqtt.Connack{}),
	}},
	{ids: "3.1.2-24", name: "silence of one and a half times the keep-alive", both: []step{
		join(A, func(c *mqtt.Connect) { c.KeepAlive = time.Second }), ends(A),
	}},
	brokenFirst("3.1.3-3", "no client identifier", connectBytes(2, "")),
	brokenFirst("3.1.3-4", "a client identifier that is not UTF-8", connectBytes(2, "\x00\x01\xff")),
	{ids: "3.1.3-5", name: "a client identifier of 23 letters and digits", both: []step{join(Long)}},
	{ids: "3.1.3-8 3.2.2-4", name: "an empty client identifier for a lasting session", both: []step{
		send(A, opening("", lasting)), want(A, &mqtt.Connack{Code: mqtt.RefusedIdentifier}), ends(A),
	}},
	{ids: "3.1.3-9 3.2.2-5", name: "an empty client identifier", both: []step{
		send(A, opening("")), want(A, &mqtt.Connack{Code: mqtt.RefusedIdentifier}), ends(A),
	}},
	{ids: "3.1.3-9", name: "a client identifier that is not taken", why: knownOnly,
		cloud: []step{send(A, opening(strings.Repeat("x", 129))), want(A, &mqtt.Connack{Code: mqtt.RefusedIdentifier}), ends(A)},
		core:  []step{send(A, opening(B)), want(A, &mqtt.Connack{Code: mqtt.RefusedNotAuthorized}), ends(A)}},
	brokenFirst("3.1.3-10", "a will's topic that is not UTF-8", connectBytes(6, idA+"\x00\x01\xff\x00\x01m")),
	brokenFirst("4.7.1-1", "a will's topic with a wildcard", connectBytes(6, idA+"\x00\x01#\x00\x01m")),
	brokenFirst("3.1.3-11", "a user name that is not UTF-8", connectBytes(2|1<<7, idA+"\x00\x01\xff")),
	brokenFirst("3.1.4-1 3.2.2-6", "more than a CONNECT has", connectBytes(2, idA+"x")),
	brokenFirst("3.1.4-1", "an empty CONNECT", "\x10\x00"),
	{ids: "3.1.4-2 3.1.3-2", name: "a client that connects anew", both: []step{
		join(A), join(B), subscribe(B, "t:1"),
		func(p *play) {
			old := *p.clients[B]
			another(B)(p)
			join(B)(p)
			p.clients["old b"] = &old
			ends("old b")(p)
		},
		subscribe(B, "t:1"), publish(A, "t", "to the new one", 1), message(B, "t", "to the new one", 1),
	}},
	{ids: "3.1.4-4 3.2.0-1", name: "CONNACK comes first, whatever else was sent", both: []step{
		send(A, opening(A), &mqtt.Pingreq{}, &mqtt.Subscribe{ID: 3, Filters: filters("t")}),
		want(A, &mqtt.Connack{}, &mqtt.Pingresp{}, &mqtt.Suback{ID: 3, Codes: []byte{1}}),
	}},
	{ids: "3.1.4-5", name: "what follows a refused CONNECT", both: []step{
		join(B), subscribe(B, "t:1"),
		send(A, opening(""), &mqtt.Publish{Topic: "t", Payload: []byte("not processed"), QoS: 1, ID: 5}), want(A, &mqtt.Connack{Code: mqtt.RefusedIdentifier}), ends(A),
		join(A), publish(A, "t", "end", 1), message(B, "t", "end", 1),
	}},

	// 3.3 PUBLISH
	{ids: "3.3.1-1 4.4.0-1 4.6.0-1", name: "what was not acknowledged comes again, in its order", both: []step{
		join(A), join(B, lasting), subscribe(B, "t:1"),
		publish(A, "t", "1", 1), publish(A, "t", "2", 1), message(B, "t", "1", 1), message(B, "t", "2", 1), cut(B),
		resume(B), again(B, "t", "1"), again(B, "t", "2"), acknowledge(B), cut(B),
		resume(B), publish(A, "t", "3", 1), message(B, "t", "3", 1),
	}},
	{ids: "3.3.1-3", name: "DUP of the sender is its own affair", both: []step{
		join(A), join(B), subscribe(B, "t:1"), send(A, &mqtt.Publish{Topic: "t", Payload: []byte("m"), QoS: 1, ID: 1, Dup: true}), want(A, &mqtt.Puback{ID: 1}), message(B, "t", "m", 1),
	}},
	broken("3.3.1-2 4.8.0-1", "DUP with QoS 0", "\x38\x03\x00\x01t"),
	broken("3.3.1-4", "QoS 3", "\x36\x05\x00\x01t\x00\x01"),
	{ids: "3.3.1-5 3.3.1-6 3.3.1-8 3.3.1-9 3.3.1-10 3.3.1-11 3.3.1-12", name: "retained messages", why: notRetained,
		cloud: []step{
			join(A), join(B), subscribe(B, "t:1"), retained(A, "t", "1"), message(B, "t", "1", 1), acknowledge(B), leave(B),
			publish(A, "t", "is not retained", 1),
			join(B), subscribe(B, "t:1"), arrives(B, mqtt.Publish{Topic: "t", Payload: []byte("1"), QoS: 1, Retain: true}), acknowledge(B),
			retained(A, "t", ""), message(B, "t", "", 1), acknowledge(B), leave(B),
			join(B), subscribe(B, "t:1"), publish(A, "t", "end", 1), message(B, "t", "end", 1),
		},
		core: []step{
			join(A), join(B), subscribe(B, "t:1"), retained(A, "t", "1"), message(B, "t", "1", 1), retained(A, "t", ""), message(B, "t", "", 1), acknowledge(B), leave(B),
			join(B), subscribe(B, "t:1"), publish(A, "t", "end", 1), message(B, "t", "end", 1),
		}},
	{ids: "3.3.1-7", name: "a message with QoS 0 to be retained takes the place of the one before", why: notRetained,
		cloud: []step{
			join(A), join(B), subscribe(B, "t:0"), retained(A, "t", "before"), message(B, "t", "before", 0),
			send(A, &mqtt.Publish{Topic: "t", Payload: []byte("after"), Retain: true}), message(B, "t", "after", 0), leave(B),
			join(B), subscribe(B, "t:0"), arrives(B, mqtt.Publish{Topic: "t", Payload: []byte("after"), Retain: true}),
		},
		core: []step{
			join(A), join(B), subscribe(B, "t:0"), send(A, &mqtt.Publish{Topic: "t", Payload: []byte("after"), Retain: true}), message(B, "t", "after", 0), leave(B),
			join(B), subscribe(B, "t:0"), publish(A, "t", "end", 0), message(B, "t", "end", 0),
		}},
	broken("3.3.2-2 4.7.1-1", "a topic with #", "\x30\x05\x00\x03a/#"),
	broken("3.3.2-2 4.7.1-1", "a topic with +", "\x30\x05\x00\x03+/b"),
	broken("3.3.2-1", "a topic past the packet's end", "\x30\x03\x00\x05t"),
	{ids: "3.3.5-1", name: "filters that overlap", both: []step{
		join(A), join(B), subscribe(B, "t/1:0", "t/+:1", "#:0"), publish(A, "t/1", "m", 1), message(B, "t/1", "m", 1), acknowledge(B),
		send(B, &mqtt.Unsubscribe{ID: 3, Filters: []string{"t/+"}}), want(B, &mqtt.Unsuback{ID: 3}), publish(A, "t/1", "by the others", 1), message(B, "t/1", "by the others", 0),
	}},
	{ids: "3.3.5-2", name: "a message that may not be sent", why: noRow,
		cloud: []step{join(A), send(A, &mqtt.Publish{Topic: "$SYS/x", QoS: 1, ID: 1}), ends(A)},
		core: []step{
			join(A), join(B), subscribe(B, "$SYS/x:1", "t:1"), publish(A, "$SYS/x", "astray", 1), publish(A, "t", "end", 1), message(B, "t", "end", 1),
		}},
	{ids: "3.3.5-2", name: "a topic that is longer than AWS IoT takes", both: []step{
		join(A), send(A, &mqtt.Publish{Topic: strings.Repeat("t", 257), QoS: 1, ID: 1}), ends(A),
	}},

	// 3.8 SUBSCRIBE, 3.9 SUBACK
	broken("3.8.3-1", "a filter that is not UTF-8", "\x82\x06\x00\x01\x00\x01\xff\x00"),
	{ids: "3.8.3-2 4.7.1-2 4.7.1-3 3.8.4-4 3.8.4-5 3.9.3-1 3.9.3-2", name: "filters that are none, among others, each with its code", both: []step{
		join(A), join(B), send(B, &mqtt.Subscribe{ID: 4, Filters: filters("t", "a/#/b", "a#", "+a", "x/+/#", "a/b+")}),
		want(B, &mqtt.Suback{ID: 4, Codes: []byte{1, 0x80, 0x80, 0x80, 1, 0x80}}),
		publish(A, "t", "taken", 1), message(B, "t", "taken", 1), publish(A, "x/y/z", "taken, too", 1), message(B, "x/y/z", "taken, too", 1),
	}},
	broken("3.8.3-3", "SUBSCRIBE to nothing", "\x82\x02\x00\x01"),
	broken("3.8.3-4", "QoS 3 of a filter", "\x82\x06\x00\x01\x00\x01t\x03"),
	broken("3.8.3-4", "reserved bits of a filter's QoS", "\x82\x06\x00\x01\x00\x01t\x81"),
	broken("3.8.3-4", "a filter without QoS", "\x82\x05\x00\x01\x00\x01t"),
	{ids: "3.8.4-3", name: "a filter anew takes the place of the one before", both: []step{
		join(A), join(B), subscribe(B, "t:1"), publish(A, "t", "1", 1), message(B, "t", "1", 1), acknowledge(B),
		subscribe(B, "t:0"), publish(A, "t", "0", 1), message(B, "t", "0", 0), publish(A, "t", "once", 1), message(B, "t", "once", 0),
	}},
	{ids: "3.8.4-3 3.3.1-6", name: "a filter anew has its retained message sent again", why: notRetained,
		cloud: []step{
			join(A), retained(A, "t", "kept"), join(B), subscribe(B, "t:0"), arrives(B, mqtt.Publish{Topic: "t", Payload: []byte("kept"), Retain: true}),
			subscribe(B, "t:0"), arrives(B, mqtt.Publish{Topic: "t", Payload: []byte("kept"), Retain: true}),
		},
		core: []step{
			join(A), join(B), subscribe(B, "t:0"), retained(A, "t", "passes"), message(B, "t", "passes", 0), subscribe(B, "t:0"), publish(A, "t", "end", 1), message(B, "t", "end", 0),
		}},
	{ids: "3.8.4-6", name: "a message comes with the lower QoS of both", both: []step{
		join(A), join(B), subscribe(B, "zero:0", "one:1"),
		publish(A, "zero", "0", 0), message(B, "zero", "0", 0), publish(A, "zero", "1", 1), message(B, "zero", "1", 0),
		publish(A, "one", "0", 0), message(B, "one", "0", 0), publish(A, "one", "1", 1), message(B, "one", "1", 1),
	}},
	{ids: "3.8.4-6", name: "a filter with QoS 2", why: noQoS2,
		cloud: []step{join(A), send(A, &mqtt.Subscribe{ID: 1, Filters: []mqtt.Subscription{{Filter: "t", QoS: 2}}}), ends(A)},
		core:  []step{join(A), send(A, &mqtt.Subscribe{ID: 1, Filters: []mqtt.Subscription{{Filter: "t", QoS: 2}}}), want(A, &mqtt.Suback{ID: 1, Codes: []byte{1}})}},

	// 3.10 UNSUBSCRIBE
	broken("3.10.3-1", "a filter to give up that is not UTF-8", "\xa2\x05\x00\x01\x00\x01\xff"),
	broken("3.10.3-2", "UNSUBSCRIBE from nothing", "\xa2\x02\x00\x01"),
	{ids: "3.10.4-1", name: "a filter is given up by its letters alone", both: []step{
		join(A), join(B), subscribe(B, "t/1:1"), send(B, &mqtt.Unsubscribe{ID: 3, Filters: []string{"t/+", "T/1", "t/1/"}}), want(B, &mqtt.Unsuback{ID: 3}),
		publish(A, "t/1", "still comes", 1), message(B, "t/1", "still comes", 1),
	}},
	{ids: "3.10.4-2 3.10.4-6", name: "what was given up comes no more", both: []step{
		join(A), join(B), subscribe(B, "t:1", "u:1", "marker:1"), send(B, &mqtt.Unsubscribe{ID: 3, Filters: []string{"t", "u"}}), want(B, &mqtt.Unsuback{ID: 3}),
		publish(A, "t", "no", 1), publish(A, "u", "no", 1), publish(A, "marker", "end", 1), message(B, "marker", "end", 1),
	}},
	{ids: "3.10.4-3", name: "what was on its way is delivered to its end", both: []step{
		join(A), join(B), subscribe(B, "t:1", "marker:1"), publish(A, "t", "on its way", 1), message(B, "t", "on its way", 1),
		send(B, &mqtt.Unsubscribe{ID: 3, Filters: []string{"t"}}), want(B, &mqtt.Unsuback{ID: 3}), acknowledge(B),
		publish(A, "marker", "end", 1), message(B, "marker", "end", 1),
	}},
	{ids: "3.10.4-5", name: "a filter that never was", both: []step{
		join(A), send(A, &mqtt.Unsubscribe{ID: 3, Filters: []string{"t", "a/#/b"}}), want(A, &mqtt.Unsuback{ID: 3}),
	}},

	// 3.12, 3.14
	{ids: "3.12.4-1", name: "PINGREQ", both: []step{join(A), send(A, &mqtt.Pingreq{}, &mqtt.Pingreq{}), want(A, &mqtt.Pingresp{}, &mqtt.Pingresp{})}},
	broken("4.8.0-1", "PINGREQ with a body", "\xc0\x01x"),
	broken("4.8.0-1", "DISCONNECT with a body", "\xe0\x01x"),
	{ids: "3.14.4-3 3.1.2-10", name: "DISCONNECT drops the will", both: []step{
		join(B), subscribe(B, "will:1"), join(A, will("will", 1, false)), leave(A), join(A), publish(A, "will", "end", 1), message(B, "will", "end", 1),
	}},

	// 4 operational behaviour
	{ids: "4.3.2-2", name: "an identifier that was acknowledged is of a new message", both: []step{
		join(A), join(B), subscribe(B, "t:1"), publish(A, "t", "1", 1), publish(A, "t", "2", 1), message(B, "t", "1", 1), message(B, "t", "2", 1),
	}},
	{ids: "4.3.3-1", name: "a message with QoS 2", both: []step{join(A), send(A, &mqtt.Publish{Topic: "t", QoS: 2, ID: 1}), ends(A)}},
	broken("4.3.3-1", "PUBREC", "\x50\x02\x00\x01"),
	broken("4.3.3-1", "PUBREL", "\x62\x02\x00\x01"),
	broken("4.3.3-1", "PUBCOMP", "\x70\x02\x00\x01"),
	{ids: "4.6.0-2", name: "PUBACKs come in the order of the messages", both: []step{
		join(A), send(A, &mqtt.Publish{Topic: "t", QoS: 1, ID: 3}, &mqtt.Publish{Topic: "t", QoS: 1, ID: 1}, &mqtt.Publish{Topic: "t", QoS: 1, ID: 2}),
		want(A, &mqtt.Puback{ID: 3}, &mqtt.Puback{ID: 1}, &mqtt.Puback{ID: 2}),
	}},
	{ids: "4.6.0-5 4.6.0-6", name: "messages keep their order", both: []step{
		join(A), join(B), subscribe(B, "t:1"), func(p *play) {
			const n = 50
			for i := range n {
				send(A, &mqtt.Publish{Topic: "t", Payload: []byte{byte(i)}, QoS: 1, ID: uint16(i + 1)})(p)
			}
			for i := range n {
				message(B, "t", string([]byte{byte(i)}), 1)(p)
			}
		},
	}},
	matching("3.3.2-3 4.7.1-2", "a/#", "!a", "a/", "a/b", "a/b/c", "!b", "!A/b"),
	matching("4.7.1-2", "#", "a", "a/b", "/"),
	matching("4.7.1-3", "a/+", "!a", "a/", "a/b", "!a/b/c"),
	matching("4.7.1-3", "+/b", "/b", "a/b", "!a/b/"),
	matching("4.7.3-4", "/a/", "!a", "!/a", "!a/", "!/a//", "/a/"),
	matching("4.7.3-4", "\u00e9", "!e\u0301", "!E", "\u00e9"),
	matching("4.7.3-4", "a b", "!ab", "!a  b", "a b"),
	{ids: "4.7.2-1", name: "no wildcard at the first level reaches topics that start with $", both: []step{
		join(A), join(B), subscribe(B, "#:1", "+/things/x/y:1"), publish(A, "$aws/things/x/y", "no", 1), publish(A, "t", "end", 1), message(B, "t", "end", 1),
	}},
	broken("4.7.3-1", "an empty topic", "\x30\x03\x00\x00x"),
	broken("4.7.3-1", "an empty filter", "\x82\x05\x00\x01\x00\x00\x00"),
	broken("4.7.3-1", "an empty filter to give up", "\xa2\x04\x00\x01\x00\x00"),
	broken("4.8.0-1", "a server's packet: CONNACK", "\x20\x02\x00\x00"),
	broken("4.8.0-1", "a server's packet: SUBACK", "\x90\x03\x00\x01\x00"),
	broken("4.8.0-1", "a server's packet: PINGRESP", "\xd0\x00"),
	broken("4.8.0-1", "a server's packet: UNSUBACK", "\xb0\x02\x00\x01"),
}
