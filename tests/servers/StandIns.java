package enricher.tests;

import static org.elasticsearch.rest.RestRequest.Method.DELETE;
import static org.elasticsearch.rest.RestRequest.Method.GET;
import static org.elasticsearch.rest.RestRequest.Method.HEAD;
import static org.elasticsearch.rest.RestRequest.Method.PUT;

import java.io.IOException;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.Predicate;
import java.util.function.Supplier;
import org.elasticsearch.Build;
import org.elasticsearch.client.internal.node.NodeClient;
import org.elasticsearch.cluster.metadata.IndexNameExpressionResolver;
import org.elasticsearch.cluster.node.DiscoveryNodes;
import org.elasticsearch.common.io.stream.NamedWriteableRegistry;
import org.elasticsearch.common.settings.ClusterSettings;
import org.elasticsearch.common.settings.IndexScopedSettings;
import org.elasticsearch.common.settings.Setting;
import org.elasticsearch.common.settings.Settings;
import org.elasticsearch.common.settings.SettingsFilter;
import org.elasticsearch.features.NodeFeature;
import org.elasticsearch.index.mapper.Mapper;
import org.elasticsearch.index.mapper.MapperParsingException;
import org.elasticsearch.index.mapper.NumberFieldMapper.NumberType;
import org.elasticsearch.plugins.ActionPlugin;
import org.elasticsearch.plugins.MapperPlugin;
import org.elasticsearch.plugins.Plugin;
import org.elasticsearch.rest.BaseRestHandler;
import org.elasticsearch.rest.RestController;
import org.elasticsearch.rest.RestHandler;
import org.elasticsearch.rest.RestRequest;
import org.elasticsearch.rest.RestResponse;
import org.elasticsearch.rest.RestStatus;
import org.elasticsearch.xcontent.XContentBuilder;
import org.elasticsearch.xcontent.XContentParser;

/**
 * Stands in for the parts of Elasticsearch that no package registry has, so that shipped templates install unchanged:
 *
 * - mapper-extras: the type scaled_float, here a double (no rounding to the scaling factor);
 * - x-pack ilm: the index settings index.lifecycle.name and index.lifecycle.rollover_alias, and _ilm/policy,
 *   which keeps the bodies in memory. No policy is ever carried out, and a restart forgets them;
 * - rest-root: GET /, which clients ask for the version.
 */
public class StandIns extends Plugin implements MapperPlugin, ActionPlugin {
    @Override
    public Map<String, Mapper.TypeParser> getMappers() {
        return Map.of("scaled_float", (name, node, context) -> {
            if (node.remove("scaling_factor") == null) {
                throw new MapperParsingException("Field [scaling_factor] is required");
            }
            return NumberType.DOUBLE.parser().parse(name, node, context);
        });
    }

    @Override
    public List<Setting<?>> getSettings() {
        return List.of(
            Setting.simpleString("index.lifecycle.name", Setting.Property.Dynamic, Setting.Property.IndexScope),
            Setting.simpleString("index.lifecycle.rollover_alias", Setting.Property.Dynamic, Setting.Property.IndexScope));
    }

    @Override
    public Collection<RestHandler> getRestHandlers(
        Settings settings, NamedWriteableRegistry writeables, RestController controller, ClusterSettings clusterSettings,
        IndexScopedSettings indexSettings, SettingsFilter filter, IndexNameExpressionResolver resolver,
        Supplier<DiscoveryNodes> nodes, Predicate<NodeFeature> features) {
        return List.of(new Root(), new Policies());
    }

    /** Answers GET / with what a client looks at. */
    static class Root extends BaseRestHandler {
        @Override
        public String getName() {
            return "stand_in_root";
        }

        @Override
        public List<Route> routes() {
            return List.of(new Route(GET, "/"), new Route(HEAD, "/"));
        }

        @Override
        protected RestChannelConsumer prepareRequest(RestRequest request, NodeClient client) {
            Map<String, Object> version = Map.of(
                "number", Build.current().version(), "build_flavor", "default",
                "minimum_wire_compatibility_version", Build.current().minWireCompatVersion());
            Map<String, Object> answer = Map.of(
                "name", client.settings().get("node.name", ""), "cluster_name", client.settings().get("cluster.name", ""),
                "version", version, "tagline", "You Know, for Search");
            return channel -> {
                try (XContentBuilder body = channel.newBuilder()) {
                    channel.sendResponse(new RestResponse(RestStatus.OK, body.map(answer)));
                }
            };
        }
    }

    /** Keeps lifecycle policies in memory. */
    static class Policies extends BaseRestHandler {
        private final Map<String, Map<String, Object>> policies = new ConcurrentHashMap<>();

        @Override
        public String getName() {
            return "stand_in_ilm";
        }

        @Override
        public List<Route> routes() {
            return List.of(
                new Route(GET, "/_ilm/policy"), new Route(GET, "/_ilm/policy/{name}"),
                new Route(PUT, "/_ilm/policy/{name}"), new Route(DELETE, "/_ilm/policy/{name}"));
        }

        @Override
        protected RestChannelConsumer prepareRequest(RestRequest request, NodeClient client) throws IOException {
            String name = request.param("name");
            request.param("master_timeout");
            request.param("timeout");
            return switch (request.method()) {
                case PUT -> put(name, request);
                case DELETE -> policies.remove(name) == null ? missing(name) : answer(Map.of("acknowledged", true));
                default -> get(name);
            };
        }

        private RestChannelConsumer put(String name, RestRequest request) throws IOException {
            try (XContentParser parser = request.contentParser()) {
                Map<String, Object> body = parser.map();
                if (!(body.get("policy") instanceof Map<?, ?> policy) || !(policy.get("phases") instanceof Map)) {
                    throw new IllegalArgumentException("a lifecycle policy needs [policy.phases]");
                }
                policies.merge(name, stored(1, policy), (old, added) -> stored((int) old.get("version") + 1, policy));
                return answer(Map.of("acknowledged", true));
            }
        }

        private static Map<String, Object> stored(int version, Map<?, ?> policy) {
            return Map.of("version", version, "policy", policy);
        }

        private RestChannelConsumer get(String name) {
            if (name == null) {
                return answer(policies);
            }
            Map<String, Object> policy = policies.get(name);
            return policy == null ? missing(name) : answer(Map.of(name, policy));
        }

        private static RestChannelConsumer answer(Map<String, ?> content) {
            return channel -> {
                try (XContentBuilder body = channel.newBuilder()) {
                    channel.sendResponse(new RestResponse(RestStatus.OK, body.value(content)));
                }
            };
        }

        private static RestChannelConsumer missing(String name) {
            Map<String, Object> error = Map.of(
                "type", "resource_not_found_exception", "reason", "Lifecycle policy not found: " + name);
            return channel -> {
                try (XContentBuilder body = channel.newBuilder()) {
                    Map<String, Object> content = Map.of("error", error, "status", 404);
                    channel.sendResponse(new RestResponse(RestStatus.NOT_FOUND, body.map(content)));
                }
            };
        }
    }
}
