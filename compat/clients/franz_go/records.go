package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const smallBatch = 7

var compressions = map[string]kgo.CompressionCodec{
	"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
	"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
}

var acks = map[string]kgo.Acks{"all": kgo.AllISRAcks(), "1": kgo.LeaderAck(), "0": kgo.NoAck()}

// record is a record as it is on the line: [partition, offset, key, value, headers, timestamp].
type record struct {
	partition *int32
	offset    *int64
	key       []byte
	value     []byte
	headers   [][2]json.RawMessage
	timestamp *int64
}

func (r *record) UnmarshalJSON(line []byte) error {
	return json.Unmarshal(line, &[]any{&r.partition, &r.offset, &r.key, &r.value, &r.headers, &r.timestamp})
}

// toKgo leaves the partition at -1 if the record does not choose one.
func (r *record) toKgo(topic string) (*kgo.Record, error) {
	made := &kgo.Record{Topic: topic, Key: r.key, Value: r.value, Partition: -1}
	if r.partition != nil {
		made.Partition = *r.partition
	}
	if r.timestamp != nil {
		made.Timestamp = time.UnixMilli(*r.timestamp)
	}
	for _, header := range r.headers {
		var one kgo.RecordHeader
		if err := json.Unmarshal(header[0], &one.Key); err != nil {
			return nil, err
		}
		if err := json.Unmarshal(header[1], &one.Value); err != nil {
			return nil, err
		}
		made.Headers = append(made.Headers, one)
	}
	return made, nil
}

func fromKgo(r *kgo.Record) []any {
	headers := [][]any{}
	for _, header := range r.Headers {
		headers = append(headers, []any{header.Key, header.Value})
	}
	return []any{r.Partition, r.Offset, r.Key, r.Value, headers, r.Timestamp.UnixMilli()}
}

// chosen is the partitioner: the record's own choice, or that of Kafka's clients by key.
func chosen() kgo.Partitioner {
	byKey := kgo.StickyKeyPartitioner(nil)
	return kgo.BasicConsistentPartitioner(func(topic string) func(*kgo.Record, int) int {
		keyed := byKey.ForTopic(topic)
		return func(r *kgo.Record, count int) int {
			if r.Partition >= 0 {
				return int(r.Partition)
			}
			return keyed.Partition(r, count)
		}
	})
}

// sendAll produces the records, at most `atOnce` together, and waits for their acknowledgement.
func sendAll(ctx context.Context, client *kgo.Client, topic string, records []record, atOnce int) error {
	var all []*kgo.Record
	for i := range records {
		one, err := records[i].toKgo(topic)
		if err != nil {
			return err
		}
		all = append(all, one)
	}
	for len(all) > 0 {
		count := min(atOnce, len(all))
		if err := client.ProduceSync(ctx, all[:count]...).FirstErr(); err != nil {
			return err
		}
		all = all[count:]
	}
	return nil
}

func produce(p *program, ctx context.Context, r *request) (any, error) {
	options := []kgo.Opt{
		kgo.RecordPartitioner(chosen()), kgo.ProducerBatchCompression(compressions[r.Compression]), kgo.RequiredAcks(acks[r.Acks]),
	}
	if !r.Idempotent {
		options = append(options, kgo.DisableIdempotentWrite())
	}
	client, err := p.client(options...)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	atOnce := len(r.Records)
	if r.SmallBatches {
		atOnce = smallBatch
	}
	return nil, sendAll(ctx, client, r.Topic, r.Records, atOnce)
}

func read(p *program, ctx context.Context, r *request) (any, error) {
	starts := map[int32]kgo.Offset{}
	for partition, offset := range r.Starts {
		starts[partition] = kgo.NewOffset().At(offset)
	}
	level := kgo.ReadUncommitted()
	if r.Committed {
		level = kgo.ReadCommitted()
	}
	client, err := p.client(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{r.Topic: starts}), kgo.FetchIsolationLevel(level))
	if err != nil {
		return nil, err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, time.Duration(r.Seconds)*time.Second)
	defer cancel()
	found := [][]any{}
	for len(found) < r.Count {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return nil, fmt.Errorf("%d records instead of %d: %w", len(found), r.Count, err)
		}
		fetches.EachRecord(func(one *kgo.Record) { found = append(found, fromKgo(one)) })
	}
	return found, nil
}
