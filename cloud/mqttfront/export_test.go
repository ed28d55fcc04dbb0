package mqttfront

import "github.com/fescue-edge/fescue"

// MaxGranting is how many SUBSCRIBEs with QoS 1 the broker has to answer at the same time.
const MaxGranting = maxGranting

// BrokerTopic, BrokerFilter, BrokerClient and OriginalTopic let tests see the names that the
// front uses towards its broker.
func BrokerTopic(p fescue.Partition, name string) string    { return newNamer(p).topic(name) }
func BrokerFilter(p fescue.Partition, filter string) string { return newNamer(p).filter(filter) }
func BrokerClient(p fescue.Partition, id string) string     { return newNamer(p).client(id) }
func OriginalTopic(p fescue.Partition, name string) (string, bool) {
	return newNamer(p).original(name)
}
