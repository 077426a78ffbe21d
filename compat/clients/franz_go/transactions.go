package main

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// transactional is a producer with a transactional id; with a session, the consumer's offsets are part of its transactions.
type transactional struct {
	client  *kgo.Client
	session *kgo.GroupTransactSession
	member  *member
	// How many records the session has to read again after an abort.
	again int
}

func beginTransactional(p *program, ctx context.Context, r *request) (any, error) {
	client, err := p.client(kgo.TransactionalID(r.ID), kgo.RecordPartitioner(chosen()))
	if err != nil {
		return nil, err
	}
	p.transactions[r.Transactions] = &transactional{client: client}
	_, _, err = client.ProducerID(ctx)
	return nil, err
}

// beginSession makes a member of a group and a transactional producer that are one client, and reads `count` records.
func beginSession(p *program, ctx context.Context, r *request) (any, error) {
	m := newMember()
	options := append(m.options(r), kgo.SeedBrokers(p.address), kgo.FetchMaxWait(100*time.Millisecond),
		kgo.TransactionalID(r.ID), kgo.RecordPartitioner(chosen()), kgo.RequireStableFetchOffsets())
	session, err := kgo.NewGroupTransactSession(options...)
	if err != nil {
		return nil, err
	}
	m.client = session.Client()
	p.members[r.Member] = m
	t := &transactional{client: m.client, session: session, member: m, again: r.Count}
	p.transactions[r.Transactions] = t
	return nil, t.readAgain(ctx)
}

// readAgain polls until the records are there that the next transaction is about.
func (t *transactional) readAgain(ctx context.Context) error {
	for t.again > 0 {
		fetches := t.session.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return err
		}
		t.again -= fetches.NumRecords()
		t.member.keep(fetches)
	}
	return nil
}

func begin(p *program, ctx context.Context, r *request) (any, error) {
	t := p.transactions[r.Transactions]
	if t.session == nil {
		return nil, t.client.BeginTransaction()
	}
	if err := t.readAgain(ctx); err != nil {
		return nil, err
	}
	return nil, t.session.Begin()
}

func send(p *program, ctx context.Context, r *request) (any, error) {
	return nil, sendAll(ctx, p.transactions[r.Transactions].client, r.Topic, r.Records, len(r.Records))
}

// sendOffsets does nothing: a session adds what it has polled when the transaction ends.
func sendOffsets(*program, context.Context, *request) (any, error) {
	return nil, nil
}

func end(p *program, ctx context.Context, r *request) (any, error) {
	t := p.transactions[r.Transactions]
	if t.session != nil {
		if !r.Commit {
			t.again = len(t.member.records)
			t.member.records = nil
		}
		_, err := t.session.End(ctx, kgo.TransactionEndTry(r.Commit))
		return nil, err
	}
	if err := t.client.Flush(ctx); err != nil {
		return nil, err
	}
	return nil, t.client.EndTransaction(ctx, kgo.TransactionEndTry(r.Commit))
}

func closeTransactional(p *program, _ context.Context, r *request) (any, error) {
	p.transactions[r.Transactions].client.Close()
	return nil, nil
}
