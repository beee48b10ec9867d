"""Archives from npm by name, version and hash; data only, nothing of them is run."""

import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path


def fail(message):
    sys.exit(f"corpus: {message}")


def matches(path, integrity):
    digest = hashlib.sha512(path.read_bytes()).digest()
    return "sha512-" + base64.b64encode(digest).decode() == integrity


def fetch(package, folder):
    """The package's archive, from the folder or from npm."""
    name, version, integrity = package
    archive = folder / f"{name.replace('@', '').replace('/', '-')}-{version}.tgz"
    if archive.exists() and matches(archive, integrity):
        return archive
    if shutil.which("npm") is None:
        fail("missing prerequisite: npm (Node.js), which fetches the pictures and the names")
    print(f"corpus: fetching {name}@{version}", flush=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        command = ["npm", "pack", "--silent", "--ignore-scripts", "--pack-destination", scratch, f"{name}@{version}"]
        # In an empty folder: a package.json or .npmrc of somebody else must not matter.
        result = subprocess.run(command, cwd=scratch, stdout=subprocess.DEVNULL)
        fetched = Path(scratch) / archive.name
        if result.returncode != 0 or not fetched.exists():
            fail(f"npm pack {name}@{version} failed; is the network reachable?")
        if not matches(fetched, integrity):
            fail(f"{name}@{version} is not what was expected: its SHA-512 differs")
        os.replace(fetched, archive)
    return archive


def read_json(archive, member):
    with tarfile.open(archive, "r:gz") as tar:
        return json.load(tar.extractfile(member))
