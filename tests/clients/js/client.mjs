// The stock JavaScript client does what Qdrant's quickstart does, then 200 random searches that are compared with brute force.
//
//   node client.mjs URL SEED

import assert from "node:assert/strict";
import { QdrantClient } from "@qdrant/js-client-rest";

const [url, seed] = [process.argv[2], Number(process.argv[3])];
const client = new QdrantClient({ url });

// https://qdrant.tech/documentation/quickstart/

await client.createCollection("test_collection", { vectors: { size: 4, distance: "Dot" } });
const operationInfo = await client.upsert("test_collection", {
  wait: true,
  points: [
    { id: 1, vector: [0.05, 0.61, 0.76, 0.74], payload: { city: "Berlin" } },
    { id: 2, vector: [0.19, 0.81, 0.75, 0.11], payload: { city: "London" } },
    { id: 3, vector: [0.36, 0.55, 0.47, 0.94], payload: { city: "Moscow" } },
    { id: 4, vector: [0.18, 0.01, 0.85, 0.80], payload: { city: "New York" } },
    { id: 5, vector: [0.24, 0.18, 0.22, 0.44], payload: { city: "Beijing" } },
    { id: 6, vector: [0.35, 0.08, 0.11, 0.44], payload: { city: "Mumbai" } },
  ],
});
assert.equal(operationInfo.status, "completed");
let searchResult = (await client.query("test_collection", { query: [0.2, 0.1, 0.9, 0.7], limit: 3 })).points;
assert.deepEqual(searchResult.map(point => [point.id, point.score.toFixed(3)]), [[4, "1.362"], [1, "1.273"], [3, "1.208"]]);
searchResult = (await client.query("test_collection", {
  query: [0.2, 0.1, 0.9, 0.7],
  filter: { must: [{ key: "city", match: { value: "London" } }] },
  with_payload: true,
  limit: 3,
})).points;
assert.deepEqual(searchResult.map(point => [point.id, point.payload.city, point.score.toFixed(3)]), [[2, "London", "0.871"]]);

// The rest of its everyday calls.

assert.ok((await client.getCollections()).collections.some(collection => collection.name === "test_collection"));
assert.equal((await client.getCollection("test_collection")).points_count, 6);
await client.setPayload("test_collection", { payload: { seen: true }, points: [1, 2], wait: true });
assert.equal((await client.count("test_collection", { filter: { must: [{ key: "seen", match: { value: true } }] }, exact: true })).count, 2);
assert.deepEqual((await client.retrieve("test_collection", { ids: [2] }))[0].payload, { city: "London", seen: true });
const page = await client.scroll("test_collection", { limit: 4 });
assert.deepEqual([page.points.map(point => point.id), page.next_page_offset], [[1, 2, 3, 4], 5]);
await client.delete("test_collection", { points: [6], wait: true });
assert.equal((await client.count("test_collection")).count, 5);
await assert.rejects(client.query("test_collection", { query: { text: "words", model: "any" } }), error => error.status === 400 && error.data.status.error.includes("has no embedder"));
await assert.rejects(client.query("missing", { query: [1, 2, 3, 4] }), error => error.status === 404);

// Brute force.

let state = seed;
function random() { // mulberry32
  state = (state + 0x6d2b79f5) | 0;
  let t = Math.imul(state ^ (state >>> 15), 1 | state);
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
  return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
}
const vector = () => Array.from({ length: 8 }, () => Math.fround(random() - 0.5));
const rows = Array.from({ length: 300 }, (_, id) => ({ id, vector: vector(), payload: { group: Math.floor(random() * 5), size: Math.floor(random() * 100) } }));
await client.createCollection("random", { vectors: { size: 8, distance: "Euclid" } });
await client.upsert("random", { wait: true, points: rows });
for (let round = 0; round < 200; round++) {
  const query = vector(), limit = 1 + Math.floor(random() * 20), group = Math.floor(random() * 5), below = Math.floor(random() * 120);
  const filter = [undefined, { must: [{ key: "group", match: { value: group } }] }, { must: [{ key: "size", range: { lt: below } }], must_not: [{ key: "group", match: { any: [group] } }] }][round % 3];
  const keeps = [() => true, row => row.payload.group === group, row => row.payload.size < below && row.payload.group !== group][round % 3];
  const distance = row => Math.sqrt(row.vector.reduce((sum, value, i) => sum + (value - query[i]) ** 2, 0));
  const wanted = rows.filter(keeps).map(row => [row.id, distance(row)]).sort((a, b) => a[1] - b[1] || a[0] - b[0]).slice(0, limit);
  const found = (await client.query("random", { query, filter, limit, params: { exact: true } })).points;
  assert.deepEqual(found.map(point => point.id), wanted.map(([id]) => id), `round ${round}`);
  found.forEach((point, i) => assert.ok(Math.abs(point.score - wanted[i][1]) < 1e-5));
}
console.log("ok");
