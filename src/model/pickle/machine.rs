//! Runs a pickle's opcodes on a stack and a memo. It makes values and nothing else: a name is looked up in a fixed list, and what
//! a call of it would make is made here.

use std::collections::HashMap;

use super::Refused;
use super::global::Global;
use super::opcode::Opcode;
use super::value::{NodeId, StorageRef, TensorView, Tree, Value};

/// Opcodes that are run; a checkpoint has about thirty for each tensor.
const MAX_OPCODES: usize = 1 << 21;
/// Values that are made.
const MAX_NODES: usize = 1 << 19;
/// Values that wait on the stack.
const MAX_STACK: usize = 1 << 18;
/// Numbers of the memo.
const MAX_MEMO: usize = 1 << 19;
/// Axes of a tensor.
const MAX_AXES: usize = 32;
/// The newest protocol whose opcodes are known.
const MAX_PROTOCOL: u8 = 5;

/// Runs a pickle to its end.
pub(super) fn run(pickle: &[u8]) -> Refused<Tree> {
    let mut machine = Machine {
        reader: Reader { bytes: pickle, at: 0 },
        nodes: Vec::new(),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
    };
    for _ in 0..MAX_OPCODES {
        let at = machine.reader.at;
        match machine.step() {
            Ok(None) => {}
            Ok(Some(root)) => return Ok(Tree::new(machine.nodes, root)),
            Err(message) => return Err(format!("at byte {at}: {message}")),
        }
    }
    Err(format!("the pickle has more than {MAX_OPCODES} opcodes"))
}

struct Machine<'a> {
    reader: Reader<'a>,
    nodes: Vec<Value>,
    stack: Vec<NodeId>,
    /// Heights of the stack.
    marks: Vec<usize>,
    memo: HashMap<u32, NodeId>,
}

impl Machine<'_> {
    /// Runs one opcode; gives the root at the end.
    fn step(&mut self) -> Refused<Option<NodeId>> {
        match Opcode::of(self.reader.byte()?)? {
            Opcode::Proto => match self.reader.byte()? {
                2..=MAX_PROTOCOL => {}
                other => return Err(format!("expected protocol 2 to {MAX_PROTOCOL}, found {other}")),
            },
            // Only says how much may be read at once.
            Opcode::Frame => {
                let length = self.reader.u64()?;
                self.reader.check_rest(length)?;
            }
            Opcode::Stop => return self.stop().map(Some),
            Opcode::Mark => {
                // A mark may stand on a mark, so the stack's cap says nothing about them.
                if self.marks.len() == MAX_STACK {
                    return Err(format!("more than {MAX_STACK} marks"));
                }
                self.marks.push(self.stack.len());
            }
            Opcode::Pop => {
                // Without a value of its own, the mark goes.
                if self.marks.last() == Some(&self.stack.len()) {
                    self.marks.pop();
                } else {
                    self.pop()?;
                }
            }
            Opcode::PopMark => drop(self.above_mark()?),
            Opcode::Dup => {
                let top = self.top()?;
                self.push(top)?;
            }
            Opcode::None => self.make(Value::None)?,
            Opcode::True => self.make(Value::Bool(true))?,
            Opcode::False => self.make(Value::Bool(false))?,
            Opcode::Int32 => {
                let number = i32::from_le_bytes(self.reader.array()?);
                self.make(Value::Int(number.into()))?;
            }
            Opcode::Int8 => {
                let number = self.reader.byte()?;
                self.make(Value::Int(number.into()))?;
            }
            Opcode::Int16 => {
                let number = u16::from_le_bytes(self.reader.array()?);
                self.make(Value::Int(number.into()))?;
            }
            Opcode::Long1 => {
                let length = self.reader.byte()?;
                self.make_long(length.into())?;
            }
            Opcode::Long4 => {
                let length = self.reader.u32()?;
                self.make_long(length.into())?;
            }
            Opcode::Float => {
                let number = f64::from_be_bytes(self.reader.array()?);
                self.make(Value::Float(number))?;
            }
            Opcode::Text8 => {
                let length = self.reader.byte()?;
                self.make_text(length.into())?;
            }
            Opcode::Text32 => {
                let length = self.reader.u32()?;
                self.make_text(length.into())?;
            }
            Opcode::Text64 => {
                let length = self.reader.u64()?;
                self.make_text(length)?;
            }
            Opcode::EmptyList => self.make(Value::List(Vec::new()))?,
            Opcode::Append => {
                let value = self.pop()?;
                self.extend_list(&[value])?;
            }
            Opcode::Appends => {
                let values = self.above_mark()?;
                self.extend_list(&values)?;
            }
            Opcode::EmptyDict => self.make(Value::Dict(Vec::new()))?,
            Opcode::SetItem => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.extend_dict(&[key, value])?;
            }
            Opcode::SetItems => {
                let pairs = self.above_mark()?;
                self.extend_dict(&pairs)?;
            }
            Opcode::EmptyTuple => self.make(Value::Tuple(Box::default()))?,
            Opcode::Tuple => {
                let values = self.above_mark()?;
                self.make(Value::Tuple(values.into()))?;
            }
            Opcode::Tuple1 => self.make_tuple::<1>()?,
            Opcode::Tuple2 => self.make_tuple::<2>()?,
            Opcode::Tuple3 => self.make_tuple::<3>()?,
            Opcode::Put8 => {
                let number = self.reader.byte()?;
                self.put(number.into())?;
            }
            Opcode::Put32 => {
                let number = self.reader.u32()?;
                self.put(number)?;
            }
            Opcode::Memoize => self.put(self.memo.len() as u32)?,
            Opcode::Get8 => {
                let number = self.reader.byte()?;
                self.get(number.into())?;
            }
            Opcode::Get32 => {
                let number = self.reader.u32()?;
                self.get(number)?;
            }
            Opcode::Global => {
                let (module, name) = (self.reader.line()?, self.reader.line()?);
                self.make_global(module, name)?;
            }
            Opcode::StackGlobal => {
                let (name, module) = (self.pop()?, self.pop()?);
                let found = match (self.value(module), self.value(name)) {
                    (Value::Text(module), Value::Text(name)) => (module.clone(), name.clone()),
                    _ => return Err("a class is named by something else than texts".to_owned()),
                };
                self.make_global(&found.0, &found.1)?;
            }
            Opcode::Reduce => {
                let (arguments, function) = (self.pop()?, self.pop()?);
                self.reduce(function, arguments)?;
            }
            Opcode::NewObject => {
                let (arguments, class) = (self.pop()?, self.pop()?);
                let is_plain = *self.value(class) == Value::Global(Global::ScriptClass)
                    && matches!(self.value(arguments), Value::Tuple(arguments) if arguments.is_empty());
                if !is_plain {
                    return Err("an object is made of something else than a TorchScript class".to_owned());
                }
                self.make(Value::Object(None))?;
            }
            Opcode::Build => {
                let state = self.pop()?;
                self.build(state)?;
            }
            Opcode::PersistentId => {
                let id = self.pop()?;
                let storage = self.storage(id)?;
                self.make(Value::Storage(Box::new(storage)))?;
            }
        }
        Ok(None)
    }

    fn stop(&mut self) -> Refused<NodeId> {
        let root = self.pop()?;
        let rest = self.reader.bytes.len() - self.reader.at;
        if !self.stack.is_empty() || !self.marks.is_empty() {
            return Err("the pickle ends with values left over".to_owned());
        }
        if rest > 0 {
            return Err(format!("{rest} bytes stand behind the pickle's end"));
        }
        Ok(root)
    }

    fn value(&self, at: NodeId) -> &Value {
        &self.nodes[at.0 as usize]
    }

    fn make(&mut self, value: Value) -> Refused<()> {
        if self.nodes.len() == MAX_NODES {
            return Err(format!("the pickle makes more than {MAX_NODES} values"));
        }
        let at = NodeId(self.nodes.len() as u32);
        self.nodes.push(value);
        self.push(at)
    }

    fn push(&mut self, at: NodeId) -> Refused<()> {
        if self.stack.len() == MAX_STACK {
            return Err(format!("more than {MAX_STACK} values wait on the stack"));
        }
        self.stack.push(at);
        Ok(())
    }

    fn top(&self) -> Refused<NodeId> {
        let is_free = self.stack.len() > self.marks.last().copied().unwrap_or(0);
        self.stack.last().copied().filter(|_| is_free).ok_or_else(|| "a value is missing on the stack".to_owned())
    }

    fn pop(&mut self) -> Refused<NodeId> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    fn above_mark(&mut self) -> Refused<Vec<NodeId>> {
        let mark = self.marks.pop().ok_or("a mark is missing on the stack")?;
        Ok(self.stack.split_off(mark))
    }

    fn make_long(&mut self, length: u64) -> Refused<()> {
        if length > 8 {
            return Err(format!("an integer of {length} bytes: no more than 8 are read"));
        }
        let bytes = self.reader.take(length)?;
        let is_negative = bytes.last().is_some_and(|last| *last >= 0x80);
        let mut wide = [if is_negative { 0xff } else { 0 }; 8];
        wide[..bytes.len()].copy_from_slice(bytes);
        self.make(Value::Int(i64::from_le_bytes(wide)))
    }

    fn make_text(&mut self, length: u64) -> Refused<()> {
        let bytes = self.reader.take(length)?;
        let text = std::str::from_utf8(bytes).map_err(|error| format!("a text is not UTF-8: {error}"))?;
        self.make(Value::Text(text.into()))
    }

    fn make_tuple<const N: usize>(&mut self) -> Refused<()> {
        let mut values = [NodeId(0); N];
        for value in values.iter_mut().rev() {
            *value = self.pop()?;
        }
        self.make(Value::Tuple(values.into()))
    }

    fn make_global(&mut self, module: &str, name: &str) -> Refused<()> {
        let global = Global::find(module, name).ok_or_else(|| {
            let shown: String = format!("{module}.{name}").chars().take(200).collect();
            format!("the name {shown:?} is refused: only tensors, dicts, lists, tuples, numbers, texts and booleans are read")
        })?;
        self.make(Value::Global(global))
    }

    fn put(&mut self, number: u32) -> Refused<()> {
        let top = self.top()?;
        if self.memo.len() == MAX_MEMO && !self.memo.contains_key(&number) {
            return Err(format!("the pickle remembers more than {MAX_MEMO} values"));
        }
        self.memo.insert(number, top);
        Ok(())
    }

    fn get(&mut self, number: u32) -> Refused<()> {
        let at = self.memo.get(&number).copied();
        self.push(at.ok_or_else(|| format!("the memo has no value {number}"))?)
    }

    fn extend_list(&mut self, values: &[NodeId]) -> Refused<()> {
        let list = self.top()?;
        match &mut self.nodes[list.0 as usize] {
            Value::List(items) => items.extend(values),
            other => return Err(format!("items are added to {}", other.kind())),
        }
        Ok(())
    }

    fn extend_dict(&mut self, pairs: &[NodeId]) -> Refused<()> {
        let (pairs, rest) = pairs.as_chunks::<2>();
        if !rest.is_empty() {
            return Err("a dict's key has no value".to_owned());
        }
        if let Some(key) = pairs.iter().map(|[key, _]| self.value(*key)).find(|key| !is_key(key)) {
            return Err(format!("{} is a dict's key: expected a text or an integer", key.kind()));
        }
        let dict = self.top()?;
        match &mut self.nodes[dict.0 as usize] {
            Value::Dict(entries) => entries.extend(pairs.iter().map(|[key, value]| (*key, *value))),
            other => return Err(format!("entries are added to {}", other.kind())),
        }
        Ok(())
    }

    /// Makes what a call of `function` would give.
    fn reduce(&mut self, function: NodeId, arguments: NodeId) -> Refused<()> {
        let (Value::Global(function), Value::Tuple(arguments)) = (self.value(function), self.value(arguments)) else {
            return Err("a call is refused: expected a function that makes tensors and its arguments".to_owned());
        };
        match (function, &arguments[..]) {
            (Global::OrderedDict, []) => self.make(Value::Dict(Vec::new())),
            (
                Global::RebuildTensor,
                [storage, offset, shape, strides, _, _] | [storage, offset, shape, strides, _, _, _],
            ) => {
                let tensor = self.tensor(*storage, *offset, *shape, *strides)?;
                self.make(Value::Tensor(Box::new(tensor)))
            }
            (Global::RebuildParameter, [tensor, _, _]) if matches!(self.value(*tensor), Value::Tensor(_)) => {
                self.push(*tensor)
            }
            (Global::BuildList, [list]) if matches!(self.value(*list), Value::List(_)) => self.push(*list),
            (Global::RestoreTypeTag, [value, _]) => self.push(*value),
            (function, arguments) => {
                let kinds: Vec<_> = arguments.iter().take(8).map(|argument| self.value(*argument).kind()).collect();
                Err(format!("a call of {function:?} with ({}) is refused", kinds.join(", ")))
            }
        }
    }

    /// Gives an object its attributes. Dicts and tensors may have some, too, which say nothing about tensors.
    fn build(&mut self, state: NodeId) -> Refused<()> {
        let target = self.top()?;
        let is_dict = matches!(self.value(state), Value::Dict(_));
        match &mut self.nodes[target.0 as usize] {
            Value::Object(attributes @ None) if is_dict => *attributes = Some(state),
            Value::Dict(_) if is_dict && state != target => {}
            other => return Err(format!("a state that is no dict, or a second one, is given to {}", other.kind())),
        }
        Ok(())
    }

    /// ('storage', class, key, device, number of elements).
    fn storage(&self, id: NodeId) -> Refused<StorageRef> {
        let expected =
            "a persistent id is refused: expected ('storage', a storage class, a key, a device, a number of elements)";
        let Value::Tuple(parts) = self.value(id) else { return Err(expected.to_owned()) };
        let parts: Vec<_> = parts.iter().take(7).map(|part| self.value(*part)).collect();
        match parts[..] {
            [
                Value::Text(what),
                Value::Global(Global::Storage(kind)),
                Value::Text(key),
                Value::Text(_),
                Value::Int(n),
            ]
            | [
                Value::Text(what),
                Value::Global(Global::Storage(kind)),
                Value::Text(key),
                Value::Text(_),
                Value::Int(n),
                Value::None,
            ] if **what == *"storage" => {
                let n_elements = u64::try_from(*n).map_err(|_| format!("a storage of {n} elements"))?;
                if key.is_empty() || key.len() > 64 || !key.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
                    return Err("a storage's key is refused: expected a number".to_owned());
                }
                Ok(StorageRef { kind: *kind, key: key.clone(), n_elements })
            }
            _ => Err(expected.to_owned()),
        }
    }

    fn tensor(&self, storage: NodeId, offset: NodeId, shape: NodeId, strides: NodeId) -> Refused<TensorView> {
        let Value::Storage(storage) = self.value(storage) else {
            return Err(format!("a tensor is made of {}: expected a storage", self.value(storage).kind()));
        };
        let (offset, shape, strides) = (self.size(offset)?, self.sizes(shape)?, self.sizes(strides)?);
        if shape.len() != strides.len() {
            return Err(format!("a tensor has {} sizes and {} strides", shape.len(), strides.len()));
        }
        let outside = || {
            let n = storage.n_elements;
            format!(
                "a tensor of shape {shape:?}, strides {strides:?} and offset {offset} leaves its storage of {n} elements"
            )
        };
        shape.iter().try_fold(1_u64, |n, size| n.checked_mul(*size)).ok_or_else(outside)?;
        if shape.contains(&0) {
            if offset > storage.n_elements {
                return Err(outside());
            }
        } else {
            let last = shape.iter().zip(&strides).try_fold(offset, |at, (size, stride)| {
                (size - 1).checked_mul(*stride).and_then(|steps| at.checked_add(steps))
            });
            if last.is_none_or(|last| last >= storage.n_elements) {
                return Err(outside());
            }
        }
        Ok(TensorView { storage: (**storage).clone(), offset, shape, strides })
    }

    fn size(&self, at: NodeId) -> Refused<u64> {
        match self.value(at) {
            Value::Int(size) => u64::try_from(*size).map_err(|_| format!("a tensor has a negative size, {size}")),
            other => Err(format!("a tensor's size is {}: expected an integer", other.kind())),
        }
    }

    fn sizes(&self, at: NodeId) -> Refused<Vec<u64>> {
        match self.value(at) {
            Value::Tuple(sizes) if sizes.len() <= MAX_AXES => sizes.iter().map(|size| self.size(*size)).collect(),
            Value::Tuple(sizes) => Err(format!("a tensor has {} axes: no more than {MAX_AXES} are read", sizes.len())),
            other => Err(format!("a tensor's sizes are {}: expected a tuple", other.kind())),
        }
    }
}

fn is_key(value: &Value) -> bool {
    matches!(value, Value::Text(_) | Value::Int(_))
}

/// The pickle's bytes and where the next opcode is.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn check_rest(&self, length: u64) -> Refused<()> {
        let rest = (self.bytes.len() - self.at) as u64;
        if length <= rest {
            return Ok(());
        }
        Err(format!("{length} bytes are promised and {rest} are left"))
    }

    fn take(&mut self, length: u64) -> Refused<&'a [u8]> {
        self.check_rest(length)?;
        let taken = &self.bytes[self.at..self.at + length as usize];
        self.at += length as usize;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Refused<[u8; N]> {
        let taken = self.take(N as u64)?;
        taken.try_into().map_err(|_| "the pickle is cut off".to_owned())
    }

    fn byte(&mut self) -> Refused<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn u32(&mut self) -> Refused<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Refused<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// A line of text without its end.
    fn line(&mut self) -> Refused<&'a str> {
        let rest = &self.bytes[self.at..];
        let length = rest.iter().take(1024).position(|byte| *byte == b'\n').ok_or("a name does not end")?;
        self.at += length + 1;
        std::str::from_utf8(&rest[..length]).map_err(|_| "a name is not UTF-8".to_owned())
    }
}
