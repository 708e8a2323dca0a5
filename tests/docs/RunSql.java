import java.nio.file.Files;
import java.nio.file.Path;
import org.apache.flink.table.api.EnvironmentSettings;
import org.apache.flink.table.api.TableEnvironment;

/** Runs the statements of a file of Flink SQL, one after the other, and waits for each job. */
public class RunSql {
    public static void main(String[] arguments) throws Exception {
        var tables = TableEnvironment.create(EnvironmentSettings.inStreamingMode());
        for (String statement : Files.readString(Path.of(arguments[0])).split(";")) {
            if (!statement.isBlank()) {
                tables.executeSql(statement).await();
            }
        }
    }
}
