//! The stock Rust client does what its tutorial does: HOST PORT COLLECTION DIM. Prints "ok" at the end.
use qdrant_client::qdrant::{
    Condition, CountPointsBuilder, DeletePointsBuilder, Filter, PointStruct, PointsIdsList,
    QueryPointsBuilder, UpdateStatus, UpsertPointsBuilder,
};
use qdrant_client::{Payload, Qdrant};
use serde_json::json;

fn unit(dim: usize, place: usize) -> Vec<f32> {
    (0..dim).map(|i| if i == place { 1.0 } else { 0.0 }).collect()
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let name = arguments[3].as_str();
    let dim: usize = arguments[4].parse()?;
    let client = Qdrant::from_url(&format!("http://{}:{}", arguments[1], arguments[2]))
        .skip_compatibility_check()
        .build()?;

    assert!(!client.health_check().await?.title.is_empty());
    assert!(client.collection_exists(name).await?);
    assert_eq!(client.list_collections().await?.collections[0].name, name);
    let points: Vec<PointStruct> = ["Berlin", "London", "Moscow"]
        .iter()
        .enumerate()
        .map(|(place, city)| {
            let payload: Payload = json!({"city": city, "number": place}).try_into().unwrap();
            PointStruct::new(place as u64 + 21, unit(dim, place), payload)
        })
        .collect();
    let written = client.upsert_points(UpsertPointsBuilder::new(name, points).wait(true)).await?;
    assert_eq!(written.result.unwrap().status, UpdateStatus::Completed as i32);
    let query = QueryPointsBuilder::new(name).query(unit(dim, 1)).with_payload(true);
    let found = client.query(query.clone()).await?.result;
    assert_eq!((found.len(), found[0].get("city").as_str().unwrap().as_str()), (3, "London"));
    let moscow = Filter::must([Condition::matches("city", "Moscow".to_string())]);
    let found = client.query(query.filter(moscow)).await?.result;
    assert_eq!((found.len(), found[0].get("number").as_integer()), (1, Some(2)));
    let ids = PointsIdsList { ids: vec![21.into(), 22.into(), 23.into()] };
    client.delete_points(DeletePointsBuilder::new(name).points(ids).wait(true)).await?;
    assert_eq!(client.count(CountPointsBuilder::new(name)).await?.result.unwrap().count, 0);
    println!("ok");
    Ok(())
}
