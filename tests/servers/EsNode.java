import java.nio.file.Path;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CountDownLatch;
import org.elasticsearch.common.logging.LogConfigurator;
import org.elasticsearch.common.settings.Settings;
import org.elasticsearch.env.Environment;
import org.elasticsearch.node.InternalSettingsPreparer;
import org.elasticsearch.node.Node;
import org.elasticsearch.plugins.PluginsLoader;

/**
 * Starts one Elasticsearch node from the jars of the package registry.
 *
 * It stands in for org.elasticsearch.bootstrap.Elasticsearch, which wants the whole distribution
 * (its native libraries, its entitlement agent, its command-line launcher); the node itself is the real one.
 *
 * Arguments: the home folder (it holds modules/), the configuration folder (elasticsearch.yml, log4j2.properties).
 */
public class EsNode {
    public static void main(String[] args) throws Exception {
        LogConfigurator.registerErrorListener();
        Settings home = Settings.builder().put("path.home", args[0]).build();
        Environment environment = InternalSettingsPreparer.prepareEnvironment(
            home, Map.of(), Path.of(args[1]), () -> "tests");
        LogConfigurator.configure(environment, true);

        PluginsLoader plugins = PluginsLoader.createPluginsLoader(
            PluginsLoader.loadModulesBundles(environment.modulesDir()), Set.of(), Map.of(), false);
        Node node = new Node(environment, plugins);
        CountDownLatch stopped = new CountDownLatch(1);
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            try {
                node.prepareForClose();
                node.close();
            } catch (Exception error) {
                error.printStackTrace();
            } finally {
                stopped.countDown();
            }
        }));
        node.start();
        stopped.await(); // Elasticsearch's own threads are daemons; without this the process would end here.
    }
}
