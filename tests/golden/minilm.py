"""Writes minilm.texts.json and minilm-{0,1}.safetensors: 64 varied texts as sentence-transformers embeds them in f32.

Usage: minilm.py MODEL_FOLDER
"""

import json
import pathlib
import sys

import numpy as np
from safetensors.numpy import save_file
from sentence_transformers import SentenceTransformer

HERE = pathlib.Path(__file__).parent
PROSE = (
    "The wing was mounted in the slipstream of a propeller, and the lift was measured along the span for several angles "
    "of attack; the results were compared with potential flow theory, which neglects the boundary layer entirely. "
)
TEXTS = [
    # Ordinary.
    "A man is eating food.",
    "feeling under the weather",
    "celebrate a birthday",
    "How do I list all files in a directory, including hidden ones?",
    "tar -xzf archive.tar.gz --strip-components=1",
    "SELECT name FROM users WHERE age >= 21 ORDER BY name;",
    "https://example.org/path?query=1&other=%20two#fragment",
    "The quick brown fox jumps over the lazy dog.",
    "3.14159, 2.71828 and 1.41421",
    "ALL CAPITALS AND ExTrA CaSe",
    "don't can't won't it's o'clock rock 'n' roll",
    "state-of-the-art, well-known; e.g. (parentheses) [brackets] {braces}",
    # Empty and white.
    "",
    " ",
    "\n\t  \r\n",
    "\u00a0\u2003\u3000",
    "  leading and trailing  ",
    "many    spaces\t\ttabs\n\nand lines",
    # Emoji.
    "🙂",
    "🤒🌡️ ill in bed",
    "👩‍👩‍👧‍👦 family 👍🏽 thumbs up",
    "🇩🇪🇫🇷🇯🇵",
    "I ❤️ this ☕️ very much!!!",
    "🎂🎉🎈" * 20,
    # Chinese, Japanese, Korean.
    "今天天气很好，我们去公园散步吧。",
    "東京タワーはとても高いです。",
    "안녕하세요, 만나서 반갑습니다.",
    "混合 text with 漢字 and ひらがな in one line",
    "ﾊﾝｶｸ ｶﾅ and ＦＵＬＬＷＩＤＴＨ letters",
    "𠀋𠮷 outside the basic plane",
    # Accents and combining characters.
    "Crème brûlée à la façon de grand-mère",
    "Cre\u0300me bru\u0302le\u0301e decomposed",
    "Žluťoučký kůň příšerně úpěl ďábelské ódy",
    "Iñtërnâtiônàlizætiøn",
    "Straße, STRASSE, ẞ, İstanbul, ıı",
    "Z͑ͫ̓ͪ̂ͫ̽͏̴̙̤̞͉͚̯̞̠͍A̴̵̜̰͔ͫ͗͢L̠ͨͧͩ͘G̴̻͈͍͔̹̑͗̎̅͛́Ǫ̵̹̻̝̳͂̌̌͘!",
    "ΑΒΓ αβγς ΣΑΣ",
    "Việt Nam đất nước tôi",
    # Right to left and other scripts.
    "مرحبا بالعالم، كيف حالك اليوم؟",
    "שלום עולם, מה שלומך היום?",
    "नमस्ते दुनिया, आप कैसे हैं?",
    "สวัสดีชาวโลก",
    "Привет, мир! Как дела?",
    "\u202eright to left override\u202c and \u200fmarks\u200e",
    # Control and unusual characters.
    "nul\u0000in the middle\u0000",
    "bell\u0007 escape\u001b[31mred\u001b[0m delete\u007f",
    "zero\u200bwidth\u200cjoin\u200ders\ufeff",
    "replacement \ufffd and private \ue000 and last \U0010ffff",
    "soft\u00adhyphen and line\u2028separator",
    "ligatures ﬁ ﬂ ﬃ, fractions ½ ¾, powers x² y³, № ™ ℃",
    "“curly quotes” ‘single’ – en dash — em dash … ellipsis",
    "[CLS] literal [SEP] special [MASK] tokens [PAD] [UNK]",
    "&amp; &lt;html&gt; <b>bold</b>",
    # Long words and long texts.
    "a" * 99,
    "b" * 100,
    "c" * 101,
    "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft",
    "x" * 5000,
    "word " * 253,
    "word " * 254 + "end",
    "word " * 255 + "one too many",
    PROSE * 8,
    PROSE * 60,
    "長い文章。" * 400,
]

assert len(TEXTS) == 64, len(TEXTS)
model = SentenceTransformer(sys.argv[1], device="cpu")
# One at a time, so that the reference itself has no padding.
vectors = np.stack([model.encode(text, normalize_embeddings=True) for text in TEXTS]).astype(np.float32)
(HERE / "minilm.texts.json").write_text(json.dumps(TEXTS, ensure_ascii=True, indent=0) + "\n")
for part in range(2):
    # Two files, because no file in this repository needs to be larger than 50 KB.
    tensor = np.ascontiguousarray(vectors[32 * part : 32 * part + 32])
    save_file({"texts": tensor}, HERE / f"minilm-{part}.safetensors", metadata={"script": "tests/golden/minilm.py"})
lengths = [len(model.tokenizer(text, truncation=False)["input_ids"]) for text in TEXTS]
print(f"{vectors.shape}, tokens {min(lengths)} to {max(lengths)}, {sum(length > 256 for length in lengths)} cut")
