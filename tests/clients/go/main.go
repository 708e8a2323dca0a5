// The stock Go client does what its tutorial does: HOST PORT COLLECTION DIM. Prints "ok" at the end.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"strconv"
	"time"

	"github.com/qdrant/go-client/qdrant"
)

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func expect(good bool, what string, got any) {
	if !good {
		log.Fatalf("%s: %v", what, got)
	}
}

func main() {
	host, name := os.Args[1], os.Args[3]
	port, err := strconv.Atoi(os.Args[2])
	check(err)
	dim, err := strconv.Atoi(os.Args[4])
	check(err)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	client, err := qdrant.NewClient(&qdrant.Config{Host: host, Port: port})
	check(err)
	defer client.Close()

	health, err := client.HealthCheck(ctx)
	check(err)
	expect(health.GetTitle() != "", "health", health)
	exists, err := client.CollectionExists(ctx, name)
	check(err)
	expect(exists, "exists", exists)
	names, err := client.ListCollections(ctx)
	check(err)
	expect(len(names) == 1 && names[0] == name, "names", names)

	cities := []string{"Berlin", "London", "Moscow"}
	points := make([]*qdrant.PointStruct, len(cities))
	for i, city := range cities {
		vector := make([]float32, dim)
		vector[i] = 1
		points[i] = &qdrant.PointStruct{
			Id:      qdrant.NewIDNum(uint64(i + 1)),
			Vectors: qdrant.NewVectors(vector...),
			Payload: qdrant.NewValueMap(map[string]any{"city": city, "number": i, "share": 0.5, "nested": map[string]any{"list": []any{1, "x", nil}}}),
		}
	}
	wait := true
	written, err := client.Upsert(ctx, &qdrant.UpsertPoints{CollectionName: name, Wait: &wait, Points: points})
	check(err)
	expect(written.GetStatus() == qdrant.UpdateStatus_Completed, "upsert", written)

	vector := make([]float32, dim)
	vector[1] = 1
	found, err := client.Query(ctx, &qdrant.QueryPoints{
		CollectionName: name, Query: qdrant.NewQuery(vector...), WithPayload: qdrant.NewWithPayload(true), WithVectors: qdrant.NewWithVectors(true)})
	check(err)
	expect(len(found) == 3 && found[0].GetId().GetNum() == 2, "query", found)
	expect(found[0].GetPayload()["city"].GetStringValue() == "London", "payload", found[0])
	expect(found[0].GetVectors().GetVector().GetDense().GetData()[1] == 1, "vector", found[0])
	filtered, err := client.Query(ctx, &qdrant.QueryPoints{
		CollectionName: name, Query: qdrant.NewQuery(vector...),
		Filter: &qdrant.Filter{Must: []*qdrant.Condition{qdrant.NewMatch("city", "Moscow")}}})
	check(err)
	expect(len(filtered) == 1 && filtered[0].GetId().GetNum() == 3, "filter", filtered)
	count, err := client.Count(ctx, &qdrant.CountPoints{CollectionName: name})
	check(err)
	expect(count == 3, "count", count)
	_, err = client.Delete(ctx, &qdrant.DeletePoints{
		CollectionName: name, Wait: &wait, Points: qdrant.NewPointsSelector(qdrant.NewIDNum(1), qdrant.NewIDNum(2), qdrant.NewIDNum(3))})
	check(err)
	page, err := client.Scroll(ctx, &qdrant.ScrollPoints{CollectionName: name})
	check(err)
	expect(len(page) == 0, "scroll", page)
	_, err = client.Query(ctx, &qdrant.QueryPoints{CollectionName: "other"})
	expect(err != nil, "another collection", err)
	fmt.Println("ok")
}
