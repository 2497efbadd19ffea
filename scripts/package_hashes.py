"""Whether what pip has installed are the files that requirements.hashes lists."""

import json
import re


def read_hashes(path):
    """{(name, version): set of SHA-256} of a file in pip's format of pinned requirements with hashes."""
    with open(path) as file:
        lines = re.sub(r"\\\n", " ", file.read()).split("\n")
    hashes = {}
    for line in lines:
        found = re.match(r"([A-Za-z0-9._-]+)==([^ ;]+)", line)
        if found:
            hashes[normal(found.group(1)), found.group(2)] = set(re.findall(r"--hash=sha256:([0-9a-f]{64})", line))
    return hashes


def normal(name):
    """A package's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def compare(report_path, hashes_path):
    """(wrong, unlisted) of pip's installation report: names of pinned packages whose file is another one, and of those with
    a version that is not listed, such as a build for CPUs only. Dependencies that are not pinned are in neither."""
    hashes = read_hashes(hashes_path)
    pinned = {name for name, _ in hashes}
    with open(report_path) as file:
        installed = json.load(file)["install"]
    wrong, unlisted = [], []
    for entry in installed:
        name, version = normal(entry["metadata"]["name"]), entry["metadata"]["version"]
        if name not in pinned:
            continue
        archive = entry["download_info"].get("archive_info", {})
        sha256 = archive.get("hashes", {}).get("sha256") or archive.get("hash", "").replace("sha256=", "")
        known = hashes.get((name, version))
        if known is None or not sha256:
            unlisted.append("%s %s" % (name, version))
        elif sha256 not in known:
            wrong.append("%s %s" % (name, version))
    return sorted(wrong), sorted(unlisted)
