// kafkajs, asked in lines of JSON (see ../remote.py). Run as: node main.js HOST:PORT
'use strict'

const readline = require('node:readline')
const { CompressionCodecs, CompressionTypes, ConfigResourceTypes, Kafka, Partitioners, logLevel } = require('kafkajs')
const snappy = require('kafkajs-snappy')
const lz4 = require('lz4-napi')
const zstd = require('@bokuweb/zstd-wasm')

CompressionCodecs[CompressionTypes.Snappy] = snappy
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: encoder => lz4.compressFrame(encoder.buffer),
  decompress: buffer => lz4.decompressFrame(buffer),
})
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: async encoder => Buffer.from(zstd.compress(encoder.buffer, 3)),
  decompress: async buffer => Buffer.from(zstd.decompress(buffer)),
})
const COMPRESSIONS = { none: 'None', gzip: 'GZIP', snappy: 'Snappy', lz4: 'LZ4', zstd: 'ZSTD' }
const ACKS = { all: -1, 1: 1, 0: 0 }
const SMALL_BATCH = 7

const kafka = new Kafka({
  brokers: [process.argv[2]],
  logLevel: logLevel.WARN,
  logCreator: () => ({ namespace, log }) => console.error(namespace, log.message, log.error ?? ''),
  retry: { initialRetryTime: 50, retries: 6 },
})
const admin = kafka.admin()
const members = new Map()
const transactions = new Map()

const encoded = bytes => (bytes === null || bytes === undefined ? null : Buffer.from(bytes).toString('base64'))
const decoded = text => (text === null ? null : Buffer.from(text, 'base64'))

/** kafkajs's message of a record; a header that comes more than once is a list there. */
function toMessage([partition, , key, value, headers, timestamp]) {
  const byName = {}
  for (const [name, text] of headers) {
    const one = decoded(text)
    byName[name] = name in byName ? [].concat(byName[name], [one]) : one
  }
  const message = { key: decoded(key), value: decoded(value), headers: byName }
  if (partition !== null) message.partition = partition
  if (timestamp !== null) message.timestamp = String(timestamp)
  return message
}

function fromMessage(partition, message) {
  const headers = []
  for (const [name, values] of Object.entries(message.headers ?? {})) {
    for (const value of Array.isArray(values) ? values : [values]) headers.push([name, encoded(value)])
  }
  const { offset, key, value, timestamp } = message
  return [partition, Number(offset), encoded(key), encoded(value), headers, Number(timestamp)]
}

async function send(sender, topic, records, options = {}, atOnce = Infinity) {
  const messages = records.map(toMessage)
  for (let i = 0; i < messages.length; i += atOnce) {
    await sender.send({ topic, messages: messages.slice(i, i + atOnce), ...options })
  }
}

const producerOf = options =>
  kafka.producer({ allowAutoTopicCreation: false, createPartitioner: Partitioners.DefaultPartitioner, ...options })

/** A consumer that runs; `each` is given every message. kafkajs reads committed records only unless told otherwise. */
async function consume({ group, topics, committed, each, onJoin = () => {}, onRebalance = () => {} }) {
  const consumer = kafka.consumer({
    groupId: group, heartbeatInterval: 300, sessionTimeout: 10_000, maxWaitTimeInMs: 100, readUncommitted: !committed,
    allowAutoTopicCreation: false,
  })
  consumer.on(consumer.events.GROUP_JOIN, event => onJoin(event.payload.memberAssignment))
  consumer.on(consumer.events.REBALANCING, onRebalance)
  await consumer.connect()
  await consumer.subscribe({ topics, fromBeginning: true })
  await consumer.run({
    autoCommit: false,
    eachBatch: async ({ batch, resolveOffset, heartbeat }) => {
      for (const message of batch.messages) {
        each(batch.topic, batch.partition, message)
        resolveOffset(message.offset)
      }
      await heartbeat()
    },
  })
  return consumer
}

const consumed = member =>
  [...member.positions].map(([key, offset]) => ({ ...JSON.parse(key), offset: String(offset) }))
    .filter(({ topic, partition }) => member.assignment.some(([t, p]) => t === topic && p === partition))

const byPartition = entries => Object.fromEntries(entries.map(({ partition, offset }) => [partition, Number(offset)]))

const does = {
  async produce({ topic, records, compression, acks, idempotent, small_batches }) {
    const producer = producerOf(idempotent ? { idempotent, maxInFlightRequests: 1 } : {})
    await producer.connect()
    const options = { acks: ACKS[acks], compression: CompressionTypes[COMPRESSIONS[compression]] }
    await send(producer, topic, records, options, small_batches ? SMALL_BATCH : Infinity)
    await producer.disconnect()
  },

  async read({ topic, count, starts, committed, seconds }) {
    const found = []
    let enough
    const done = new Promise((resolve, reject) => {
      enough = resolve
      setTimeout(() => reject(new Error(`${found.length} records instead of ${count}`)), seconds * 1000).unref()
    })
    const each = (_, partition, message) => {
      const start = starts[partition]
      if (start === undefined || Number(message.offset) < start || found.length >= count) return
      found.push(fromMessage(partition, message))
      if (found.length >= count) enough()
    }
    const group = `reads-${process.pid}-${Math.random()}`
    const consumer = await consume({ group, topics: [topic], committed, each })
    for (const [partition, offset] of Object.entries(starts)) {
      consumer.seek({ topic, partition: Number(partition), offset: String(offset) })
    }
    if (count > 0) await done.finally(() => consumer.disconnect())
    return found
  },

  async offsets({ topic, at }) {
    if (typeof at === 'number') return byPartition(await admin.fetchTopicOffsetsByTimestamp(topic, at))
    const found = await admin.fetchTopicOffsets(topic)
    return byPartition(found.map(({ partition, low, high }) => ({ partition, offset: at === 'earliest' ? low : high })))
  },

  async join({ member, group, topics }) {
    const state = { group, records: [], assignment: [], rebalances: 0, positions: new Map() }
    members.set(member, state)
    state.consumer = await consume({
      group, topics, committed: true,
      each: (topic, partition, message) => {
        state.records.push(fromMessage(partition, message))
        state.positions.set(JSON.stringify({ topic, partition }), Number(message.offset) + 1)
      },
      onJoin: assignment => {
        state.rebalances += 1
        state.assignment = Object.entries(assignment).flatMap(([topic, partitions]) => partitions.map(p => [topic, p]))
      },
      onRebalance: () => { state.assignment = [] },
    })
  },
  async assignment({ member }) { return members.get(member).assignment },
  async rebalances({ member }) { return members.get(member).rebalances },
  async records({ member }) { return members.get(member).records.splice(0) },
  async commit({ member, metadata }) {
    const state = members.get(member)
    await state.consumer.commitOffsets(consumed(state).map(each => ({ ...each, metadata })))
  },
  async leave({ member }) { await members.get(member).consumer.disconnect() },

  async committed({ group, topic }) {
    const [{ partitions }] = await admin.fetchOffsets({ groupId: group, topics: [topic] })
    return Object.fromEntries(partitions.filter(p => Number(p.offset) >= 0)
      .map(p => [p.partition, [Number(p.offset), p.metadata ?? '']]))
  },

  async transactional({ transactions: number, id }) {
    const producer = producerOf({ transactionalId: id, idempotent: true, maxInFlightRequests: 1, retry: { retries: 3 } })
    await producer.connect()
    transactions.set(number, { producer, open: await producer.transaction() })
  },
  // A producer of kafkajs is fenced off by a transaction's beginning, so the first one begins with the producer.
  async begin({ transactions: number }) {
    const state = transactions.get(number)
    state.open ??= await state.producer.transaction()
  },
  async send({ transactions: number, topic, records }) { await send(transactions.get(number).open, topic, records) },
  async send_offsets({ transactions: number, member }) {
    const { group } = members.get(member)
    const byTopic = new Map()
    for (const { topic, partition, offset } of consumed(members.get(member))) {
      byTopic.set(topic, [...(byTopic.get(topic) ?? []), { partition, offset }])
    }
    const topics = [...byTopic].map(([topic, partitions]) => ({ topic, partitions }))
    await transactions.get(number).open.sendOffsets({ consumerGroupId: group, topics })
  },
  async end({ transactions: number, commit }) {
    const state = transactions.get(number)
    const { open } = state
    state.open = undefined
    await (commit ? open.commit() : open.abort())
  },
  async close({ transactions: number }) { await transactions.get(number).producer.disconnect() },

  async create_topic({ topic, partitions, config }) {
    const configEntries = Object.entries(config).map(([name, value]) => ({ name, value }))
    const made = await admin.createTopics({ topics: [{ topic, numPartitions: partitions, replicationFactor: 1, configEntries }] })
    if (!made) throw new Error('the topic exists')
  },
  async delete_topic({ topic }) { await admin.deleteTopics({ topics: [topic] }) },
  async create_partitions({ topic, total }) { await admin.createPartitions({ topicPartitions: [{ topic, count: total }] }) },
  async topics() {
    const { topics } = await admin.fetchTopicMetadata()
    return Object.fromEntries(topics.map(({ name, partitions }) => [name, partitions.length]))
  },
  async config({ topic }) {
    const { resources } = await admin.describeConfigs({ resources: [{ type: ConfigResourceTypes.TOPIC, name: topic }] })
    return Object.fromEntries(resources[0].configEntries.map(e => [e.configName, e.configValue]))
  },
  async alter_config({ topic, settings }) {
    const configEntries = Object.entries(settings).map(([name, value]) => ({ name, value }))
    await admin.alterConfigs({ validateOnly: false, resources: [{ type: ConfigResourceTypes.TOPIC, name: topic, configEntries }] })
  },
  async groups() { return (await admin.listGroups()).groups.map(g => g.groupId) },
  async group({ group }) {
    const [found] = (await admin.describeGroups([group])).groups
    return [found.state, found.members.length]
  },
  async delete_group({ group }) { await admin.deleteGroups([group]) },
  async truncate({ topic, before }) {
    // kafkajs deletes only from topics whose leaders it happens to know.
    await admin.fetchTopicOffsets(topic)
    const partitions = Object.entries(before).map(([p, offset]) => ({ partition: Number(p), offset: String(offset) }))
    await admin.deleteTopicRecords({ topic, partitions })
  },
}

async function answer(line) {
  const { do: name, ...request } = JSON.parse(line)
  try {
    return { ok: (await does[name](request)) ?? null }
  } catch (error) {
    const more = (error.errors ?? error.groups ?? []).map(each => each.message ?? JSON.stringify(each)).join(', ')
    return { error: `${error.name}: ${error.message} ${more}` }
  }
}

async function main() {
  await zstd.init()
  await admin.connect()
  for await (const line of readline.createInterface({ input: process.stdin })) {
    process.stdout.write(JSON.stringify(await answer(line)) + '\n')
  }
  process.exit(0)
}

main().catch(error => {
  console.error(error)
  process.exit(1)
})
