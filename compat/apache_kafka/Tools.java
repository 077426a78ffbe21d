import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.InputStreamReader;
import java.io.OutputStream;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.apache.kafka.common.utils.Exit;

/**
 * Runs Apache Kafka's command line tools one after the other in one Java process, because each start of Java costs more
 * than what most of the tools do. One line of JSON in, {"main", "args", "input"}; one line out, {"code", "out", "err"}.
 *
 * What it does not do: run two at once, or tools that keep a thread of their own after their main has returned.
 */
public final class Tools {
    /** What a tool's call of exit becomes here. */
    private static final class Ended extends RuntimeException {
        Ended() {
            super(null, null, false, false);
        }
    }

    private static final Switch OUT = new Switch();
    private static final Switch ERR = new Switch();
    /** What the tool wanted to do at the end of the process. */
    private static final List<Runnable> HOOKS = new ArrayList<>();
    /** The answer, from the tool's first call of exit: some catch what they throw, and then say that they failed. */
    private static Map<String, Object> answer;

    private static void end(int code) {
        if (answer == null) {
            List.copyOf(HOOKS).forEach(Runnable::run);
            HOOKS.clear();
            answer = Map.of("code", code, "out", OUT.take(), "err", ERR.take());
        }
    }

    /** System.out for the whole process: where it goes changes with every tool, also for who has kept a reference. */
    private static final class Switch extends OutputStream {
        volatile ByteArrayOutputStream to = new ByteArrayOutputStream();

        @Override
        public void write(int one) {
            to.write(one);
        }

        @Override
        public void write(byte[] bytes, int from, int length) {
            to.write(bytes, from, length);
        }

        String take() {
            String text = to.toString(StandardCharsets.UTF_8);
            to = new ByteArrayOutputStream();
            return text;
        }
    }

    private static void run(String name, String[] arguments) {
        try {
            Class.forName(name).getMethod("main", String[].class).invoke(null, (Object) arguments);
            end(0);
        } catch (InvocationTargetException thrown) {
            if (answer == null) {
                thrown.getCause().printStackTrace();
                end(1);
            }
        } catch (ReflectiveOperationException missing) {
            System.err.println(missing);
            end(127);
        }
    }

    public static void main(String[] none) throws Exception {
        PrintStream answers = System.out;
        BufferedReader requests = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        System.setOut(new PrintStream(OUT, true, StandardCharsets.UTF_8));
        System.setErr(new PrintStream(ERR, true, StandardCharsets.UTF_8));
        Exit.Procedure exit = (code, message) -> {
            end(code);
            throw new Ended();
        };
        Exit.setExitProcedure(exit);
        Exit.setHaltProcedure(exit);
        Exit.setShutdownHookAdder((name, hook) -> HOOKS.add(hook));
        ObjectMapper json = new ObjectMapper();
        for (String line = requests.readLine(); line != null; line = requests.readLine()) {
            JsonNode request = json.readTree(line);
            System.setIn(new ByteArrayInputStream(request.get("input").asText().getBytes(StandardCharsets.UTF_8)));
            run(request.get("main").asText(), json.convertValue(request.get("args"), String[].class));
            answers.println(json.writeValueAsString(answer));
            answers.flush();
            answer = null;
            OUT.take();
            ERR.take();
        }
    }
}
