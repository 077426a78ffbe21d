import com.sun.management.OperatingSystemMXBean;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.lang.management.ManagementFactory;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.apache.flink.api.common.JobID;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.configuration.CoreOptions;
import org.apache.flink.runtime.executiongraph.AccessExecutionGraph;
import org.apache.flink.runtime.executiongraph.AccessExecutionJobVertex;
import org.apache.flink.runtime.executiongraph.AccessExecutionVertex;
import org.apache.flink.runtime.minicluster.MiniCluster;
import org.apache.flink.runtime.minicluster.MiniClusterConfiguration;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.table.api.TableResult;
import org.apache.flink.table.api.bridge.java.StreamTableEnvironment;
import org.apache.flink.types.Row;
import org.apache.flink.types.RowKind;
import org.apache.flink.util.CloseableIterator;

/**
 * A Flink cluster in one process that runs Nexmark queries when told to on standard input, one after the other.
 *
 * <pre>NexmarkFlink CONFIG SQL_FOLDER NAME=VALUE …</pre>
 *
 * CONFIG has a line `name: value` for each option of Flink. SQL_FOLDER has tables.sql and a file for each query, whose
 * last statement is CREATE TABLE … AS SELECT …; ${NAME} in them becomes VALUE. A line `run q0` runs that statement to
 * the end of its input and answers with the seconds and processor seconds from the job's submission to its end, those of
 * planning and submitting it before, and the events that its sources took in. A line `rows q0` answers with what the
 * SELECT gives, changes applied: a row a line, then an empty line.
 * Every query has a session and a job of its own.
 */
public final class NexmarkFlink {
    private final Configuration configuration;
    private final Path folder;
    private final Map<String, String> values;

    private NexmarkFlink(Configuration configuration, Path folder, Map<String, String> values) {
        this.configuration = configuration;
        this.folder = folder;
        this.values = values;
    }

    public static void main(String[] arguments) throws Exception {
        Configuration configuration = new Configuration();
        for (String line : Files.readAllLines(Path.of(arguments[0]))) {
            int colon = line.indexOf(": ");
            if (colon > 0 && !line.startsWith("#")) {
                configuration.setString(line.substring(0, colon), line.substring(colon + 2).trim());
            }
        }
        Map<String, String> values = Arrays.stream(arguments).skip(2).map(word -> word.split("=", 2))
                .collect(Collectors.toMap(parts -> parts[0], parts -> parts[1]));
        NexmarkFlink flink = new NexmarkFlink(configuration, Path.of(arguments[1]), values);
        // What is said on standard output is for the runner alone.
        PrintStream answers = new PrintStream(System.out, false, StandardCharsets.UTF_8);
        System.setOut(System.err);
        int slots = configuration.get(CoreOptions.DEFAULT_PARALLELISM);
        MiniClusterConfiguration described = new MiniClusterConfiguration.Builder().setConfiguration(configuration)
                .setNumTaskManagers(1).setNumSlotsPerTaskManager(slots).build();
        try (MiniCluster cluster = new MiniCluster(described)) {
            cluster.start();
            answers.println("ready");
            answers.flush();
            BufferedReader asked = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
            for (String line = asked.readLine(); line != null; line = asked.readLine()) {
                String[] words = line.split(" ");
                try {
                    if (words[0].equals("run")) {
                        flink.run(cluster, words[1], answers);
                    } else {
                        flink.rows(cluster, words[1], answers);
                    }
                } catch (Exception error) {
                    error.printStackTrace();
                    Throwable cause = error;
                    while (cause.getCause() != null) {
                        cause = cause.getCause();
                    }
                    answers.println("error " + String.valueOf(cause.getMessage()).replace('\n', ' '));
                }
                answers.flush();
            }
        }
    }

    /** Runs a query's last statement to its end. */
    private void run(MiniCluster cluster, String query, PrintStream answers) throws Exception {
        StreamTableEnvironment tables = session(cluster);
        List<String> statements = prepared(tables, query);
        Spent planning = new Spent();
        TableResult result = tables.executeSql(statements.get(statements.size() - 1));
        JobID job = result.getJobClient().orElseThrow().getJobID();
        String planned = planning.told();
        Spent running = new Spent();
        cluster.requestJobResult(job).get().toJobExecutionResult(getClass().getClassLoader());
        long events = eventsRead(cluster.getArchivedExecutionGraph(job).get());
        answers.println("done " + running.told() + " " + planned + " " + events);
    }

    /** Answers with the rows that are left when all changes are applied, fields separated by tabs. */
    private void rows(MiniCluster cluster, String query, PrintStream answers) throws Exception {
        StreamTableEnvironment tables = session(cluster);
        List<String> statements = prepared(tables, query);
        String last = statements.get(statements.size() - 1);
        String select = last.substring(last.indexOf(") AS\n") + 5);
        Map<Row, Integer> counts = new HashMap<>();
        try (CloseableIterator<Row> changes = tables.executeSql(select).collect()) {
            while (changes.hasNext()) {
                Row row = changes.next();
                boolean added = row.getKind() == RowKind.INSERT || row.getKind() == RowKind.UPDATE_AFTER;
                row.setKind(RowKind.INSERT);
                counts.merge(row, added ? 1 : -1, Integer::sum);
            }
        }
        counts.forEach((row, count) -> {
            if (count < 0) {
                throw new IllegalStateException("more removed than added: " + row);
            }
            String line = IntStream.range(0, row.getArity()).mapToObj(i -> String.valueOf(row.getField(i)))
                    .collect(Collectors.joining("\t"));
            for (int i = 0; i < count; i++) {
                answers.println(line);
            }
        });
        answers.println();
    }

    /** Seconds, and this process's processor seconds, since it was made. */
    private static final class Spent {
        private static final OperatingSystemMXBean SYSTEM = (OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();
        private final long began = System.nanoTime();
        private final long cpu = SYSTEM.getProcessCpuTime();

        String told() {
            return String.format(Locale.ROOT, "%.4f %.4f", (System.nanoTime() - began) / 1e9, (SYSTEM.getProcessCpuTime() - cpu) / 1e9);
        }
    }

    private StreamTableEnvironment session(MiniCluster cluster) throws Exception {
        var address = cluster.getRestAddress().get();
        StreamExecutionEnvironment flink =
                StreamExecutionEnvironment.createRemoteEnvironment(address.getHost(), address.getPort(), configuration);
        return StreamTableEnvironment.create(flink);
    }

    /** The query's statements, all but the last one executed. */
    private List<String> prepared(StreamTableEnvironment tables, String query) throws IOException {
        statements("tables.sql").forEach(tables::executeSql);
        List<String> statements = statements(query + ".sql");
        statements.subList(0, statements.size() - 1).forEach(tables::executeSql);
        return statements;
    }

    private List<String> statements(String file) throws IOException {
        String text = Files.readString(folder.resolve(file));
        for (Map.Entry<String, String> value : values.entrySet()) {
            text = text.replace("${" + value.getKey() + "}", value.getValue());
        }
        return Arrays.stream(text.split(";\\s*(\\n|$)")).filter(statement -> !statement.isBlank()).toList();
    }

    private static long eventsRead(AccessExecutionGraph graph) {
        long events = 0;
        for (AccessExecutionJobVertex vertex : graph.getVerticesTopologically()) {
            if (vertex.getName().contains("Source:")) {
                for (AccessExecutionVertex task : vertex.getTaskVertices()) {
                    events += task.getCurrentExecutionAttempt().getIOMetrics().getNumRecordsIn();
                }
            }
        }
        return events;
    }
}
