//! `pictor-server embed`: a file of texts in, a safetensors file of vectors out, without a server.

use std::borrow::Cow;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use rayon::iter::{IndexedParallelIterator, IntoParallelRefIterator, ParallelIterator};
use safetensors::tensor::{Dtype, View};

use super::batch;
use super::encoder::{Encoder, EncoderInfo, EncoderInput, Role};
use super::settings::EncodeSettings;
use super::torch::EncoderPlan;
use crate::model::ModelFolder;
use crate::types::vector::UnitVector;
use crate::{Error, Result};

/// What to embed and where to put it.
#[derive(Clone, Debug, Default)]
pub struct EmbedRequest {
    /// A model's or a revision's folder.
    pub model: PathBuf,
    /// One text a line.
    pub texts_from: Option<PathBuf>,
    /// One JSON string or `{"text": …}` a line.
    pub texts_jsonl: Option<PathBuf>,
    /// One image path a line.
    pub images_from: Option<PathBuf>,
    pub out: PathBuf,
    pub settings: EncodeSettings,
}

/// What was done.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct EmbedReport {
    pub encoder: String,
    pub fingerprint: String,
    pub space: String,
    pub device: String,
    pub dtype: &'static str,
    pub dimension: usize,
    pub texts: usize,
    /// Special tokens included.
    pub tokens: usize,
    /// Texts that were cut at the encoder's limit.
    pub truncated: usize,
    /// Tokens computed only to fill batches.
    pub padding: usize,
    pub load_seconds: f64,
    /// Tokenizing and encoding.
    pub encode_seconds: f64,
}

/// Embeds a file of texts; `out` appears whole or not at all.
///
/// # Errors
/// The first bad input, named by file and line; the model's errors; `StorageFull` if the file cannot be written.
pub fn embed_texts(request: &EmbedRequest) -> Result<EmbedReport> {
    let folder = ModelFolder::at(&request.model)?;
    let texts = read_texts(request)?;
    let started = Instant::now();
    let plan = EncoderPlan::read(&folder, &request.settings)?;
    let info = plan.info().clone();
    if request.images_from.is_some() {
        return Err(Error::Unsupported(format!("encoding images with {}, a text encoder,", info.full_name())));
    }
    let mut encoder = plan.load()?;
    let load_seconds = started.elapsed().as_secs_f64();

    let started = Instant::now();
    let inputs = tokenize(&plan, &texts, request.settings.threads)?;
    let costs: Vec<_> = inputs.iter().map(EncoderInput::cost).collect();
    let mut vectors: Vec<Option<UnitVector>> = vec![None; inputs.len()];
    let mut padding = 0;
    for batch in batch::plan(&costs, plan.batch_tokens()) {
        let encoded = encoder.encode(&batch.iter().map(|&position| &inputs[position]).collect::<Vec<_>>())?;
        padding += batch.iter().map(|&position| costs[batch[0]] - costs[position]).sum::<usize>();
        for (position, vector) in batch.into_iter().zip(encoded) {
            vectors[position] = Some(vector);
        }
    }
    let encode_seconds = started.elapsed().as_secs_f64();

    let vectors: Vec<_> = vectors.into_iter().flatten().collect();
    write_vectors(&request.out, &info, &vectors)?;
    Ok(EmbedReport {
        encoder: info.full_name(),
        fingerprint: info.fingerprint.clone(),
        space: info.space.clone(),
        device: info.device.clone(),
        dtype: info.dtype,
        dimension: info.dimension,
        texts: texts.len(),
        tokens: costs.iter().sum(),
        truncated: inputs.iter().filter(|EncoderInput::Text(text)| text.is_truncated).count(),
        padding,
        load_seconds,
        encode_seconds,
    })
}

fn read_texts(request: &EmbedRequest) -> Result<Vec<String>> {
    match (&request.texts_from, &request.texts_jsonl) {
        (Some(path), None) => read_lines(path)?.lines(|_, line| Ok(line.to_owned())),
        (None, Some(path)) => read_lines(path)?.lines(text_of_json),
        (None, None) if request.images_from.is_some() => Ok(Vec::new()),
        _ => Err(Error::invalid("texts", "expected exactly one of --texts-from and --texts-jsonl")),
    }
}

/// A file to be read line by line.
struct Lines<'a> {
    path: &'a Path,
    bytes: Vec<u8>,
}

fn read_lines(path: &Path) -> Result<Lines<'_>> {
    let bytes = std::fs::read(path).map_err(|error| Error::invalid(path.display().to_string(), error.to_string()))?;
    Ok(Lines { path, bytes })
}

impl Lines<'_> {
    /// Reads every line: LF ends one, a CR before it is dropped, what follows the last LF is a line if it is not empty.
    fn lines(&self, read: impl Fn(&str, &str) -> Result<String>) -> Result<Vec<String>> {
        let mut lines: Vec<&[u8]> = self.bytes.split(|&byte| byte == b'\n').collect();
        if lines.last().is_some_and(|line| line.is_empty()) {
            lines.pop();
        }
        let line = |(number, bytes): (usize, &[u8])| {
            let place = format!("{}:{}", self.path.display(), number + 1);
            let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
            let text = std::str::from_utf8(bytes)
                .map_err(|error| Error::invalid(place.clone(), format!("not UTF-8: {error}")))?;
            read(&place, text)
        };
        lines.into_iter().enumerate().map(line).collect()
    }
}

fn text_of_json(place: &str, line: &str) -> Result<String> {
    let wrong =
        |found: String| Error::invalid(place, format!("expected a JSON string or {{\"text\": string}}, {found}"));
    let json = serde_json::from_str(line).map_err(|error| wrong(format!("but it is no JSON: {error}")))?;
    match &json {
        serde_json::Value::String(text) => Ok(text.clone()),
        other => match other.get("text") {
            Some(serde_json::Value::String(text)) => Ok(text.clone()),
            _ => Err(wrong(format!("found {}", line.chars().take(80).collect::<String>()))),
        },
    }
}

fn tokenize(plan: &EncoderPlan, texts: &[String], threads: usize) -> Result<Vec<EncoderInput>> {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads.max(1))
        .build()
        .map_err(|error| Error::Internal(format!("no threads for tokenizing: {error}")))?;
    let preprocessor = plan.preprocessor();
    let tokenize = |(number, text): (usize, &String)| {
        preprocessor
            .text(text, Role::Document)
            .map_err(|error| Error::invalid(format!("text {}", number + 1), error.to_string()))
    };
    pool.install(|| texts.par_iter().enumerate().map(tokenize).collect())
}

/// Vectors as the f32 tensor `[n, dimension]`.
struct Matrix<'a> {
    shape: [usize; 2],
    vectors: &'a [UnitVector],
}

impl View for &Matrix<'_> {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let numbers = self.vectors.iter().flat_map(|vector| &vector.values);
        Cow::Owned(numbers.flat_map(|number| number.to_le_bytes()).collect())
    }

    fn data_len(&self) -> usize {
        self.shape.iter().product::<usize>() * size_of::<f32>()
    }
}

fn write_vectors(out: &Path, info: &EncoderInfo, vectors: &[UnitVector]) -> Result<()> {
    let metadata =
        [("encoder", info.full_name()), ("fingerprint", info.fingerprint.clone()), ("space", info.space.clone())];
    let metadata = metadata.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    let matrix = Matrix { shape: [vectors.len(), info.dimension], vectors };
    let bytes = safetensors::serialize([("texts", &matrix)], Some(metadata))
        .map_err(|error| Error::Internal(format!("vectors cannot be serialized: {error}")))?;
    write_whole(out, &bytes).map_err(|error| Error::StorageFull(format!("{}: {error}", out.display())))
}

/// Writes under a temporary name, syncs, renames.
fn write_whole(out: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = out.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = out.file_name().ok_or_else(|| std::io::Error::other("expected the path of a file"))?;
    let temporary = folder.join(format!(".{}.{}.new", name.to_string_lossy(), std::process::id()));
    let write = || {
        let mut file = File::create(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&temporary, out)?;
        File::open(folder)?.sync_all()
    };
    write().inspect_err(|_| {
        // The first error is the one worth telling.
        let _ = std::fs::remove_file(&temporary);
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines_of(bytes: &[u8], json: bool) -> Result<Vec<String>> {
        let lines = Lines { path: Path::new("list"), bytes: bytes.to_vec() };
        if json { lines.lines(text_of_json) } else { lines.lines(|_, line| Ok(line.to_owned())) }
    }

    #[test]
    fn every_line_is_a_text() {
        let check = |bytes: &[u8], expected: &[&str]| assert_eq!(lines_of(bytes, false).expect("lines"), expected);
        check(b"", &[]);
        check(b"\n", &[""]);
        check(b"a\r\n\r\n b \nc", &["a", "", " b ", "c"]);
        check(b"a\rb\n", &["a\rb"]);
        let error = lines_of(b"a\n\xff\n", false).expect_err("not UTF-8");
        assert!(error.to_string().starts_with("list:2: not UTF-8"), "{error}");
    }

    #[test]
    fn json_lines_are_strings_or_objects() {
        assert_eq!(lines_of(b"\"a\\nb\"\n{\"text\": \"c\", \"id\": 1}\r\n", true).expect("lines"), ["a\nb", "c"]);
        for bad in ["1", "{}", "{\"text\": 1}", "", "x"] {
            let error = lines_of(format!("\"ok\"\n{bad}\n").as_bytes(), true).expect_err(bad);
            assert!(error.to_string().starts_with("list:2:"), "{error}");
        }
    }
}
