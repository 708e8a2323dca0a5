"""Three daily collections of ten points each, as a nightly job makes them: fill_qdrant.py FOLDER, of the client's local mode."""

import datetime
import sys

from qdrant_client import QdrantClient, models

client = QdrantClient(path=sys.argv[1])
today = datetime.datetime.now(datetime.timezone.utc).date()
for back in range(3):
    name = f"news-{today - datetime.timedelta(days=back)}"
    client.create_collection(name, models.VectorParams(size=4, distance=models.Distance.COSINE))
    points = [models.PointStruct(id=back * 10 + n, vector=[1.0, n / 10, back / 3, 0.5], payload={"day": back}) for n in range(10)]
    client.upsert(name, points)
client.close()
