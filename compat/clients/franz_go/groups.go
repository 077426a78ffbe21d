package main

import (
	"context"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

var strategies = map[string]kgo.GroupBalancer{
	"range": kgo.RangeBalancer(), "roundrobin": kgo.RoundRobinBalancer(), "sticky": kgo.StickyBalancer(),
	"cooperative-sticky": kgo.CooperativeStickyBalancer(),
}

type place struct {
	topic     string
	partition int32
}

// member is a consumer in a group. One of a transactional session is polled by its transactions.
type member struct {
	client     *kgo.Client
	stop       context.CancelFunc
	stopped    chan struct{}
	lock       sync.Mutex
	owned      map[place]bool
	positions  map[place]kgo.EpochOffset
	rebalances int
	records    [][]any
	err        error
}

func newMember() *member {
	return &member{owned: map[place]bool{}, positions: map[place]kgo.EpochOffset{}}
}

func (m *member) options(r *request) []kgo.Opt {
	given := func(_ context.Context, _ *kgo.Client, assigned map[string][]int32) { m.change(assigned, true) }
	taken := func(_ context.Context, _ *kgo.Client, revoked map[string][]int32) { m.change(revoked, false) }
	options := []kgo.Opt{
		kgo.ConsumerGroup(r.Group), kgo.ConsumeTopics(r.Topics...), kgo.DisableAutoCommit(),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.HeartbeatInterval(300 * time.Millisecond),
		kgo.SessionTimeout(10 * time.Second), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.OnPartitionsAssigned(given), kgo.OnPartitionsRevoked(taken), kgo.OnPartitionsLost(taken),
	}
	if r.Strategy == "server" {
		options = append(options, kgo.ServerSideBalancer())
	} else if balancer, named := strategies[r.Strategy]; named {
		options = append(options, kgo.Balancers(balancer))
	}
	if r.Static != "" {
		options = append(options, kgo.InstanceID(r.Static))
	}
	return options
}

// change notes what the group gives or takes.
func (m *member) change(places map[string][]int32, given bool) {
	m.lock.Lock()
	defer m.lock.Unlock()
	for topic, partitions := range places {
		for _, partition := range partitions {
			if given {
				m.owned[place{topic, partition}] = true
			} else {
				delete(m.owned, place{topic, partition})
			}
		}
	}
	if given && len(places) > 0 {
		m.rebalances++
	}
}

// keep notes what came.
func (m *member) keep(fetches kgo.Fetches) {
	m.lock.Lock()
	defer m.lock.Unlock()
	if err := fetches.Err0(); err != nil && err != context.Canceled && err != context.DeadlineExceeded {
		m.err = err
	}
	fetches.EachRecord(func(one *kgo.Record) {
		m.records = append(m.records, fromKgo(one))
		m.positions[place{one.Topic, one.Partition}] = kgo.EpochOffset{Epoch: one.LeaderEpoch, Offset: one.Offset + 1}
	})
}

func join(p *program, _ context.Context, r *request) (any, error) {
	m := newMember()
	client, err := p.client(m.options(r)...)
	if err != nil {
		return nil, err
	}
	m.client, m.stopped = client, make(chan struct{})
	ctx, stop := context.WithCancel(context.Background())
	m.stop = stop
	go func() {
		defer close(m.stopped)
		for ctx.Err() == nil {
			m.keep(client.PollFetches(ctx))
		}
	}()
	p.members[r.Member] = m
	return nil, nil
}

func assignment(p *program, _ context.Context, r *request) (any, error) {
	m := p.members[r.Member]
	m.lock.Lock()
	defer m.lock.Unlock()
	owned := [][]any{}
	for each := range m.owned {
		owned = append(owned, []any{each.topic, each.partition})
	}
	return owned, m.err
}

func rebalances(p *program, _ context.Context, r *request) (any, error) {
	m := p.members[r.Member]
	m.lock.Lock()
	defer m.lock.Unlock()
	return m.rebalances, m.err
}

func taken(p *program, _ context.Context, r *request) (any, error) {
	m := p.members[r.Member]
	m.lock.Lock()
	defer m.lock.Unlock()
	found := m.records
	m.records = nil
	if found == nil {
		found = [][]any{}
	}
	return found, m.err
}

func (m *member) consumed() map[string]map[int32]kgo.EpochOffset {
	m.lock.Lock()
	defer m.lock.Unlock()
	found := map[string]map[int32]kgo.EpochOffset{}
	for where, position := range m.positions {
		if !m.owned[where] {
			continue
		}
		if found[where.topic] == nil {
			found[where.topic] = map[int32]kgo.EpochOffset{}
		}
		found[where.topic][where.partition] = position
	}
	return found
}

func commit(p *program, ctx context.Context, r *request) (any, error) {
	m := p.members[r.Member]
	withMetadata := kgo.PreCommitFnContext(ctx, func(request *kmsg.OffsetCommitRequest) error {
		for i := range request.Topics {
			for j := range request.Topics[i].Partitions {
				request.Topics[i].Partitions[j].Metadata = kmsg.StringPtr(r.Metadata)
			}
		}
		return nil
	})
	var failed error
	m.client.CommitOffsetsSync(withMetadata, m.consumed(),
		func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, answer *kmsg.OffsetCommitResponse, err error) {
			failed = err
			if answer == nil {
				return
			}
			for _, topic := range answer.Topics {
				for _, partition := range topic.Partitions {
					if failed == nil {
						failed = errorOf(partition.ErrorCode)
					}
				}
			}
		})
	return nil, failed
}

func leave(p *program, _ context.Context, r *request) (any, error) {
	m := p.members[r.Member]
	if m.stop != nil {
		m.stop()
		<-m.stopped
	}
	m.client.Close()
	return nil, nil
}
