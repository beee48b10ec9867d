//! What a pickle says: a tree of values that lie side by side and name each other by number.

use super::global::Global;
use super::tensors::ElementKind;

/// The number of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NodeId(pub(super) u32);

/// One value; containers hold the numbers of what they contain.
#[derive(Debug, PartialEq)]
pub enum Value {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Box<str>),
    List(Vec<NodeId>),
    Tuple(Box<[NodeId]>),
    /// Pairs in the order of writing.
    Dict(Vec<(NodeId, NodeId)>),
    Tensor(Box<TensorView>),
    /// An object of a TorchScript class, as the record of its attributes.
    Object(Option<NodeId>),
    /// A name that the pickle may speak of; only seen on the way to something else.
    Global(Global),
    /// Only seen on the way to a tensor.
    Storage(Box<StorageRef>),
}

impl Value {
    /// The value's kind, for messages.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Bool(_) => "a boolean",
            Self::Int(_) => "an integer",
            Self::Float(_) => "a float",
            Self::Text(_) => "a text",
            Self::List(_) => "a list",
            Self::Tuple(_) => "a tuple",
            Self::Dict(_) => "a dict",
            Self::Tensor(_) => "a tensor",
            Self::Object(_) => "an object",
            Self::Global(_) => "a class or function",
            Self::Storage(_) => "a storage",
        }
    }
}

/// Bytes in the archive, as a persistent id describes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StorageRef {
    pub kind: ElementKind,
    pub key: Box<str>,
    pub n_elements: u64,
}

impl StorageRef {
    /// The entry's name behind the archive's folder.
    pub(super) fn entry_name(&self) -> String {
        format!("data/{}", self.key)
    }
}

/// A tensor: where its elements are in a storage. Every element is inside of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorView {
    pub storage: StorageRef,
    /// Elements before the first one.
    pub offset: u64,
    pub shape: Vec<u64>,
    /// In elements, one for each axis.
    pub strides: Vec<u64>,
}

/// All values of a pickle.
#[derive(Debug)]
pub(super) struct Tree {
    nodes: Vec<Value>,
    root: NodeId,
}

impl Tree {
    /// A tree; every number that a value holds is one of its nodes.
    pub(super) fn new(nodes: Vec<Value>, root: NodeId) -> Self {
        Self { nodes, root }
    }

    pub(super) fn root(&self) -> NodeId {
        self.root
    }

    pub(super) fn value(&self, at: NodeId) -> &Value {
        &self.nodes[at.0 as usize]
    }

    pub(super) fn entry(&self, at: NodeId, name: &str) -> Option<NodeId> {
        match self.value(at) {
            Value::Dict(entries) => {
                let has_name =
                    |(key, _): &&(NodeId, NodeId)| matches!(self.value(*key), Value::Text(text) if **text == *name);
                entries.iter().find(has_name).map(|(_, value)| *value)
            }
            // An object's state is a dict, so this goes one level deep.
            Value::Object(Some(state)) if matches!(self.value(*state), Value::Dict(_)) => self.entry(*state, name),
            _ => None,
        }
    }

    pub(super) fn storages(&self) -> impl Iterator<Item = &StorageRef> {
        self.nodes.iter().filter_map(|value| match value {
            Value::Storage(storage) => Some(&**storage),
            _ => None,
        })
    }
}
