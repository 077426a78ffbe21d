import java.util.concurrent.atomic.AtomicBoolean;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.functions.RichMapFunction;
import org.apache.flink.api.common.state.CheckpointListener;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.configuration.CheckpointingOptions;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.configuration.RestartStrategyOptions;
import org.apache.flink.connector.base.DeliveryGuarantee;
import org.apache.flink.connector.kafka.sink.KafkaRecordSerializationSchema;
import org.apache.flink.connector.kafka.sink.KafkaSink;
import org.apache.flink.connector.kafka.sink.KafkaSinkBuilder;
import org.apache.flink.connector.kafka.source.KafkaSource;
import org.apache.flink.connector.kafka.source.enumerator.initializer.OffsetsInitializer;
import org.apache.flink.connector.kafka.source.reader.deserializer.KafkaRecordDeserializationSchema;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.util.Collector;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.OffsetResetStrategy;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.clients.producer.ProducerRecord;

/**
 * Flink's Kafka connector: copies topic "in" as it is to "out", fails once on the way, after a checkpoint, and goes on
 * from there. Run as: FlinkJob HOST:PORT at-least-once|exactly-once
 */
public final class FlinkJob {
    private static final String GROUP = "flink";
    private static final AtomicBoolean FAILED = new AtomicBoolean();

    private FlinkJob() {}

    public static void main(String[] arguments) throws Exception {
        String address = arguments[0];
        Configuration configuration = new Configuration();
        configuration.set(RestartStrategyOptions.RESTART_STRATEGY, "fixed-delay");
        configuration.set(RestartStrategyOptions.RESTART_STRATEGY_FIXED_DELAY_ATTEMPTS, 1);
        configuration.set(RestartStrategyOptions.RESTART_STRATEGY_FIXED_DELAY_DELAY, java.time.Duration.ofMillis(10));
        configuration.set(CheckpointingOptions.CHECKPOINTING_INTERVAL, java.time.Duration.ofMillis(200));
        StreamExecutionEnvironment flink = StreamExecutionEnvironment.createLocalEnvironment(2, configuration);
        flink.fromSource(source(address), WatermarkStrategy.noWatermarks(), "in").map(new FailsOnce())
                .sinkTo(sink(address, arguments[1]));
        flink.execute("copy");
        System.out.println(FAILED.get() ? "failed once and ended" : "ended without a failure");
    }

    private static KafkaSource<Copied> source(String address) {
        return KafkaSource.<Copied>builder().setBootstrapServers(address).setTopics("in").setGroupId(GROUP)
                .setStartingOffsets(OffsetsInitializer.committedOffsets(OffsetResetStrategy.EARLIEST))
                .setBounded(OffsetsInitializer.latest()).setDeserializer(new FromKafka()).build();
    }

    private static KafkaSink<Copied> sink(String address, String guarantee) {
        KafkaSinkBuilder<Copied> builder = KafkaSink.<Copied>builder().setBootstrapServers(address)
                .setRecordSerializer(new ToKafka()).setProperty(ProducerConfig.COMPRESSION_TYPE_CONFIG, "lz4");
        if (guarantee.equals("exactly-once")) {
            builder.setDeliveryGuarantee(DeliveryGuarantee.EXACTLY_ONCE).setTransactionalIdPrefix("flink")
                    .setProperty(ProducerConfig.TRANSACTION_TIMEOUT_CONFIG, "60000");
        } else {
            builder.setDeliveryGuarantee(DeliveryGuarantee.AT_LEAST_ONCE);
        }
        return builder.build();
    }

    /** A record as it travels through the job. */
    public static final class Copied {
        public byte[] key;
        public byte[] value;
        public String[] names;
        public byte[][] headers;
        public long timestamp;
    }

    /** From Kafka into the job. */
    public static final class FromKafka implements KafkaRecordDeserializationSchema<Copied> {
        @Override
        public void deserialize(ConsumerRecord<byte[], byte[]> record, Collector<Copied> out) {
            Copied copied = new Copied();
            copied.key = record.key();
            copied.value = record.value();
            var headers = record.headers().toArray();
            copied.names = new String[headers.length];
            copied.headers = new byte[headers.length][];
            for (int i = 0; i < headers.length; i++) {
                copied.names[i] = headers[i].key();
                copied.headers[i] = headers[i].value();
            }
            copied.timestamp = record.timestamp();
            out.collect(copied);
        }

        @Override
        public TypeInformation<Copied> getProducedType() {
            return TypeInformation.of(Copied.class);
        }
    }

    /** From the job into Kafka. */
    public static final class ToKafka implements KafkaRecordSerializationSchema<Copied> {
        @Override
        public ProducerRecord<byte[], byte[]> serialize(Copied copied, KafkaSinkContext context, Long timestamp) {
            var record = new ProducerRecord<>("out", null, copied.timestamp, copied.key, copied.value);
            for (int i = 0; i < copied.names.length; i++) {
                record.headers().add(copied.names[i], copied.headers[i]);
            }
            return record;
        }
    }

    /** Passes records on and fails once, after a checkpoint and some more records; until then slowly, so that there is one. */
    public static final class FailsOnce extends RichMapFunction<Copied, Copied> implements CheckpointListener {
        private static final int RECORDS_AFTER_CHECKPOINT = 20;
        private int left = -1;

        @Override
        public Copied map(Copied copied) throws Exception {
            if (!FAILED.get()) {
                Thread.sleep(20);
            }
            if (left > 0 && --left == 0 && FAILED.compareAndSet(false, true)) {
                throw new IllegalStateException("the failure this job is made for");
            }
            return copied;
        }

        @Override
        public void notifyCheckpointComplete(long checkpoint) {
            if (left < 0) {
                left = RECORDS_AFTER_CHECKPOINT;
            }
        }
    }
}
