// franz-go, asked in lines of JSON (see ../remote.py). Run as: franz_go HOST:PORT
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// The longest that one request may take.
const patience = 35 * time.Second

// request has the fields of all requests; each uses some.
type request struct {
	Do           string            `json:"do"`
	Topic        string            `json:"topic"`
	Topics       []string          `json:"topics"`
	Group        string            `json:"group"`
	Records      []record          `json:"records"`
	Compression  string            `json:"compression"`
	Acks         string            `json:"acks"`
	Idempotent   bool              `json:"idempotent"`
	SmallBatches bool              `json:"small_batches"`
	Count        int               `json:"count"`
	Seconds      int               `json:"seconds"`
	Starts       map[int32]int64   `json:"starts"`
	Committed    bool              `json:"committed"`
	At           any               `json:"at"`
	Member       int               `json:"member"`
	Strategy     string            `json:"strategy"`
	Static       string            `json:"static"`
	Metadata     string            `json:"metadata"`
	Transactions int               `json:"transactions"`
	ID           string            `json:"id"`
	Commit       bool              `json:"commit"`
	Partitions   int32             `json:"partitions"`
	Total        int               `json:"total"`
	Config       map[string]string `json:"config"`
	Settings     map[string]string `json:"settings"`
	Before       map[int32]int64   `json:"before"`
}

// program is the state between requests.
type program struct {
	address      string
	admin        *kadm.Client
	members      map[int]*member
	transactions map[int]*transactional
}

type work func(p *program, ctx context.Context, r *request) (any, error)

var does = map[string]work{
	"produce": produce, "read": read, "offsets": offsets,
	"join": join, "assignment": assignment, "rebalances": rebalances, "records": taken, "commit": commit, "leave": leave,
	"committed":     committed,
	"transactional": beginTransactional, "session": beginSession,
	"begin": begin, "send": send, "send_offsets": sendOffsets, "end": end, "close": closeTransactional,
	"create_topic": createTopic, "delete_topic": deleteTopic, "create_partitions": createPartitions, "topics": topics,
	"config": config, "alter_config": alterConfig,
	"groups": groups, "group": group, "delete_group": deleteGroup, "truncate": truncate,
}

// client makes a client with what all of them have in common.
func (p *program) client(options ...kgo.Opt) (*kgo.Client, error) {
	common := []kgo.Opt{
		kgo.SeedBrokers(p.address), kgo.FetchMaxWait(100 * time.Millisecond), kgo.MetadataMinAge(100 * time.Millisecond),
		kgo.WithLogger(kgo.BasicLogger(os.Stderr, kgo.LogLevelWarn, nil)), kgo.UnknownTopicRetries(2),
	}
	return kgo.NewClient(append(common, options...)...)
}

func (p *program) answer(line []byte) map[string]any {
	var asked request
	if err := json.Unmarshal(line, &asked); err != nil {
		return map[string]any{"error": err.Error()}
	}
	do, known := does[asked.Do]
	if !known {
		return map[string]any{"error": fmt.Sprintf("no such request: %q", asked.Do)}
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	result, err := do(p, ctx, &asked)
	if err != nil {
		return map[string]any{"error": err.Error()}
	}
	return map[string]any{"ok": result}
}

func run() error {
	p := &program{address: os.Args[1], members: map[int]*member{}, transactions: map[int]*transactional{}}
	client, err := p.client()
	if err != nil {
		return err
	}
	p.admin = kadm.NewClient(client)
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 64<<20)
	answers := json.NewEncoder(os.Stdout)
	for lines.Scan() {
		if err := answers.Encode(p.answer(lines.Bytes())); err != nil {
			return err
		}
	}
	return lines.Err()
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
