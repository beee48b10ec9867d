//! Thumbnails: what they show, how long they may be kept, and many at once.

use pictor::image::{ImageRule, decode};
use pictor_proto::v1;

use super::goods;
use crate::support::root;

#[tokio::test(flavor = "multi_thread")]
async fn a_thumbnail_is_a_jpeg_that_may_be_kept() {
    let (_tower, server, http) = goods(v1::MediaOriginals::Keep).await;
    // One with transparency, and one that is far too large for a grid.
    let emoji = std::fs::read(root().join("tests/data/noto-1f600.png")).expect("a picture");
    let large = crate::encoder::pictures::png(&crate::encoder::tower_models::picture(9, 400, 900));
    let media = |data: Vec<u8>| v1::Media { data: data.into(), name: String::new() };
    let item = v1::Item { id: "two".to_owned(), media: vec![media(emoji), media(large)], ..Default::default() };
    let request = v1::UpsertRequest { collection: "goods".to_owned(), items: vec![item], ..Default::default() };
    server.client().await.items.clone().upsert(request).await.expect("stored");

    let path = "/v1/items/goods/two/thumbnail";
    let small = http.get(path).await;
    assert_eq!((small.status, small.header("content-type")), (200, "image/jpeg"), "{small:?}");
    let pixels = decode(&small.body, ImageRule::Pictor).expect("a JPEG");
    assert_eq!((pixels.width, pixels.height), (64, 64), "nothing is enlarged");
    assert!(pixels.data[..3].iter().all(|value| *value > 245), "transparency lies over white: {:?}", &pixels.data[..3]);
    let large = http.get(&format!("{path}?part=1&size=128")).await;
    let pixels = decode(&large.body, ImageRule::Pictor).expect("a JPEG");
    assert_eq!(pixels.width.max(pixels.height), 128);

    let tag = large.header("etag").to_owned();
    assert_eq!(large.header("cache-control"), "private, no-cache");
    let again = http.with("if-none-match", &tag).get(&format!("{path}?part=1&size=128")).await;
    assert_eq!((again.status, again.body.len(), again.header("etag")), (304, 0, tag.as_str()));
    let other = http.with("if-none-match", &tag).get(&format!("{path}?part=1&size=64")).await;
    assert_eq!(other.status, 200, "another size is another file");
    let item = http.get("/v1/items/goods/two").await.json();
    let named = http.get(&format!("{}&size=64", item["thumbnails"][1].as_str().expect("a path"))).await;
    assert_eq!(named.header("cache-control"), "private, max-age=31536000, immutable");
    let outdated = http.get(&format!("{path}?v=0123456789abcdef")).await;
    assert_eq!(outdated.header("cache-control"), "private, no-cache", "not under a name that is not the content's");

    http.get(&format!("{path}?size=100")).await.check(
        "size",
        400,
        "INVALID_ARGUMENT",
        "expected one of [64, 128, 256, 512]",
    );
    http.get(&format!("{path}?part=2")).await.check("part", 404, "NOT_FOUND", "there is no picture \"2 of item two\"");
    http.get(&format!("{path}?part=-1")).await.check("part", 400, "INVALID_ARGUMENT", "expected a whole number");
    http.get("/v1/items/goods/ghost/thumbnail").await.check("item", 404, "NOT_FOUND", "ghost");
    server.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_kept_has_no_thumbnail() {
    let (_tower, server, http) = goods(v1::MediaOriginals::None).await;
    let item = http.get("/v1/items/goods/shelf%2F1").await.json();
    assert_eq!(
        (item["media"].as_array().map(Vec::len), item["thumbnails"].as_array().map(Vec::len)),
        (Some(1), Some(0))
    );
    let refused = http.get("/v1/items/goods/shelf%2F1/thumbnail").await;
    refused.check("not kept", 404, "NOT_FOUND", "there is no kept picture");
    server.shut_down().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_thumbnails_and_searches_at_once_are_all_answered() {
    let (_tower, server, http) = goods(v1::MediaOriginals::Keep).await;
    let calls = (0..120).map(|number| {
        let http = http.clone();
        async move {
            let id = number % 7 + 1;
            if number % 3 == 0 {
                let query = serde_json::json!({ "collection": "goods", "parts": [{ "item": format!("shelf/{id}") }] });
                let found = http.search(&query).await.json();
                return found["hits"].as_array().map(Vec::len) == Some(6);
            }
            let size = [64, 128, 256, 512][number % 4];
            http.get(&format!("/v1/items/goods/shelf%2F{id}/thumbnail?size={size}")).await.status == 200
        }
    });
    let answered = futures::future::join_all(calls).await;
    assert!(answered.iter().all(|is_right| *is_right), "{answered:?}");
    server.shut_down().await;
}
