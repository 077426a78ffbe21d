import java.util.Collection;
import java.util.List;
import java.util.Set;
import org.apache.flink.configuration.ConfigOption;
import org.apache.flink.configuration.ConfigOptions;
import org.apache.flink.table.connector.source.DynamicTableSource;
import org.apache.flink.table.connector.source.LookupTableSource;
import org.apache.flink.table.connector.source.lookup.LookupFunctionProvider;
import org.apache.flink.table.data.GenericRowData;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.data.StringData;
import org.apache.flink.table.factories.DynamicTableSourceFactory;
import org.apache.flink.table.factories.FactoryUtil;
import org.apache.flink.table.functions.FunctionContext;
import org.apache.flink.table.functions.LookupFunction;

/** q13's bounded side input: rows (n, text of n) in memory, looked up by n. */
public final class SideInput implements DynamicTableSourceFactory {
    private static final ConfigOption<Integer> ROWS = ConfigOptions.key("rows").intType().noDefaultValue();

    @Override
    public String factoryIdentifier() {
        return "side-input";
    }

    @Override
    public Set<ConfigOption<?>> requiredOptions() {
        return Set.of(ROWS);
    }

    @Override
    public Set<ConfigOption<?>> optionalOptions() {
        return Set.of();
    }

    @Override
    public DynamicTableSource createDynamicTableSource(Context context) {
        FactoryUtil.TableFactoryHelper helper = FactoryUtil.createTableFactoryHelper(this, context);
        helper.validate();
        return new Source(helper.getOptions().get(ROWS));
    }

    private record Source(int rows) implements LookupTableSource {
        @Override
        public LookupRuntimeProvider getLookupRuntimeProvider(LookupContext context) {
            return LookupFunctionProvider.of(new Lookup(rows));
        }

        @Override
        public DynamicTableSource copy() {
            return this;
        }

        @Override
        public String asSummaryString() {
            return "side input";
        }
    }

    /** The rows, and the one that a key has. */
    public static final class Lookup extends LookupFunction {
        private final int count;
        private transient List<Collection<RowData>> rows;

        Lookup(int count) {
            this.count = count;
        }

        @Override
        public void open(FunctionContext context) {
            rows = java.util.stream.IntStream.range(0, count)
                    .mapToObj(n -> (Collection<RowData>) List.<RowData>of(
                            GenericRowData.of((long) n, StringData.fromString(Integer.toString(n)))))
                    .toList();
        }

        @Override
        public Collection<RowData> lookup(RowData key) {
            long n = key.getLong(0);
            return n >= 0 && n < count ? rows.get((int) n) : List.of();
        }
    }
}
