package main

import (
	"context"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

// errorOf is the error that a broker's code stands for, or nil.
func errorOf(code int16) error {
	return kerr.ErrorForCode(code)
}

func offsets(p *program, ctx context.Context, r *request) (any, error) {
	var found kadm.ListedOffsets
	var err error
	switch at := r.At.(type) {
	case float64:
		found, err = p.admin.ListOffsetsAfterMilli(ctx, int64(at), r.Topic)
	default:
		if at == "earliest" {
			found, err = p.admin.ListStartOffsets(ctx, r.Topic)
		} else {
			found, err = p.admin.ListEndOffsets(ctx, r.Topic)
		}
	}
	if err == nil {
		err = found.Error()
	}
	byPartition := map[int32]int64{}
	found.Each(func(one kadm.ListedOffset) { byPartition[one.Partition] = one.Offset })
	return byPartition, err
}

func committed(p *program, ctx context.Context, r *request) (any, error) {
	found, err := p.admin.FetchOffsets(ctx, r.Group)
	if err == nil {
		err = found.Error()
	}
	byPartition := map[int32][]any{}
	found.Each(func(one kadm.OffsetResponse) {
		if one.Topic == r.Topic && one.At >= 0 {
			byPartition[one.Partition] = []any{one.At, one.Metadata}
		}
	})
	return byPartition, err
}

func pointers(texts map[string]string) map[string]*string {
	found := map[string]*string{}
	for name, text := range texts {
		found[name] = &text
	}
	return found
}

func createTopic(p *program, ctx context.Context, r *request) (any, error) {
	_, err := p.admin.CreateTopic(ctx, r.Partitions, 1, pointers(r.Config), r.Topic)
	return nil, err
}

func deleteTopic(p *program, ctx context.Context, r *request) (any, error) {
	_, err := p.admin.DeleteTopic(ctx, r.Topic)
	return nil, err
}

func createPartitions(p *program, ctx context.Context, r *request) (any, error) {
	answers, err := p.admin.UpdatePartitions(ctx, r.Total, r.Topic)
	if err == nil {
		err = answers.Error()
	}
	return nil, err
}

func topics(p *program, ctx context.Context, _ *request) (any, error) {
	found, err := p.admin.ListTopics(ctx)
	counts := map[string]int{}
	for _, topic := range found.Sorted() {
		counts[topic.Topic] = len(topic.Partitions)
	}
	return counts, err
}

func config(p *program, ctx context.Context, r *request) (any, error) {
	found, err := p.admin.DescribeTopicConfigs(ctx, r.Topic)
	if err != nil {
		return nil, err
	}
	one, err := found.On(r.Topic, nil)
	if err == nil {
		err = one.Err
	}
	values := map[string]*string{}
	for _, each := range one.Configs {
		values[each.Key] = each.Value
	}
	return values, err
}

func alterConfig(p *program, ctx context.Context, r *request) (any, error) {
	var changes []kadm.AlterConfig
	for name, value := range pointers(r.Settings) {
		changes = append(changes, kadm.AlterConfig{Op: kadm.SetConfig, Name: name, Value: value})
	}
	answers, err := p.admin.AlterTopicConfigs(ctx, changes, r.Topic)
	for _, answer := range answers {
		if err == nil {
			err = answer.Err
		}
	}
	return nil, err
}

func groups(p *program, ctx context.Context, _ *request) (any, error) {
	found, err := p.admin.ListGroups(ctx)
	return found.Groups(), err
}

// group asks for a group of either protocol: each has a request of its own.
func group(p *program, ctx context.Context, r *request) (any, error) {
	newer, err := p.admin.DescribeConsumerGroups(ctx, r.Group)
	if err == nil && newer.Error() == nil {
		return []any{newer[r.Group].State, len(newer[r.Group].Members)}, nil
	}
	found, err := p.admin.DescribeGroups(ctx, r.Group)
	if err == nil {
		err = found.Error()
	}
	one := found[r.Group]
	return []any{one.State, len(one.Members)}, err
}

func deleteGroup(p *program, ctx context.Context, r *request) (any, error) {
	_, err := p.admin.DeleteGroup(ctx, r.Group)
	return nil, err
}

func truncate(p *program, ctx context.Context, r *request) (any, error) {
	before := kadm.Offsets{}
	for partition, offset := range r.Before {
		before.Add(kadm.Offset{Topic: r.Topic, Partition: partition, At: offset})
	}
	answers, err := p.admin.DeleteRecords(ctx, before)
	if err == nil {
		err = answers.Error()
	}
	return nil, err
}
