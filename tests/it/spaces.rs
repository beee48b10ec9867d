//! How a generation's queries are made: a student that was taught a teacher's space answers against the teacher's vectors at once,
//! and a generation's composer goes with it.

use pictor_proto::client::Client;
use pictor_proto::v1;
use serde_json::json;

use crate::encoder::pictures::png;
use crate::encoder::tower_models::picture;
use crate::finetune::{N_ITEMS, call, fill, run, train, try_train};
use crate::fixture::block_on;
use crate::generations::{NAME, Towers, dot, ended, reembed, start, switch};
use crate::support::ChildServer;

/// Teaches the other revision's image tower to give the stored vectors.
const RECIPE: &str = r#"
name = "student"
seed = 1
corpus = { collection = "" }
captions = { from = [{ path = "texts.name" }] }
split = { test = 0.25 }
model = { start = "pictor@r2", space_of = "pictor@r1" }
run = { steps = 400, batch = 64, checkpoint_every = 1000, dtype = "f32" }
sampler = { kind = "items" }
views = { kind = "paired", pictures = 1, texts = 0 }
targets = { kind = "stored", images = "image" }
objective = [{ term = "features", weight = 2000 }]
parameters = [{ match = "text/.*", frozen = true }, { match = "vision/.*" }]
optimiser = { lr = 0.004, clip_norm = 1.0 }
schedule = { shape = "cosine", warmup = 5 }
"#;

async fn search(client: &Client, content: v1::query_part::Content) -> v1::SearchResponse {
    let request = v1::SearchRequest {
        collection: "things".to_owned(),
        parts: vec![v1::QueryPart { content: Some(content), weight: None }],
        limit: 10,
        select: Some(v1::ItemSelection { vectors: true, ..Default::default() }),
        ..Default::default()
    };
    client.search.clone().search(request).await.expect("hits").into_inner()
}

async fn embed(client: &Client, encoder: &str, image: &[u8]) -> (Vec<f32>, v1::Encoder) {
    let content = Some(v1::embed_input::Content::Image(image.to_vec().into()));
    let request = v1::EmbedRequest {
        encoder: encoder.to_owned(),
        inputs: vec![v1::EmbedInput { content }],
        role: v1::EncodeRole::Query as i32,
    };
    let reply = client.encoders.clone().embed(request).await.expect("embedded").into_inner();
    match reply.results.into_iter().next().and_then(|result| result.outcome) {
        Some(v1::embed_result::Outcome::Embedding(embedding)) => (embedding.values, reply.encoder.expect("an encoder")),
        other => panic!("no vector: {other:?}"),
    }
}

fn ids(reply: &v1::SearchResponse) -> Vec<&str> {
    reply.hits.iter().map(|hit| hit.id.as_str()).collect()
}

/// Fails when: a student's agreement is not measured on what it did not learn from, a stranger or an untaught student is taken, or
/// queries do not go through the student and against the teacher's vectors.
#[test]
fn a_student_serves_its_teachers_vectors() {
    block_on(async {
        let (folder, towers) = (tempfile::tempdir().expect("a folder"), Towers::new());
        let data = folder.path().join("data");
        let server = ChildServer::start_with_models(&data, towers.models()).await;
        let url = format!("http://{}", server.grpc);
        let side = towers.tower.side();
        fill(&server, "things", "pictor@r1", side).await;
        let client = server.client().await;
        let recipe = folder.path().join("recipe.toml");
        std::fs::write(&recipe, RECIPE).expect("write");
        let model = |job: serde_json::Value| job["result"]["model"].as_str().expect("a model").to_owned();
        let set = |encoder: &str, more: &[&str]| {
            let words = ["generation", "query-encoder", "things", "--field", "image", "--encoder", encoder];
            run(&url, &[&words[..], more].concat())
        };
        let card = |model: &str| -> serde_json::Value {
            let path = towers.models().join(model.replace('@', "/")).join("card.json");
            serde_json::from_slice(&std::fs::read(path).expect("a card")).expect("JSON")
        };

        // A stranger never, not even by force; an untaught student by force only.
        for more in [&[][..], &["--force"]] {
            let (_, code, said) = set("pictor@r2", more);
            assert!(code == Some(1) && said.contains("scores between them mean nothing"), "{said}");
        }
        let untaught = model(train(&server, &recipe, &["run.steps=1", "optimiser.lr=0"]));
        println!("untaught: {}", card(&untaught)["agreement"]);
        let (_, code, said) = set(&untaught, &[]);
        assert!(code == Some(1) && said.contains("expected at least 0.5, or force"), "{said}");
        assert_eq!(set(&untaught, &["--force"]).1, Some(0));

        let (job, _, _) = try_train(&server, &recipe, &["split.test=0.0"]);
        let error = job["error"].as_str().unwrap_or_default();
        assert!(error.contains("NOTHING_HELD_OUT"), "{job}");

        let taught = model(train(&server, &recipe, &[]));
        let agreement = &card(&taught)["agreement"];
        println!("taught: {agreement}");
        assert_eq!(agreement["with"], "pictor@r1");
        assert_eq!(card(&taught)["space"], card_space(&client, "pictor@r1").await);
        let queries = agreement["pictures"]["queries"].as_u64().expect("a number");
        assert!((50..N_ITEMS as u64 / 2).contains(&queries), "about a quarter of {N_ITEMS} pictures: {queries}");
        assert_eq!(agreement["gallery"], N_ITEMS);
        assert_eq!(agreement["texts"]["overlap_at_10"], 1.0, "the text tower is the teacher's");
        let before = search(&client, text("a g red")).await;
        let (lines, code, said) = set(&taught, &[]);
        assert_eq!(code, Some(0), "{said}");
        assert_eq!((&lines[0]["query_encoder"], &lines[0]["generation"]), (&json!(taught), &json!(1)));
        assert_eq!(lines[0]["agreement_pictures"], agreement["pictures"]["overlap_at_10"]);

        // Queries are the student's, vectors the teacher's, and the answer says so.
        let (mut overlap, n_queries) = (0, 20);
        for image in pictures(&client, n_queries).await {
            let (own, encoder) = embed(&client, &taught, &image).await;
            let (teachers, _) = embed(&client, "pictor@r1", &image).await;
            let reply = search(&client, v1::query_part::Content::Image(image.clone().into())).await;
            assert_eq!((reply.generation, &reply.fingerprint), (1, &encoder.fingerprint));
            for hit in &reply.hits {
                let stored = &hit.item.as_ref().expect("an item").vectors[0].values;
                assert!((dot(&own, stored) - hit.score).abs() < 1e-4, "the student's query, the teacher's vector");
            }
            let vector = v1::query_part::Content::Vector(v1::Vector { values: teachers });
            let by_teacher = search(&client, vector).await;
            overlap += ids(&reply).iter().filter(|id| ids(&by_teacher).contains(id)).count();
        }
        println!("{overlap} of {} first ten hits are the teacher's", 10 * n_queries);
        assert!(overlap * 2 >= 10 * n_queries);
        // The text tower was not touched.
        assert_eq!(ids(&search(&client, text("a g red")).await), ids(&before));

        // It stays over a restart, new items get the teacher's vectors, and the way back is one call.
        server.kill();
        let server = ChildServer::start_with_models(&data, towers.models()).await;
        let client = server.client().await;
        let image = png(&picture(3, side, side));
        let (_, encoder) = embed(&client, &taught, &image).await;
        let reply = search(&client, v1::query_part::Content::Image(image.clone().into())).await;
        assert_eq!(reply.fingerprint, encoder.fingerprint);
        let back = call(&server, &["generation", "query-encoder", "things", "--field", "image"]);
        assert_eq!(back[0]["query_encoder"], "pictor@r1");
        let (_, encoder) = embed(&client, "pictor@r1", &image).await;
        let reply = search(&client, v1::query_part::Content::Image(image.into())).await;
        assert_eq!(reply.fingerprint, encoder.fingerprint);
    });
}

/// The pictures of stored items.
async fn pictures(client: &Client, n: usize) -> Vec<Vec<u8>> {
    let ids = (0..n).map(|number| format!("item-{number:03}")).collect();
    let select = Some(v1::ItemSelection { media_data: true, ..Default::default() });
    let request = v1::GetRequest { collection: "things".to_owned(), ids, select };
    let items = client.items.clone().get(request).await.expect("items").into_inner().items;
    items.into_iter().map(|item| item.media[0].data.to_vec()).collect()
}

/// Fails when: a switch takes the encoder along and leaves the composer, or a query's own choice does not count.
#[test]
fn a_generations_composer_goes_with_it() {
    block_on(async {
        let (towers, server, client) = start().await;
        towers.fill(&client, 50).await;
        let job = reembed(&client, "pictor@r2").await.expect("a job");
        ended(&client, &job.id).await;
        let set = |generation: u32, composer: &str| v1::SetComposerRequest {
            collection: NAME.to_owned(),
            field: "image".to_owned(),
            generation,
            composer: composer.to_owned(),
        };
        let reply = client.training.clone().set_composer(set(0, "slerp")).await.expect("set").into_inner();
        assert_eq!((reply.generation, reply.composer.as_str()), (1, "slerp"));
        let refused = client.training.clone().set_composer(set(0, "magic")).await.expect_err("unknown");
        assert!(refused.message().contains("there are combiner, slerp, sum"), "{}", refused.message());

        // The same two parts: at equal weights both composers go half way, at others they do not.
        let composed = |composer: &str| {
            let item = |id: &str, weight| {
                let content = Some(v1::query_part::Content::ItemId(id.to_owned()));
                v1::QueryPart { content, weight: Some(weight) }
            };
            let request = v1::SearchRequest {
                collection: NAME.to_owned(),
                parts: vec![item("item-00001", 1.0), item("item-00002", 3.0)],
                composer: composer.to_owned(),
                limit: 5,
                ..Default::default()
            };
            let mut search = client.search.clone();
            async move { search.search(request).await.expect("hits").into_inner() }
        };
        let check = |reply: &v1::SearchResponse, generation: u32, composer: &str| {
            assert_eq!((reply.generation, reply.composer.as_str()), (generation, composer));
        };
        let by_default = composed("").await;
        check(&by_default, 1, "slerp");
        let by_sum = composed("sum").await;
        check(&by_sum, 1, "sum");
        assert_ne!(by_default.hits[0].score, by_sum.hits[0].score);
        switch(&client, 2).await.expect("switched");
        check(&composed("").await, 2, "sum");
        check(&composed("slerp").await, 2, "slerp");
        switch(&client, 1).await.expect("switched back");
        assert_eq!(composed("").await.hits, by_default.hits);
        client.training.clone().set_composer(set(1, "")).await.expect("the default again");
        check(&composed("").await, 1, "sum");
        server.shut_down().await;
    });
}

fn text(text: &str) -> v1::query_part::Content {
    v1::query_part::Content::Text(text.to_owned())
}

async fn card_space(client: &Client, encoder: &str) -> String {
    let request = v1::GetEncoderRequest { encoder: encoder.to_owned() };
    client.encoders.clone().get_encoder(request).await.expect("described").into_inner().encoder.expect("it").space
}
