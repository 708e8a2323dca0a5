import static io.qdrant.client.ConditionFactory.matchKeyword;
import static io.qdrant.client.PointIdFactory.id;
import static io.qdrant.client.QueryFactory.nearest;
import static io.qdrant.client.ValueFactory.value;
import static io.qdrant.client.VectorsFactory.vectors;
import static io.qdrant.client.WithPayloadSelectorFactory.enable;

import io.qdrant.client.QdrantClient;
import io.qdrant.client.QdrantGrpcClient;
import io.qdrant.client.grpc.Common.Filter;
import io.qdrant.client.grpc.Points.PointStruct;
import io.qdrant.client.grpc.Points.QueryPoints;
import io.qdrant.client.grpc.Points.ScoredPoint;
import io.qdrant.client.grpc.Points.UpdateStatus;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/** The stock Java client does what its tutorial does: HOST PORT COLLECTION DIM. Prints "ok" at the end. */
public class Main {
  private static void expect(boolean good, Object got) {
    if (!good) {
      throw new IllegalStateException(String.valueOf(got));
    }
  }

  private static List<Float> unit(int dim, int place) {
    List<Float> vector = new ArrayList<>();
    for (int i = 0; i < dim; i++) {
      vector.add(i == place ? 1f : 0f);
    }
    return vector;
  }

  public static void main(String[] arguments) throws Exception {
    String name = arguments[2];
    int dim = Integer.parseInt(arguments[3]);
    try (QdrantClient client =
        new QdrantClient(
            QdrantGrpcClient.newBuilder(arguments[0], Integer.parseInt(arguments[1]), false).build())) {
      expect(!client.healthCheckAsync().get().getTitle().isEmpty(), "health");
      expect(client.collectionExistsAsync(name).get(), "exists");
      expect(client.listCollectionsAsync().get().equals(List.of(name)), "collections");
      expect(client.getCollectionInfoAsync(name).get().getConfig().hasParams(), "info");
      List<PointStruct> points = new ArrayList<>();
      for (String city : List.of("Berlin", "London", "Moscow")) {
        int place = points.size();
        points.add(
            PointStruct.newBuilder()
                .setId(id(place + 11))
                .setVectors(vectors(unit(dim, place)))
                .putAllPayload(Map.of("city", value(city), "number", value(place)))
                .build());
      }
      expect(client.upsertAsync(name, points).get().getStatus() == UpdateStatus.Completed, "upsert");
      QueryPoints query =
          QueryPoints.newBuilder()
              .setCollectionName(name)
              .setQuery(nearest(unit(dim, 1)))
              .setWithPayload(enable(true))
              .build();
      List<ScoredPoint> found = client.queryAsync(query).get();
      expect(found.size() == 3 && found.get(0).getId().getNum() == 12, found);
      expect(found.get(0).getPayloadMap().get("city").getStringValue().equals("London"), found);
      Filter moscow = Filter.newBuilder().addMust(matchKeyword("city", "Moscow")).build();
      found = client.queryAsync(query.toBuilder().setFilter(moscow).build()).get();
      expect(found.size() == 1 && found.get(0).getId().getNum() == 13, found);
      expect(client.countAsync(name).get() == 3, "count");
      client.deleteAsync(name, List.of(id(11), id(12), id(13))).get();
      expect(client.countAsync(name).get() == 0, "count after the delete");
    }
    System.out.println("ok");
  }
}
