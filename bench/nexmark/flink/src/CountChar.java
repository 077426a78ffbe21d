import org.apache.flink.table.functions.ScalarFunction;

/** q14's count_char: how often a letter is in a text. */
public final class CountChar extends ScalarFunction {
    public long eval(String text, String letter) {
        long count = 0;
        if (text != null) {
            char wanted = letter.charAt(0);
            for (int i = 0; i < text.length(); i++) {
                if (text.charAt(i) == wanted) {
                    count++;
                }
            }
        }
        return count;
    }
}
