#!/usr/bin/env python3
"""Unpacks what drives the browser test into OUT/node_modules: playwright-core and axe-core, fetched with `npm pack` and checked
against their hashes. Nothing of them is run here. Python 3.9 or newer, nothing else.
"""

import argparse
import os
import shutil
import tarfile
from pathlib import Path

from npm_packages import fetch

# name, version, the registry's integrity value
PACKAGES = [
    (
        "playwright-core",
        "1.65.1",
        "sha512-hqPpz7blSMPxWVdoeE1yiBSzXsKiVOd2k+kjCvmUywD2GPO2Dd9HfcWnq9NN0GHbNZDFgZ9JfBFr+X5/BLo0qw==",
    ),
    (
        "axe-core",
        "4.14.1",
        "sha512-FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ==",
    ),
]


def unpack(package, folder):
    name, _, integrity = package
    target = folder / "node_modules" / name
    stamp = target / ".integrity"
    if stamp.exists() and stamp.read_text() == integrity:
        return
    archive = fetch(package, folder)
    new = folder / f"{name}.new"
    shutil.rmtree(new, ignore_errors=True)
    with tarfile.open(archive, "r:gz") as tar:
        for member in tar:
            path = Path(member.name)
            if not member.isfile() or path.parts[0] != "package" or ".." in path.parts:
                continue
            place = new.joinpath(*path.parts[1:])
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(tar.extractfile(member).read())
    (new / ".integrity").write_text(integrity)
    shutil.rmtree(target, ignore_errors=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    os.replace(new, target)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parent.parent / ".deps" / "browser")
    folder = parser.parse_args().out
    folder.mkdir(parents=True, exist_ok=True)
    for package in PACKAGES:
        unpack(package, folder)


if __name__ == "__main__":
    main()
