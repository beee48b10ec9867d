//! HTTP as its callers see it: the JSON API, its refusals, who may call, and the page's files.

mod answers;
mod client;
mod hostile;
mod keys;
mod manual;
mod page;
mod problems;
mod ranked;
mod thumbnails;

use pictor_proto::v1;
use serde_json::json;

use self::client::Http;
use crate::encoder::pictures::png;
use crate::encoder::tower_models::{Tower, picture};
use crate::support::{TestServer, collection_of_texts, collection_of_vectors, text_item, vector_item};

/// A server with notes that are found by their texts and points that are found by their vectors.
async fn notes_and_points() -> (TestServer, Http) {
    let server = TestServer::start().await;
    let client = server.client().await;
    for collection in [collection_of_texts("notes"), collection_of_vectors("points", 3)] {
        client.collections.clone().create_collection(collection).await.expect("created");
    }
    let notes =
        [("cat", "a kitten sleeping on a sofa"), ("rocket", "a rocket starting to the moon"), ("soup", "tomato soup")];
    let note = |(number, (id, text)): (i64, &(&str, &str))| {
        let mut item = text_item(id, text);
        item.payload.insert("n".to_owned(), v1::Value { kind: Some(v1::value::Kind::IntValue(number)) });
        item
    };
    let notes = (1..).zip(&notes).map(note).collect();
    let points = (0..5).map(|n| vector_item(&format!("p/{n}"), &[1.0, n as f32, 0.0])).collect();
    for (collection, items) in [("notes", notes), ("points", points)] {
        let request = v1::UpsertRequest { collection: collection.to_owned(), items, ..Default::default() };
        client.items.clone().upsert(request).await.expect("stored");
    }
    let http = Http::new(server.http);
    (server, http)
}

/// A server with seven pictures in `goods`, and the models folder that it needs.
async fn goods(originals: v1::MediaOriginals) -> (Tower, TestServer, Http) {
    let tower = Tower::new("clip");
    let server = TestServer::start_on(tower.models()).await;
    let client = server.client().await;
    let source = v1::field_spec::Source::Media(v1::MediaSource { encoder: "clip".to_owned() });
    let spec = v1::CollectionSpec {
        name: "goods".to_owned(),
        fields: vec![v1::FieldSpec { name: "image".to_owned(), source: Some(source) }],
        media_originals: originals as i32,
        ..Default::default()
    };
    let request = v1::CreateCollectionRequest { spec: Some(spec) };
    client.collections.clone().create_collection(request).await.expect("created");
    let item = |number: usize| {
        let data = png(&picture(number, 60, 45)).into();
        let media = vec![v1::Media { data, name: format!("{number}.png") }];
        v1::Item { id: format!("shelf/{number}"), media, ..Default::default() }
    };
    let items = (1..8).map(item).collect();
    let request = v1::UpsertRequest { collection: "goods".to_owned(), items, ..Default::default() };
    let results = client.items.clone().upsert(request).await.expect("stored").into_inner().results;
    assert!(results.iter().all(|result| result.error.is_none()), "{results:?}");
    let http = Http::new(server.http);
    (tower, server, http)
}

fn text_query(collection: &str, text: &str) -> serde_json::Value {
    json!({ "collection": collection, "parts": [{ "text": text }] })
}
