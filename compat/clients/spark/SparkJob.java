import java.util.Map;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SparkSession;
import org.apache.spark.sql.functions;
import org.apache.spark.sql.streaming.Trigger;

/**
 * Spark's Kafka connector, in one run: reads topic "given" in batches, writes topic "in" in two parts, and after each
 * copies what is new from "in" to "out" as a stream. Run as: SparkJob HOST:PORT FOLDER SPLIT_MS
 *
 * <p>Each thing found is told in a line of standard output that begins with its name.
 */
public final class SparkJob {
    private final SparkSession spark;
    private final String address;
    private final String folder;

    private SparkJob(SparkSession spark, String address, String folder) {
        this.spark = spark;
        this.address = address;
        this.folder = folder;
    }

    public static void main(String[] arguments) throws Exception {
        SparkSession spark = SparkSession.builder().master("local[2]").config("spark.ui.enabled", "false")
                .config("spark.sql.shuffle.partitions", "2").config("spark.driver.host", "127.0.0.1")
                .config("spark.driver.bindAddress", "127.0.0.1").getOrCreate();
        spark.sparkContext().setLogLevel("WARN");
        try {
            new SparkJob(spark, arguments[0], arguments[1]).run(arguments[2]);
        } finally {
            spark.stop();
        }
    }

    private void run(String splitMs) throws Exception {
        tell("given", read("given", Map.of()));
        tell("since", read("given", Map.of("startingTimestamp", splitMs)));
        tell("part", read("given", Map.of(
                "startingOffsets", "{\"given\":{\"0\":10,\"1\":-2}}", "endingOffsets", "{\"given\":{\"0\":30,\"1\":5}}")));
        write(0, 500);
        stream();
        write(500, 800);
        stream();
        tell("out", read("out", Map.of()));
    }

    private Dataset<Row> read(String topic, Map<String, String> options) {
        return spark.read().format("kafka").option("kafka.bootstrap.servers", address).option("subscribe", topic)
                .option("includeHeaders", "true").options(options).load();
    }

    private void tell(String name, Dataset<Row> rows) {
        Dataset<String> lines = rows.withColumn("at", functions.expr("unix_millis(timestamp)"))
                .select("partition", "offset", "key", "value", "headers", "at").toJSON();
        for (String line : lines.collectAsList()) {
            System.out.println(name + " " + line);
        }
    }

    /** Rows from..to of topic "in", each with a key, a header and a time. */
    private void write(long from, long to) {
        spark.range(from, to).selectExpr("cast(concat('key-', id % 17) as binary) as key",
                "cast(concat('row ', id) as binary) as value",
                "array(struct('row' as key, cast(cast(id as string) as binary) as value)) as headers")
                .write().format("kafka").option("kafka.bootstrap.servers", address).option("topic", "in")
                .option("includeHeaders", "true").option("kafka.compression.type", "zstd").save();
    }

    /** Copies what came to "in" since the last time to "out". */
    private void stream() throws Exception {
        spark.readStream().format("kafka").option("kafka.bootstrap.servers", address).option("subscribe", "in")
                .option("startingOffsets", "earliest").option("includeHeaders", "true").option("maxOffsetsPerTrigger", "200")
                .load().selectExpr("key", "upper(cast(value as string)) as value", "headers")
                .writeStream().format("kafka").option("kafka.bootstrap.servers", address).option("topic", "out")
                .option("includeHeaders", "true").option("checkpointLocation", folder + "/checkpoint")
                .trigger(Trigger.AvailableNow()).start().awaitTermination();
    }
}
