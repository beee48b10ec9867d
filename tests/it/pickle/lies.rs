//! Pickles that ask for code, and pickles that promise what the archive does not hold.

use super::builder::{Pickle, archive};
use super::hostile::Case;

/// Names that run code, read files or make other things than tensors.
const NAMES: [(&str, &str); 30] = [
    ("os", "system"),
    ("posix", "system"),
    ("nt", "system"),
    ("builtins", "eval"),
    ("builtins", "exec"),
    ("builtins", "getattr"),
    ("builtins", "__import__"),
    ("__builtin__", "eval"),
    ("subprocess", "Popen"),
    ("subprocess", "check_output"),
    ("importlib", "import_module"),
    ("runpy", "run_path"),
    ("pickle", "loads"),
    ("_pickle", "loads"),
    ("codecs", "encode"),
    ("webbrowser", "open"),
    ("shutil", "rmtree"),
    ("socket", "socket"),
    ("collections", "defaultdict"),
    ("torch", "load"),
    ("torch", "Tensor"),
    ("torch", "Size"),
    ("torch.hub", "load"),
    ("torch._utils", "_rebuild_tensor"),
    ("torch._utils", "_rebuild_qtensor"),
    ("torch.storage", "_load_from_bytes"),
    ("torch.jit._pickle", "build_tensor_from_id"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy.core.multiarray", "scalar"),
    ("__torch__evil", "Module"),
];

/// Every opcode that is read.
const KNOWN: &[u8] = b"\x80\x95.(012N\x88\x89JKM\x8a\x8bG\x8cX\x8d]ae}su)t\x85\x86\x87qr\x94hjc\x93R\x81bQ";

/// The bytes of the storage that the honest parts of these files have.
const FOUR: [u8; 16] = [0; 16];

fn refused(name: &str, pickle: Pickle, word: &str) -> Case {
    Case::refused(name, archive(&pickle.end(), &[("0", &FOUR)]), word)
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = names();
    cases.extend(opcodes());
    cases.extend(lengths());
    cases.extend(stack());
    cases.extend(calls());
    cases.extend(storages());
    cases.extend(tensors());
    cases.extend(bombs());
    cases
}

/// Each name, spoken in every way that pickles know, beside a tensor that is fine.
fn names() -> Vec<Case> {
    let mut cases = Vec::new();
    for (module, name) in NAMES {
        let start = || Pickle::new().raw(b"}(").text("a").tensor("0", 4, 0, &[4], &[1]).text("b");
        let full = format!("{module}.{name}");
        let call = |pickle: Pickle| pickle.raw(b"(").text("echo harm").raw(b"tRu");
        let ways = [
            ("GLOBAL", call(start().global(module, name))),
            ("STACK_GLOBAL", call(start().text(module).text(name).raw(b"\x93"))),
            ("NEWOBJ", start().global(module, name).raw(b")\x81u")),
            ("BUILD", start().global(module, name).raw(b"}bu")),
            ("alone", start().global(module, name).raw(b"u")),
        ];
        cases.extend(ways.map(|(way, pickle)| refused(&format!("{full} by {way}"), pickle, &full)));
        let inst = start().raw(format!("((i{module}\n{name}\n").as_bytes());
        cases.push(refused(&format!("{full} by INST"), inst, "INST"));
        let obj = start().raw(b"(").global("collections", "OrderedDict").raw(b"o");
        cases.push(refused(&format!("{full} by OBJ"), obj, "OBJ"));
    }
    cases
}

/// Every byte that is no opcode here.
fn opcodes() -> Vec<Case> {
    let unknown = (0..=255_u8).filter(|byte| !KNOWN.contains(byte));
    unknown.map(|byte| refused(&format!("opcode {byte:#04x}"), Pickle::new().raw(&[byte; 9]), "opcode")).collect()
}

fn lengths() -> Vec<Case> {
    let new = Pickle::new;
    let huge = u64::MAX.to_le_bytes();
    vec![
        refused("LONG4 of 2 GiB", new().raw(b"\x8b\xff\xff\xff\x7f"), "integer"),
        refused("LONG4 of less than nothing", new().raw(b"\x8b\xff\xff\xff\xff"), "integer"),
        refused("LONG1 of 255 bytes", new().raw(b"\x8a\xff").raw(&[1; 255]), "integer"),
        refused("BINUNICODE of 4 GiB", new().raw(b"X\xff\xff\xff\xff"), "promised"),
        refused("BINUNICODE8 of 16 EiB", new().raw(b"\x8d").raw(&huge), "promised"),
        refused("SHORT_BINUNICODE cut off", new().raw(b"\x8c\x09abc"), "promised"),
        refused("a text that is not UTF-8", new().raw(b"X\x02\0\0\0\xff\xfe"), "UTF-8"),
        refused("FRAME of 16 EiB", new().raw(b"\x95").raw(&huge), "promised"),
        refused("FRAME cut off", new().raw(b"\x95\x01"), "promised"),
        refused("protocol 0", Pickle(vec![0x80, 0]), "protocol"),
        refused("protocol 1", Pickle(vec![0x80, 1]), "protocol"),
        refused("protocol 6", Pickle(vec![0x80, 6]), "protocol"),
        refused("protocol 255", Pickle(vec![0x80, 255]), "protocol"),
        refused("BINFLOAT cut off", new().raw(b"G\0\0"), "promised"),
        refused("a name without an end", new().raw(b"cos").times(2000, b"x"), "name"),
        refused("a name of 100 KB", new().raw(b"c").times(100_000, b"x").raw(b"\ny\n"), "name"),
        refused("a name that is not UTF-8", new().raw(b"c\xff\xfe\nx\n"), "UTF-8"),
        refused("a name of 900 control letters", new().raw(b"c").times(900, b"\x1b").raw(b"\ny\n"), "refused"),
    ]
}

fn stack() -> Vec<Case> {
    let new = Pickle::new;
    let key = |key: &[u8]| new().raw(b"}").raw(key).raw(b"Ns");
    vec![
        refused("nothing", Pickle(Vec::new()), "missing"),
        refused("STOP alone", new(), "missing"),
        refused("values left over", new().raw(b"NN"), "left over"),
        refused("a mark left over", new().raw(b"N("), "missing"),
        refused("bytes behind the end", new().raw(b"N.N"), "behind"),
        refused("REDUCE of nothing", new().raw(b"R"), "missing"),
        refused("APPENDS without a mark", new().raw(b"]e"), "mark"),
        refused("POP_MARK without a mark", new().raw(b"1"), "mark"),
        refused("POP of nothing", new().raw(b"0"), "missing"),
        refused("DUP of nothing", new().raw(b"2"), "missing"),
        refused("DUP below a mark", new().raw(b"N(2"), "missing"),
        refused("APPEND below a mark", new().raw(b"](Na"), "missing"),
        refused("TUPLE3 of two", new().raw(b"NN\x87"), "missing"),
        refused("SETITEMS of three", new().raw(b"}(NNNu"), "no value"),
        refused("SETITEM of a list", new().raw(b"]K\x01K\x02s"), "a list"),
        refused("APPEND to a dict", new().raw(b"}Na"), "a dict"),
        refused("APPEND to a tuple", new().raw(b")Na"), "a tuple"),
        refused("BUILD of an integer", new().raw(b"K\x01}b"), "an integer"),
        refused("BUILD with a list", new().raw(b"}]b"), "state"),
        refused("BUILD of a dict with itself", new().raw(b"}2b"), "state"),
        refused("BUILD twice", new().global("__torch__", "M").raw(b")\x81}b}b"), "second"),
        refused("BINGET of nothing", new().raw(b"h\x07"), "memo"),
        refused("LONG_BINGET of nothing", new().raw(b"j\xff\xff\xff\xff"), "memo"),
        refused("BINPUT of nothing", new().raw(b"q\0"), "missing"),
        refused("a list as a key", key(b"]"), "key"),
        refused("None as a key", key(b"N"), "key"),
        refused("a float as a key", key(b"G\0\0\0\0\0\0\0\0"), "key"),
        refused("a tuple as a key", key(b")"), "key"),
        refused("STACK_GLOBAL of numbers", new().raw(b"K\x01K\x02\x93"), "texts"),
    ]
}

fn calls() -> Vec<Case> {
    let new = Pickle::new;
    let pickle_list = |name: &str| new().global("torch.jit._pickle", name);
    let class = || new().global("__torch__.a", "B");
    vec![
        refused("a call of a number", new().raw(b"K\x01)R"), "call"),
        refused("a call of a text", new().text("os.system").raw(b")R"), "call"),
        refused("a call of a tensor", new().tensor("0", 4, 0, &[4], &[1]).raw(b")R"), "call"),
        refused("a call of an object", class().raw(b")\x81)R"), "call"),
        refused("a call of a class", class().raw(b")R"), "ScriptClass"),
        refused("a call of a storage class", new().global("torch", "FloatStorage").raw(b")R"), "call"),
        refused("arguments that are no tuple", new().global("collections", "OrderedDict").raw(b"]R"), "call"),
        refused("OrderedDict of a list", new().global("collections", "OrderedDict").raw(b"]\x85R"), "OrderedDict"),
        refused(
            "_rebuild_tensor_v2 of nothing",
            new().global("torch._utils", "_rebuild_tensor_v2").raw(b")R"),
            "Rebuild",
        ),
        refused(
            "_rebuild_parameter of a number",
            new().global("torch._utils", "_rebuild_parameter").raw(b"K\x01NN\x87R"),
            "Rebuild",
        ),
        refused("build_intlist of a tuple", pickle_list("build_intlist").raw(b")\x85R"), "BuildList"),
        refused("restore_type_tag of nothing", pickle_list("restore_type_tag").raw(b")R"), "RestoreTypeTag"),
        refused("an object of OrderedDict", new().global("collections", "OrderedDict").raw(b")\x81"), "object"),
        refused("an object with arguments", class().raw(b"K\x01\x85\x81"), "object"),
        refused("an object of a number", new().raw(b"K\x01)\x81"), "object"),
        refused("an object's state is a list", class().raw(b")\x81]b"), "state"),
    ]
}

/// Persistent ids that lie.
fn storages() -> Vec<Case> {
    let new = Pickle::new;
    let of = |class: &str, key: &str, n: i64| new().storage(class, key, n);
    let parts = |what: &str, class: (&str, &str), rest: &[u8]| {
        new().raw(b"(").text(what).global(class.0, class.1).text("0").text("cpu").raw(rest).raw(b"tQ")
    };
    let float = ("torch", "FloatStorage");
    vec![
        refused("an id that is a number", new().raw(b"K\x01Q"), "persistent id"),
        refused("an id that is a text", new().text("storage").raw(b"Q"), "persistent id"),
        refused("an id of nothing", new().raw(b")Q"), "persistent id"),
        refused("an id of a module", parts("module", float, b"K\x04"), "persistent id"),
        refused("an id of another class", parts("storage", ("collections", "OrderedDict"), b"K\x04"), "persistent id"),
        refused("an id with a view", parts("storage", float, b"K\x04]"), "persistent id"),
        refused("an id of too many parts", parts("storage", float, b"K\x04NNNN"), "persistent id"),
        refused("a storage without a size", parts("storage", float, b"N"), "persistent id"),
        refused("a storage of less than nothing", of("FloatStorage", "0", -1), "storage"),
        refused("a storage of too many elements", of("FloatStorage", "0", 5), "16 bytes"),
        refused("a storage of too few elements", of("FloatStorage", "0", 3), "16 bytes"),
        refused("a storage of wider elements", of("DoubleStorage", "0", 4), "16 bytes"),
        refused("a storage of 2^62 elements", of("DoubleStorage", "0", 1 << 62), "16 bytes"),
        refused("a storage that is not there", of("FloatStorage", "1", 4), "not in the archive"),
        refused("a storage outside of the folder", of("FloatStorage", "../data.pkl", 4), "key"),
        refused("a storage of the system", of("FloatStorage", "/etc/passwd", 4), "key"),
        refused("a storage without a name", of("FloatStorage", "", 4), "key"),
        refused("a storage with a long name", of("FloatStorage", &"9".repeat(100), 4), "key"),
        refused(
            "two sizes of one storage",
            of("FloatStorage", "0", 4).raw(b"0").storage("FloatStorage", "0", 8),
            "16 bytes",
        ),
    ]
}

/// Tensors that leave their storage.
fn tensors() -> Vec<Case> {
    let new = Pickle::new;
    let check = |name: &str, offset: i64, shape: &[i64], strides: &[i64], word: &str| {
        refused(name, new().tensor("0", 4, offset, shape, strides), word)
    };
    let axes = [1; 33];
    vec![
        check("too many elements", 0, &[5], &[1], "leaves"),
        check("an offset behind the end", 4, &[1], &[1], "leaves"),
        check("an offset of 2^62", 1 << 62, &[1], &[1], "leaves"),
        check("an empty tensor behind the end", 5, &[0], &[1], "leaves"),
        check("a stride that is too wide", 0, &[2, 2], &[3, 1], "leaves"),
        check("a stride of 2^62", 0, &[3], &[1 << 62], "leaves"),
        check("2^62 rows and columns", 0, &[1 << 62, 1 << 62], &[0, 0], "leaves"),
        check("2^40 elements of one", 0, &[1 << 40], &[0], "times the bytes"),
        check("2^20 times 2^20 elements of one", 0, &[1 << 20, 1 << 20], &[0, 0], "times the bytes"),
        check("a negative size", 0, &[-1], &[1], "negative"),
        check("a negative stride", 3, &[4], &[-1], "negative"),
        check("a negative offset", -1, &[1], &[1], "negative"),
        check("sizes without strides", 0, &[2, 2], &[1], "strides"),
        check("33 axes", 0, &axes, &axes, "axes"),
        refused(
            "a tensor of a number",
            new().tensor_of(|p| p.int(4), |p| p.int(0), |p| p.ints(&[1]).ints(&[1])),
            "storage",
        ),
        refused(
            "an offset that is a text",
            new().tensor_of(|p| p.storage("FloatStorage", "0", 4), |p| p.text("0"), |p| p.ints(&[1]).ints(&[1])),
            "integer",
        ),
        refused(
            "sizes that are a list",
            new().tensor_of(|p| p.storage("FloatStorage", "0", 4), |p| p.int(0), |p| p.raw(b"]]")),
            "tuple",
        ),
    ]
}

/// Small files that would become large.
fn bombs() -> Vec<Case> {
    let new = Pickle::new;
    let laughs = |empty: &[u8], add: fn(Pickle, u8) -> Pickle| {
        let start = new().tensor("0", 4, 0, &[4], &[1]).raw(b"q\0");
        (1..40_u8).fold(start, |pickle, level| add(pickle.raw(empty), level - 1).raw(&[b'q', level]))
    };
    let lists = laughs(b"](", |pickle, inner| pickle.times(10, &[b'h', inner]).raw(b"e"));
    let dicts = laughs(b"}(", |pickle, inner| {
        (0..10_u8).fold(pickle, |pickle, key| pickle.raw(&[b'K', key, b'h', inner])).raw(b"u")
    });
    // The names of the same ten places, one inside the other, grow to a kilobyte and more.
    let long_name = new().text(&"n".repeat(500)).raw(b"q\x010").tensor("0", 4, 0, &[4], &[1]).raw(b"q\0");
    let long_names = (0..10).fold(long_name, |pickle, _| pickle.raw(b"0}h\x01h\0sq\0"));
    let shared =
        (0..1000).fold(new().raw(b"]("), |pickle, _| pickle.tensor("0", 1 << 18, 0, &[1 << 18], &[1])).raw(b"e");
    let mut puts = new().raw(b"N");
    for number in 0..600_000_u32 {
        puts = puts.raw(b"r").raw(&number.to_le_bytes());
    }
    let megabyte = vec![0; 1 << 20];
    vec![
        refused("a list of ten times itself, 40 levels", lists, ""),
        refused("a dict of ten times itself, 40 levels", dicts, ""),
        refused("a list inside of itself", new().raw(b"]q\0h\0a"), "deeper"),
        refused("a dict inside of itself", new().raw(b"}q\0K\x01h\0s"), "deeper"),
        refused(
            "an object that is its own attribute",
            new().global("__torch__", "M").raw(b")\x81q\0}K\x01h\0sb"),
            "deeper",
        ),
        refused("100,000 lists inside each other", new().times(100_000, b"]").times(99_999, b"a"), "deeper"),
        refused("100,000 tuples inside each other", new().raw(b")").times(100_000, b"\x85"), "deeper"),
        refused(
            "100,000 dicts inside each other",
            new().raw(b"}").times(100_000, b"K\x01}").times(100_000, b"s"),
            "deeper",
        ),
        refused("names that grow", long_names, "name"),
        refused(
            "two tensors of one name",
            new().raw(b"}(").text("a").tensor("0", 4, 0, &[4], &[1]).text("a").tensor("0", 4, 0, &[2], &[1]).raw(b"u"),
            "two tensors",
        ),
        refused("3 million marks", new().times(3_000_000, b"("), "marks"),
        refused("3 million values", new().times(3_000_000, b"N0"), "values"),
        refused("3 million values on the stack", new().raw(b"N").times(3_000_000, b"2"), "stack"),
        refused("3 million opcodes", new().raw(b"N").times(1_500_000, b"20"), "opcodes"),
        refused("700,000 memoised values", puts, "remembers"),
        refused("a list of 2 million", new().raw(b"]q\0").times(700_000, b"h\0a"), ""),
        refused("a text of 17 MiB", new().text(&"x".repeat(17 << 20)), "are read"),
        Case::refused("1,000 tensors of one storage", archive(&shared.end(), &[("0", &megabyte)]), "times the bytes"),
    ]
}
