"""Writes images.json: what Pillow reads from the test data's picture files, under both rules.

Usage: images.py DATA_FOLDER
"""

import json
import pathlib
import sys
import warnings

import PIL

from pictor_pixels import digest

HERE = pathlib.Path(__file__).parent
# Pillow has much to say about hostile files.
warnings.simplefilter("ignore")
data = pathlib.Path(sys.argv[1])
files = {}
for folder in ("images/formats", "images/hostile", "images/orientation", "coco/images"):
    for path in sorted((data / folder).iterdir()):
        if path.name == "LICENSE":
            continue
        # An icon file that takes Pillow 17 seconds, of a format that we do not read.
        is_left_out = path.suffix == ".icns"
        files[f"{folder}/{path.name}"] = [
            "refused" if is_left_out else digest(path, rule) for rule in ("pictor", "reference")
        ]
result = {"script": "tests/golden/images.py", "pillow": PIL.__version__, "columns": ["pictor", "reference"], "files": {}}
lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(found)}" for name, found in files.items())
text = json.dumps(result)[:-2] + "\n" + lines + "\n}}\n"
assert json.loads(text)["files"] == files
(HERE / "images.json").write_text(text)
print(len(files), "files")
