//! The tensors of a tree by dotted names, and their bytes, laid out without gaps.

use std::collections::BTreeMap;
use std::ops::Range;

use safetensors::tensor::Dtype;

use super::Refused;
use super::archive::Archive;
use super::value::{NodeId, TensorView, Tree, Value};

/// Places that are visited; more are a sign of a tree that contains itself many times over.
const MAX_VISITS: usize = 1 << 20;
/// Containers inside each other.
const MAX_DEPTH: usize = 32;
const MAX_TENSORS: usize = 1 << 16;
const MAX_NAME: usize = 512;
/// How many times the bytes of the storages all tensors together may have; tied weights need 2.
const MAX_SHARING: u64 = 8;
/// A storage of one element may be a tensor of many.
const FREE_SHARING: u64 = 1 << 20;

/// What a tensor's numbers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ElementKind {
    F64,
    F32,
    F16,
    BF16,
    I64,
    I32,
    I16,
    I8,
    U8,
    Bool,
}

impl ElementKind {
    /// Bytes of one element.
    #[must_use]
    pub fn bytes(self) -> u64 {
        match self {
            Self::F64 | Self::I64 => 8,
            Self::F32 | Self::I32 => 4,
            Self::F16 | Self::BF16 | Self::I16 => 2,
            Self::I8 | Self::U8 | Self::Bool => 1,
        }
    }

    /// True for floating-point numbers.
    #[must_use]
    pub fn is_float(self) -> bool {
        matches!(self, Self::F64 | Self::F32 | Self::F16 | Self::BF16)
    }

    /// The same in safetensors.
    #[must_use]
    pub fn dtype(self) -> Dtype {
        match self {
            Self::F64 => Dtype::F64,
            Self::F32 => Dtype::F32,
            Self::F16 => Dtype::F16,
            Self::BF16 => Dtype::BF16,
            Self::I64 => Dtype::I64,
            Self::I32 => Dtype::I32,
            Self::I16 => Dtype::I16,
            Self::I8 => Dtype::I8,
            Self::U8 => Dtype::U8,
            Self::Bool => Dtype::BOOL,
        }
    }
}

/// A tensor's bytes, little-endian, the last axis fastest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredTensor {
    pub kind: ElementKind,
    pub shape: Vec<usize>,
    pub bytes: Vec<u8>,
}

/// Reads every tensor below a place, each storage once.
pub(super) fn read(tree: &Tree, at: NodeId, archive: &Archive) -> Refused<BTreeMap<String, StoredTensor>> {
    let mut walk = Walk { tree, views: BTreeMap::new(), n_visits: 0 };
    walk.visit(at, String::new(), 0)?;
    check_sharing(&walk.views)?;
    let mut by_storage: BTreeMap<String, Vec<(&String, &TensorView)>> = BTreeMap::new();
    for (name, view) in &walk.views {
        by_storage.entry(view.storage.entry_name()).or_default().push((name, view));
    }
    let mut tensors = BTreeMap::new();
    for (entry, views) in by_storage {
        let storage = archive.read(&entry)?;
        for (name, view) in views {
            let tensor = gather(view, &storage).ok_or_else(|| format!("{name} leaves its storage {entry}"))?;
            tensors.insert(name.clone(), tensor);
        }
    }
    Ok(tensors)
}

struct Walk<'a> {
    tree: &'a Tree,
    views: BTreeMap<String, &'a TensorView>,
    n_visits: usize,
}

impl Walk<'_> {
    fn visit(&mut self, at: NodeId, name: String, depth: usize) -> Refused<()> {
        self.n_visits += 1;
        if depth > MAX_DEPTH || self.n_visits > MAX_VISITS {
            return Err(format!("the tree is deeper than {MAX_DEPTH} or has more than {MAX_VISITS} places"));
        }
        match self.tree.value(at) {
            Value::Tensor(view) => {
                if self.views.len() == MAX_TENSORS {
                    return Err(format!("there are more than {MAX_TENSORS} tensors"));
                }
                if self.views.insert(name.clone(), view).is_some() {
                    return Err(format!("two tensors are called {name:?}"));
                }
            }
            Value::Dict(entries) => {
                for (key, value) in entries {
                    let name = match self.tree.value(*key) {
                        Value::Text(key) => join(&name, key)?,
                        Value::Int(key) => join(&name, &key.to_string())?,
                        other => return Err(format!("{} is a dict's key", other.kind())),
                    };
                    self.visit(*value, name, depth + 1)?;
                }
            }
            Value::Object(Some(state)) => self.visit(*state, name, depth + 1)?,
            Value::List(items) => self.visit_items(items, &name, depth)?,
            Value::Tuple(items) => self.visit_items(items, &name, depth)?,
            Value::Object(None)
            | Value::None
            | Value::Bool(_)
            | Value::Int(_)
            | Value::Float(_)
            | Value::Text(_)
            | Value::Global(_)
            | Value::Storage(_) => {}
        }
        Ok(())
    }

    fn visit_items(&mut self, items: &[NodeId], name: &str, depth: usize) -> Refused<()> {
        for (number, item) in items.iter().enumerate() {
            self.visit(*item, join(name, &number.to_string())?, depth + 1)?;
        }
        Ok(())
    }
}

fn join(name: &str, part: &str) -> Refused<String> {
    if name.len() + part.len() >= MAX_NAME {
        return Err(format!("a tensor's name has more than {MAX_NAME} bytes"));
    }
    Ok(if name.is_empty() { part.to_owned() } else { format!("{name}.{part}") })
}

fn check_sharing(views: &BTreeMap<String, &TensorView>) -> Refused<()> {
    let bytes = |view: &TensorView| {
        let n = view.shape.iter().try_fold(1_u64, |n, size| n.checked_mul(*size));
        n.and_then(|n| n.checked_mul(view.storage.kind.bytes()))
    };
    let tensors = views.values().try_fold(0_u64, |sum, view| sum.checked_add(bytes(view)?));
    let storages: BTreeMap<&str, u64> =
        views.values().map(|view| (&*view.storage.key, view.storage.n_elements * view.storage.kind.bytes())).collect();
    let cap = storages.values().sum::<u64>().saturating_mul(MAX_SHARING).saturating_add(FREE_SHARING);
    if tensors.is_some_and(|tensors| tensors <= cap) {
        return Ok(());
    }
    Err(format!("the tensors would take more than {MAX_SHARING} times the bytes of their storages"))
}

/// Copies a tensor's elements out of its storage.
fn gather(view: &TensorView, storage: &[u8]) -> Option<StoredTensor> {
    let kind = view.storage.kind;
    let element = kind.bytes() as usize;
    let shape: Vec<usize> = view.shape.iter().map(|size| usize::try_from(*size).ok()).collect::<Option<_>>()?;
    let strides: Vec<usize> = view.strides.iter().map(|stride| usize::try_from(*stride).ok()).collect::<Option<_>>()?;
    let offset = usize::try_from(view.offset).ok()?;
    let n_elements: usize = shape.iter().product();
    if n_elements == 0 {
        return Some(StoredTensor { kind, shape, bytes: Vec::new() });
    }
    let (block, outer) = contiguous_tail(&shape, &strides);
    let mut bytes = Vec::with_capacity(n_elements * element);
    let mut position = vec![0; outer];
    loop {
        let start = offset + position.iter().zip(&strides).map(|(at, stride)| at * stride).sum::<usize>();
        bytes.extend_from_slice(storage.get(byte_range(start, block, element)?)?);
        // The next position, the last axis fastest.
        let Some(axis) = (0..outer).rev().find(|axis| position[*axis] + 1 < shape[*axis]) else {
            return Some(StoredTensor { kind, shape, bytes });
        };
        position[axis] += 1;
        position[axis + 1..].fill(0);
    }
}

/// How many elements at the end of the axes lie side by side, and how many axes are left before them.
fn contiguous_tail(shape: &[usize], strides: &[usize]) -> (usize, usize) {
    let mut block = 1;
    for axis in (0..shape.len()).rev() {
        if shape[axis] != 1 && strides[axis] != block {
            return (block, axis + 1);
        }
        block *= shape[axis];
    }
    (block, 0)
}

fn byte_range(start: usize, elements: usize, element: usize) -> Option<Range<usize>> {
    let start = start.checked_mul(element)?;
    Some(start..start.checked_add(elements.checked_mul(element)?)?)
}
