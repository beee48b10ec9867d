//! The names of classes and functions that a pickle may speak of. None of them is ever imported or called.

use super::tensors::ElementKind;

/// A name that has a meaning here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Global {
    /// `collections.OrderedDict`.
    OrderedDict,
    /// `torch._utils._rebuild_tensor_v2`.
    RebuildTensor,
    /// `torch._utils._rebuild_parameter`.
    RebuildParameter,
    /// `torch.FloatStorage` and its kin.
    Storage(ElementKind),
    /// A class of a TorchScript archive: a record of attributes.
    ScriptClass,
    /// `torch.jit._pickle.build_intlist` and its kin, which give the list that they get.
    BuildList,
    /// `torch.jit._pickle.restore_type_tag`, which gives the value that it gets before the type.
    RestoreTypeTag,
}

impl Global {
    /// What a name means, or `None` if it means nothing here.
    pub(super) fn find(module: &str, name: &str) -> Option<Self> {
        if module == "__torch__" || module.starts_with("__torch__.") {
            return Some(Self::ScriptClass);
        }
        Some(match (module, name) {
            ("collections", "OrderedDict") => Self::OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2") => Self::RebuildTensor,
            ("torch._utils", "_rebuild_parameter") => Self::RebuildParameter,
            ("torch", storage) => Self::Storage(match storage {
                "FloatStorage" => ElementKind::F32,
                "HalfStorage" => ElementKind::F16,
                "BFloat16Storage" => ElementKind::BF16,
                "DoubleStorage" => ElementKind::F64,
                "LongStorage" => ElementKind::I64,
                "IntStorage" => ElementKind::I32,
                "ShortStorage" => ElementKind::I16,
                "CharStorage" => ElementKind::I8,
                "ByteStorage" => ElementKind::U8,
                "BoolStorage" => ElementKind::Bool,
                _ => return None,
            }),
            ("torch.jit._pickle", "build_intlist" | "build_tensorlist" | "build_doublelist" | "build_boollist") => {
                Self::BuildList
            }
            ("torch.jit._pickle", "restore_type_tag") => Self::RestoreTypeTag,
            _ => return None,
        })
    }
}
