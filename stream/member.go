package stream

import (
	"errors"
	"fmt"

	"github.com/IBM/sarama"
)

// memberClient talks to the group's coordinator over connections of its own.
// sarama holds a broker's connection until an answer is decoded: on that of the
// fetches a heartbeat would wait behind megabytes of records, and a member would
// lose its session just when it has most to do.
type memberClient struct {
	sarama.Client // for fetches and metadata
	coordination  sarama.Client
}

// Coordinator returns the coordinator of a group.
func (c memberClient) Coordinator(group string) (*sarama.Broker, error) {
	return c.coordination.Coordinator(group)
}

// RefreshCoordinator looks for the coordinator of a group anew.
func (c memberClient) RefreshCoordinator(group string) error {
	return c.coordination.RefreshCoordinator(group)
}

// Close ends both sets of connections.
func (c memberClient) Close() error {
	return errors.Join(c.coordination.Close(), c.Client.Close())
}

func newMemberClient(brokers []string, cfg *sarama.Config) (memberClient, error) {
	fetches, err := sarama.NewClient(brokers, cfg)
	if err != nil {
		return memberClient{}, fmt.Errorf("connect: %w", err)
	}
	coordination, err := sarama.NewClient(brokers, cfg)
	if err != nil {
		return memberClient{}, errors.Join(fmt.Errorf("connect: %w", err), fetches.Close())
	}
	return memberClient{Client: fetches, coordination: coordination}, nil
}

// member is a consumer group that owns its clients.
type member struct {
	sarama.ConsumerGroup
	client memberClient
}

// Close leaves the group's sessions and ends the connections.
func (m member) Close() error {
	return errors.Join(m.ConsumerGroup.Close(), m.client.Close())
}

func newMember(brokers []string, name string, cfg *sarama.Config) (member, error) {
	client, err := newMemberClient(brokers, cfg)
	if err != nil {
		return member{}, err
	}
	inner, err := sarama.NewConsumerGroupFromClient(name, client)
	if err != nil {
		return member{}, errors.Join(err, client.Close())
	}
	return member{ConsumerGroup: inner, client: client}, nil
}

// leave takes a static member that does not come back out of its group: its own
// end tells the group nothing (trap 20). One that comes back it leaves alone.
func leave(cfg Config, group string) error {
	if !cfg.Leave {
		return nil
	}
	if err := removeMember(cfg, group); err != nil {
		return fmt.Errorf("leave group %s: %w; its partitions wait %s for instance %q", group, err, cfg.SessionTimeout, cfg.Instance)
	}
	return nil
}

func removeMember(cfg Config, group string) error {
	admin, err := sarama.NewClusterAdmin(cfg.Brokers, cfg.client(group+"-"+cfg.Instance))
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	res, err := admin.RemoveMemberFromConsumerGroup(group, []string{cfg.Instance})
	switch {
	case err != nil:
	case res.Err != sarama.ErrNoError:
		err = res.Err
	case len(res.Members) == 1 && res.Members[0].Err != sarama.ErrNoError && res.Members[0].Err != sarama.ErrUnknownMemberId: // it never joined
		err = res.Members[0].Err
	}
	return errors.Join(err, admin.Close())
}
