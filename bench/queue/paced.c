/* Sends records at a fixed rate and measures how long each takes to reach a consumer. The client is librdkafka; this
 * program only keeps the pace and counts.
 *
 *     paced BROKER TOPIC PARTITIONS BYTES PER_SECOND SECONDS ACKS LINGER_MS
 *
 * A record carries the time at which it was due, not the time at which it was handed over, so that a client held up
 * by the broker does not hide the wait. The first fifth of the time warms up and is not measured. Prints one JSON
 * object; times in microseconds.
 */

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

#include "rdkafka.h"

#define TICK_NS 500000L
#define WAIT_MS 100

/* How a record begins. The topic may hold others, which do not count. */
struct head {
        int64_t due_ns;
        int64_t mark;
};

#define MARK 0x64656361702d6563LL
#define FAREWELL_MS 10000

static int64_t now_ns(void) {
        struct timespec time;
        clock_gettime(CLOCK_MONOTONIC, &time);
        return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static void fail(const char *what, const char *why) {
        fprintf(stderr, "%s: %s\n", what, why);
        exit(1);
}

static void set(rd_kafka_conf_t *conf, const char *name, const char *value) {
        char why[512];
        if (rd_kafka_conf_set(conf, name, value, why, sizeof(why)) != RD_KAFKA_CONF_OK)
                fail(name, why);
}

static rd_kafka_t *client(rd_kafka_type_t type, rd_kafka_conf_t *conf) {
        char why[512];
        rd_kafka_t *made = rd_kafka_new(type, conf, why, sizeof(why));
        if (!made)
                fail("client", why);
        return made;
}

/* How long records took from being due to being seen somewhere. */
struct times {
        int64_t measure_from_ns;
        int64_t count;
        int64_t measured;
        uint32_t *us;
};

static void note(struct times *times, const rd_kafka_message_t *message) {
        struct head head;
        if (message->err || message->len < sizeof(head))
                return;
        memcpy(&head, message->payload, sizeof(head));
        if (head.mark != MARK)
                return;
        times->count++;
        if (head.due_ns >= times->measure_from_ns)
                times->us[times->measured++] = (uint32_t)((now_ns() - head.due_ns) / 1000);
}

/* What the consumer is given and what it finds. */
struct received {
        rd_kafka_t *consumer;
        int64_t expected;
        int64_t deadline_ns; /* 0 until everything is sent */
        struct times times;
};

static void take(rd_kafka_message_t *message, void *argument) {
        note(&((struct received *)argument)->times, message);
}

static void *receive(void *argument) {
        struct received *received = argument;
        rd_kafka_queue_t *queue   = rd_kafka_queue_get_consumer(received->consumer);
        while (received->times.count < received->expected) {
                int64_t deadline_ns = __atomic_load_n(&received->deadline_ns, __ATOMIC_ACQUIRE);
                if (deadline_ns && now_ns() > deadline_ns)
                        break;
                rd_kafka_consume_callback_queue(queue, WAIT_MS, take, received);
        }
        rd_kafka_queue_destroy(queue);
        return NULL;
}

static rd_kafka_t *consumer_of(const char *broker, const char *topic, int partitions) {
        rd_kafka_conf_t *conf = rd_kafka_conf_new();
        set(conf, "bootstrap.servers", broker);
        set(conf, "group.id", "paced");
        set(conf, "enable.auto.commit", "false");
        set(conf, "socket.nagle.disable", "true");
        rd_kafka_t *consumer                  = client(RD_KAFKA_CONSUMER, conf);
        rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(partitions);
        for (int i = 0; i < partitions; i++)
                rd_kafka_topic_partition_list_add(list, topic, i)->offset = RD_KAFKA_OFFSET_BEGINNING;
        rd_kafka_resp_err_t error = rd_kafka_assign(consumer, list);
        if (error)
                fail("assign", rd_kafka_err2str(error));
        rd_kafka_topic_partition_list_destroy(list);
        return consumer;
}

static void delivered(rd_kafka_t *producer, const rd_kafka_message_t *message, void *acknowledged) {
        (void)producer;
        note(acknowledged, message);
}

/* Sends `count` records, a tick's worth at a time. */
static void send_paced(rd_kafka_t *producer, rd_kafka_topic_t *topic, size_t bytes, int64_t per_second, int64_t count,
                       int64_t start_ns) {
        char *payload = malloc(bytes);
        memset(payload, 'x', bytes);
        for (int64_t sent = 0, tick = 0; sent < count; tick++) {
                struct head head     = {.due_ns = start_ns + tick * TICK_NS, .mark = MARK};
                struct timespec time = {head.due_ns / 1000000000LL, head.due_ns % 1000000000LL};
                clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, NULL);
                memcpy(payload, &head, sizeof(head));
                int64_t upto = (tick + 1) * per_second / (1000000000LL / TICK_NS);
                for (; sent < upto && sent < count; sent++) {
                        while (rd_kafka_produce(topic, RD_KAFKA_PARTITION_UA, RD_KAFKA_MSG_F_COPY, payload, bytes,
                                                NULL, 0, NULL) == -1) {
                                if (rd_kafka_last_error() != RD_KAFKA_RESP_ERR__QUEUE_FULL)
                                        fail("produce", rd_kafka_err2str(rd_kafka_last_error()));
                                rd_kafka_poll(producer, 1);
                        }
                }
                rd_kafka_poll(producer, 0);
        }
        free(payload);
}

static int by_size(const void *a, const void *b) {
        uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
        return (x > y) - (x < y);
}

static void print(const char *name, struct times *times) {
        const char *labels[]  = {"p50", "p99", "p999", "max"};
        const double shares[] = {0.5, 0.99, 0.999, 1.0};
        qsort(times->us, (size_t)times->measured, sizeof(uint32_t), by_size);
        for (int i = 0; i < 4; i++) {
                uint32_t us = times->measured ? times->us[(int64_t)((double)(times->measured - 1) * shares[i])] : 0;
                printf(", \"%s%s_us\": %" PRIu32, name, labels[i], us);
        }
}

int main(int argc, char **argv) {
        if (argc != 9)
                fail("usage", "paced BROKER TOPIC PARTITIONS BYTES PER_SECOND SECONDS ACKS LINGER_MS");
        const char *broker = argv[1], *name = argv[2];
        int partitions     = atoi(argv[3]);
        size_t bytes       = (size_t)atol(argv[4]);
        int64_t per_second = atol(argv[5]), seconds = atol(argv[6]);
        if (bytes < sizeof(struct head) || per_second < 1 || seconds < 1 || partitions < 1)
                fail("usage", "at least 16 bytes, 1 a second, 1 second and 1 partition");
        prctl(PR_SET_TIMERSLACK, 1000);

        int64_t count = per_second * seconds, start_ns = now_ns() + 1000000000LL;
        int64_t measure_from_ns = start_ns + seconds * 1000000000LL / 5;
        struct times acknowledged = {.measure_from_ns = measure_from_ns, .us = calloc((size_t)count, sizeof(uint32_t))};
        struct received received  = {.expected = count, .times = acknowledged};
        received.times.us         = calloc((size_t)count, sizeof(uint32_t));

        rd_kafka_conf_t *conf = rd_kafka_conf_new();
        set(conf, "bootstrap.servers", broker);
        set(conf, "acks", argv[7]);
        set(conf, "linger.ms", argv[8]);
        set(conf, "socket.nagle.disable", "true");
        rd_kafka_conf_set_dr_msg_cb(conf, delivered);
        rd_kafka_conf_set_opaque(conf, &acknowledged);
        rd_kafka_t *producer    = client(RD_KAFKA_PRODUCER, conf);
        rd_kafka_topic_t *topic = rd_kafka_topic_new(producer, name, NULL);
        const struct rd_kafka_metadata *metadata;
        if (rd_kafka_metadata(producer, 0, topic, &metadata, 10000) == RD_KAFKA_RESP_ERR_NO_ERROR)
                rd_kafka_metadata_destroy(metadata);
        received.consumer = consumer_of(broker, name, partitions);

        pthread_t receiver;
        pthread_create(&receiver, NULL, receive, &received);
        send_paced(producer, topic, bytes, per_second, count, start_ns);
        double took = (double)(now_ns() - start_ns) / 1e9;
        rd_kafka_flush(producer, FAREWELL_MS);
        __atomic_store_n(&received.deadline_ns, now_ns() + FAREWELL_MS * 1000000LL, __ATOMIC_RELEASE);
        pthread_join(receiver, NULL);

        printf("{\"sent\": %" PRId64 ", \"acknowledged\": %" PRId64 ", \"received\": %" PRId64 ", \"seconds\": %.3f",
               count, acknowledged.count, received.times.count, took);
        print("", &received.times);
        print("ack_", &acknowledged);
        printf("}\n");
        rd_kafka_topic_destroy(topic);
        rd_kafka_consumer_close(received.consumer);
        rd_kafka_destroy(received.consumer);
        rd_kafka_destroy(producer);
        return received.times.count == count && acknowledged.count == count ? 0 : 1;
}
