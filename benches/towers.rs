//! Pictures a second through CLIP's image tower from pixels that are on the device already, beside the matrix product that the
//! device can do: `cargo bench --bench towers -- DEVICE DTYPE`. Weights are drawn by chance; speed does not depend on them.

use std::time::Instant;

use anyhow::Context as _;
use pictor::image::ImageRule;
use pictor::model::device::preload_cuda;
use pictor::model::observer::Unobserved;
use pictor::model::{Description, DeviceChoice, ModelFolder, PrecisionChoice};
use safetensors::tensor::{Dtype, TensorView};
use tch::{Cuda, Device, Kind, Tensor};

const REPEATS: usize = 5;

/// A vision tower of OpenAI's.
struct Shape {
    name: &'static str,
    width: usize,
    layers: usize,
    patch: usize,
    dimension: usize,
    text_width: usize,
    /// GFLOP of one picture (open_clip's model profile).
    gflop: f64,
}

const SHAPES: [Shape; 2] = [
    Shape { name: "ViT-B/32", width: 768, layers: 12, patch: 32, dimension: 512, text_width: 512, gflop: 8.82 },
    Shape { name: "ViT-L/14", width: 1024, layers: 24, patch: 14, dimension: 768, text_width: 768, gflop: 162.0 },
];

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench");
    let choice: DeviceChoice = arguments.next().unwrap_or_else(|| "auto".to_owned()).parse()?;
    let dtype: PrecisionChoice = arguments.next().unwrap_or_else(|| "auto".to_owned()).parse()?;
    preload_cuda(choice)?;
    let device = choice.resolve()?;
    let precision = dtype.resolve(device)?;
    let _no_gradients = tch::no_grad_guard();
    let ceiling = matmul_teraflops(device, precision.kind());
    for shape in &SHAPES {
        let folder = tempfile::tempdir()?;
        write_model(folder.path(), shape).context("writing the model")?;
        let model = ModelFolder { name: "bench".to_owned(), revision: "1".to_owned(), path: folder.path().to_owned() };
        let network = Description::read(&model, ImageRule::Pictor)?.network(precision.kind(), device)?;
        let tower = network.image.context("an image tower")?;
        let batch = if device.is_cuda() { 512 } else { 8 };
        let pixels = Tensor::randn([batch, 3, 224, 224], (Kind::Float, device)).to_kind(precision.kind());
        let rates: Vec<f64> = (0..=REPEATS)
            .map(|_| {
                let (started, rounds) = (Instant::now(), if device.is_cuda() { 20 } else { 2 });
                (0..rounds).for_each(|_| drop(tower.embed(&pixels, &mut Unobserved)));
                synchronize(device);
                (rounds * batch) as f64 / started.elapsed().as_secs_f64()
            })
            .skip(1)
            .collect();
        let best = rates.iter().copied().fold(0.0, f64::max);
        let line = serde_json::json!({
            "bench": "towers", "model": shape.name, "device": format!("{device:?}"), "dtype": precision.name(), "batch": batch,
            "images_per_second": rates, "matmul_teraflops": ceiling,
            "share_of_ceiling": best * shape.gflop / 1000.0 / ceiling,
        });
        println!("{line}");
    }
    Ok(())
}

fn synchronize(device: Device) {
    if let Device::Cuda(number) = device {
        Cuda::synchronize(number as i64);
    }
}

/// The best of several square products.
fn matmul_teraflops(device: Device, kind: Kind) -> f64 {
    let size: i64 = if device.is_cuda() { 8192 } else { 2048 };
    let [a, b] = [(); 2].map(|()| Tensor::randn([size, size], (Kind::Float, device)).to_kind(kind));
    let run = || {
        let started = Instant::now();
        (0..10).for_each(|_| drop(a.matmul(&b)));
        synchronize(device);
        20.0 * (size as f64).powi(3) / started.elapsed().as_secs_f64() / 1e12
    };
    (0..REPEATS).map(|_| run()).fold(0.0, f64::max)
}

/// A whole CLIP in Hugging Face's layout; its text tower has one layer, because only pictures are measured.
fn write_model(folder: &std::path::Path, shape: &Shape) -> anyhow::Result<()> {
    let (width, inner, text) = (shape.width, shape.width * 4, shape.text_width);
    let grid = 224 / shape.patch;
    let config = serde_json::json!({
        "model_type": "clip", "projection_dim": shape.dimension,
        "vision_config": {
            "hidden_size": width, "intermediate_size": inner, "num_hidden_layers": shape.layers, "num_attention_heads": width / 64,
            "image_size": 224, "patch_size": shape.patch,
        },
        "text_config": {
            "hidden_size": text, "intermediate_size": text, "num_hidden_layers": 1, "num_attention_heads": text / 64,
            "max_position_embeddings": 8, "vocab_size": 8,
        },
    });
    std::fs::write(folder.join("config.json"), config.to_string())?;
    std::fs::write(folder.join("tokenizer.json"), "{}")?;
    let mut shapes: Vec<(String, Vec<usize>)> = vec![
        ("vision_model.embeddings.class_embedding".to_owned(), vec![width]),
        ("vision_model.embeddings.patch_embedding.weight".to_owned(), vec![width, 3, shape.patch, shape.patch]),
        ("vision_model.embeddings.position_embedding.weight".to_owned(), vec![1 + grid * grid, width]),
        ("visual_projection.weight".to_owned(), vec![shape.dimension, width]),
        ("text_model.embeddings.token_embedding.weight".to_owned(), vec![8, text]),
        ("text_model.embeddings.position_embedding.weight".to_owned(), vec![8, text]),
        ("text_projection.weight".to_owned(), vec![shape.dimension, text]),
    ];
    let mut pair = |name: String, weight: Vec<usize>| {
        shapes.push((format!("{name}.bias"), vec![weight[0]]));
        shapes.push((format!("{name}.weight"), weight));
    };
    for norm in ["pre_layrnorm", "post_layernorm"] {
        pair(format!("vision_model.{norm}"), vec![width]);
    }
    pair("text_model.final_layer_norm".to_owned(), vec![text]);
    for (tower, layers, width, inner) in [("vision_model", shape.layers, width, inner), ("text_model", 1, text, text)] {
        for layer in 0..layers {
            let mut part =
                |name: &str, weight: Vec<usize>| pair(format!("{tower}.encoder.layers.{layer}.{name}"), weight);
            ["layer_norm1", "layer_norm2"].iter().for_each(|norm| part(norm, vec![width]));
            for projection in ["q_proj", "k_proj", "v_proj", "out_proj"] {
                part(&format!("self_attn.{projection}"), vec![width, width]);
            }
            part("mlp.fc1", vec![inner, width]);
            part("mlp.fc2", vec![width, inner]);
        }
    }
    // Small numbers in a fixed pattern: no overflow, and no zeros that a kernel could profit from.
    let tensors: Vec<(String, Vec<usize>, Vec<u8>)> = shapes
        .into_iter()
        .map(|(name, shape)| {
            let n: usize = shape.iter().product();
            let bytes = (0..n).flat_map(|i| (((i * 2_654_435_761) % 1000) as f32 / 20_000.0 - 0.025).to_le_bytes());
            (name, shape, bytes.collect())
        })
        .collect();
    let views: Vec<_> = tensors
        .iter()
        .map(|(name, shape, bytes)| Ok((name.as_str(), TensorView::new(Dtype::F32, shape.clone(), bytes)?)))
        .collect::<anyhow::Result<_>>()?;
    std::fs::write(folder.join("model.safetensors"), safetensors::serialize(views, None)?)?;
    Ok(())
}
