"""Bundles: the same content has the same bytes, any tar program reads them, nothing hostile gets through."""

import io
import json
import os
import tarfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from helpers.bundle_files import TREE, bundle_of, bundled_artifact, bundled_version, key_in
from helpers.transfers import cut
from ingot.content import digests
from ingot.server.core.errors import Denied, IngotError, Invalid, Reason
from ingot.server.sources import bundles, signing
from ingot.server.sources.bundle_manifest import BundledFile, BundleManifest, canonical, parse_manifest
from ingot.server.sources.bundles import Bundle
from ingot.server.sources.signing import SigningKey

BLOCK = 512


@pytest.fixture
def key(tmp_path: Path) -> SigningKey:
    return key_in(tmp_path / "server")


def opened(data: bytes, tmp_path: Path, *trusted: SigningKey) -> Bundle:
    path = tmp_path / "it.bundle"
    path.write_bytes(data)
    return Bundle.open(path, frozenset(each.name for each in trusted))


def verified(data: bytes, tmp_path: Path, *trusted: SigningKey) -> Bundle:
    with opened(data, tmp_path, *trusted) as bundle:
        bundle.verify(lambda done, total: None)
        return bundle


# --- the key --------------------------------------------------------------------------------------------


def test_a_key_is_made_once_and_is_for_its_owner_alone(tmp_path: Path) -> None:
    first, second = key_in(tmp_path / "a"), key_in(tmp_path / "a")
    assert first.name == second.name
    assert key_in(tmp_path / "b").name != first.name
    assert (tmp_path / "a" / "bundle.key").stat().st_mode & 0o777 == 0o600
    assert [each.name for each in (tmp_path / "a").iterdir()] == ["bundle.key"]


def test_a_signature_is_of_one_key_and_one_message(tmp_path: Path, key: SigningKey) -> None:
    signature = key.sign(b"this")
    assert signing.has_signed(key.name, signature, b"this")
    assert not signing.has_signed(key.name, signature, b"that")
    assert not signing.has_signed(key_in(tmp_path / "b").name, signature, b"this")
    assert not signing.has_signed("ed25519:zz", signature, b"this")


# --- the form -------------------------------------------------------------------------------------------


def test_the_same_content_has_the_same_bytes(key: SigningKey) -> None:
    assert bundle_of(key=key) == bundle_of(dict(reversed(TREE.items())), key=key)


def test_any_tar_program_reads_it(key: SigningKey) -> None:
    with tarfile.open(fileobj=io.BytesIO(bundle_of(key=key))) as tar:
        entries = {member.name: tar.extractfile(member) for member in tar}
    kinds = [name.partition("/")[0] for name in entries]
    assert kinds[:2] == ["ingot-bundle.json", "manifest.json"]
    assert set(kinds[2:]) == {"segments", "chunks"}
    told = entries["manifest.json"]
    assert told is not None
    assert json.loads(told.read())["artifacts"][0]["name"] == "namespaces/sara/models/tiny"


def test_a_chunk_that_stands_in_many_places_is_there_once(key: SigningKey) -> None:
    data = TREE["data/part.bin"]
    once, twice = bundle_of({"a": data}, key=key), bundle_of({"a": data, "b": data}, key=key)
    assert len(twice) - len(once) < 2 * BLOCK


def test_what_is_written_is_read_again(tmp_path: Path, key: SigningKey) -> None:
    with opened(bundle_of(key=key), tmp_path, key) as bundle:
        bundle.verify(lambda done, total: None)
        assert bundle.signer == key.name
        (artifact,) = bundle.manifest.artifacts
        (version,) = artifact.versions
        content = (tmp_path / "it.bundle").read_bytes()
        for file in version.files:
            whole = b"".join(
                content[bundle.locate(digest) :][: len(piece)]
                for digest, piece in cut(TREE[file.path]).chunks
            )
            assert whole == TREE[file.path]


# --- who signed -----------------------------------------------------------------------------------------


def test_a_signer_that_is_not_trusted_is_refused_by_name(tmp_path: Path, key: SigningKey) -> None:
    other = key_in(tmp_path / "other")
    with pytest.raises(Denied) as caught:
        opened(bundle_of(key=other), tmp_path, key)
    assert caught.value.facts == {"signer": other.name}


def test_somebody_elses_name_on_ones_own_signature_is_refused(tmp_path: Path, key: SigningKey) -> None:
    mine = key_in(tmp_path / "mine")
    forged = bundle_of(key=mine).replace(mine.name.encode(), key.name.encode())
    with pytest.raises(Invalid, match="not the one that was signed"):
        opened(forged, tmp_path, key)


def test_what_is_no_bundle_is_refused(tmp_path: Path, key: SigningKey) -> None:
    for data in (b"", b"x", b"PK\3\4" + bytes(2000), bytes(4096)):
        with pytest.raises(Invalid):
            opened(data, tmp_path, key)
    with pytest.raises(Invalid, match="cannot be read"):
        Bundle.open(tmp_path / "none", frozenset({key.name}))
    (tmp_path / "link").symlink_to(tmp_path / "it.bundle")
    os.mkfifo(tmp_path / "pipe")
    for place in (tmp_path / "link", tmp_path / "pipe", tmp_path):
        with pytest.raises(Invalid, match="cannot be read"):
            Bundle.open(place, frozenset({key.name}))
        assert bundles.signed_by(place) == ""


# --- damage and malice ----------------------------------------------------------------------------------


def test_a_flipped_bit_anywhere_is_found(tmp_path: Path, key: SigningKey) -> None:
    whole = bundle_of({"a": b"small", "b": b"other", "empty": b""}, key=key)
    verified(whole, tmp_path, key)
    for place in range(0, len(whole), 13):
        wrong = bytearray(whole)
        wrong[place] ^= 1 << place % 8
        with pytest.raises(IngotError):
            verified(bytes(wrong), tmp_path, key)


def test_a_cut_or_longer_file_is_refused(tmp_path: Path, key: SigningKey) -> None:
    whole = bundle_of({"a": b"small", "b": b"other"}, key=key)
    for size in range(0, len(whole), 101):
        with pytest.raises(Invalid):
            verified(whole[:size], tmp_path, key)
    for more in (b"x", bytes(1), bytes(BLOCK), whole):
        with pytest.raises(Invalid):
            verified(whole + more, tmp_path, key)


def test_swapped_added_and_repeated_entries_are_refused(tmp_path: Path, key: SigningKey) -> None:
    whole = bundle_of({"a": b"small", "b": b"other"}, key=key)
    blocks = [whole[at : at + BLOCK] for at in range(0, len(whole), BLOCK)]
    chunks = [at for at, block in enumerate(blocks) if block.startswith(b"chunks/")]
    first, second = chunks
    swapped = [
        *blocks[:first],
        *blocks[second : second + 2],
        *blocks[first : first + 2],
        *blocks[second + 2 :],
    ]
    repeated = [*blocks[: first + 2], *blocks[first : first + 2], *blocks[first + 2 :]]
    added = [*blocks[:first], bundles.entry_header("../../etc/passwd", 0), *blocks[first:]]
    missing = [*blocks[:first], *blocks[second:]]
    for each in (swapped, repeated, added, missing):
        with pytest.raises(Invalid):
            verified(b"".join(each), tmp_path, key)


@pytest.mark.parametrize("field", ["mode", "mtime", "uname", "linkname", "type"])
def test_headers_say_name_and_size_and_nothing_else(tmp_path: Path, key: SigningKey, field: str) -> None:
    whole = bundle_of({"a": b"small"}, key=key)
    with tarfile.open(fileobj=io.BytesIO(whole)) as tar:
        name = next(name for name in tar.getnames() if name.startswith("chunks/"))
    other = tarfile.TarInfo(name)
    other.size = 5
    setattr(other, field, {"mode": 0o4755, "mtime": 1, "type": tarfile.SYMTYPE}.get(field, "x"))
    wrong = whole.replace(bundles.entry_header(name, 5), other.tobuf(tarfile.USTAR_FORMAT))
    assert wrong != whole
    with pytest.raises(Invalid):
        verified(wrong, tmp_path, key)


def _told(change: Callable[[BundledFile], BundledFile]) -> BundleManifest:
    segments: dict[str, bytes] = {}
    version = bundled_version({"a": b"small", "b": b"other"}, segments)
    files = [change(file) for file in version.files]
    return BundleManifest(artifacts=[bundled_artifact([version.model_copy(update={"files": files})])])


@pytest.mark.parametrize(
    "change",
    [
        lambda file: file.model_copy(update={"path": f"../{file.path}"}),
        lambda file: file.model_copy(update={"path": f"/{file.path}"}),
        lambda file: file.model_copy(update={"path": "same"}),
        lambda file: file.model_copy(update={"path": f"C:\\{file.path}"}),
        lambda file: file.model_copy(update={"size": file.size + 1}),
        lambda file: file.model_copy(update={"segments": file.segments * 2}),
        lambda file: file.model_copy(update={"segments": []}),
    ],
    ids=["parent", "absolute", "twice", "drive", "size", "more segments", "no segments"],
)
def test_a_signed_manifest_that_contradicts_itself_is_refused(
    tmp_path: Path, key: SigningKey, change: Callable[[BundledFile], BundledFile]
) -> None:
    data = bundle_of({"a": b"small", "b": b"other"}, key=key, manifest=_told(change))
    with pytest.raises(Invalid) as caught:
        verified(data, tmp_path, key)
    assert caught.value.reason in (Reason.BAD_PATH, Reason.SOURCE_MISMATCH)


def test_a_file_that_lies_about_its_size_consistently_is_refused(tmp_path: Path, key: SigningKey) -> None:
    """The tree digest fits the lie, the segments do not."""
    segments: dict[str, bytes] = {}
    version = bundled_version({"a": b"small"}, segments)
    huge = version.files[0].model_copy(update={"size": 2**40})
    root = digests.file_root("cdc", huge.size, [bytes.fromhex(each) for each in huge.segments])
    told = version.model_copy(
        update={
            "files": [huge],
            "size": huge.size,
            "digest": digests.format_digest(digests.tree_digest([("a", huge.size, root)])),
        }
    )
    manifest = BundleManifest(artifacts=[bundled_artifact([told])])
    with pytest.raises(Invalid, match="has 5 bytes; it says 1099511627776"):
        verified(bundle_of({"a": b"small"}, key=key, manifest=manifest), tmp_path, key)


@pytest.mark.parametrize(
    "wrong",
    [
        b"{}",
        b"[]",
        b"nonsense",
        b"[" * 100_000,
        canonical({"artifacts": [], "bundle": 1, "jobs": [], "since": ""}),
        canonical({"artifacts": [], "bundle": 2, "jobs": [], "since": ""}),
    ],
    ids=["empty", "list", "text", "deep", "nothing", "newer"],
)
def test_a_malformed_manifest_is_refused(wrong: bytes) -> None:
    with pytest.raises(Invalid):
        parse_manifest(wrong)


@pytest.mark.parametrize("value", [b"[]", b"{}", b'[{"a":[{}]}]', b"1"])
def test_a_manifest_of_nothing_but_values_takes_no_memory(value: bytes) -> None:
    told = canonical(
        bundled_artifact([bundled_version({"a": b"small"}, {})])
        .model_copy(update={"metadata": {"a": "HERE"}})
        .model_dump(mode="json")
    ).replace(b'"HERE"', b"[" + b",".join([value] * 300_000) + b"]")
    data = b'{"artifacts":[' + told + b'],"bundle":1,"jobs":[],"since":""}'
    tracemalloc.start()
    try:
        with pytest.raises(Invalid, match="than any honest one"):
            parse_manifest(data)
        assert tracemalloc.get_traced_memory()[1] < len(data)
    finally:
        tracemalloc.stop()


def test_no_bundle_is_made_that_nobody_would_read(key: SigningKey) -> None:
    segments: dict[str, bytes] = {}
    artifact = bundled_artifact([bundled_version({"a": b"small"}, segments)])
    manifest = BundleManifest(artifacts=[artifact.model_copy(update={"metadata": {"a": [1] * 300_000}})])
    with pytest.raises(Invalid) as caught:
        bundles.plan(manifest, segments, key)
    assert caught.value.reason is Reason.TOO_LARGE


def test_a_manifest_of_many_small_files_is_honest() -> None:
    segments: dict[str, bytes] = {}
    files = {f"{number:05d}": b"" for number in range(20_000)}
    manifest = BundleManifest(artifacts=[bundled_artifact([bundled_version(files, segments)])])
    assert parse_manifest(manifest.encoded()) == manifest


def test_names_in_a_manifest_are_those_of_artifacts_and_versions() -> None:
    segments: dict[str, bytes] = {}
    version = bundled_version({"a": b"small"}, segments)
    for name, told in (
        ("namespaces/sara/models/../x", version),
        (
            "namespaces/sara/models/tiny",
            version.model_copy(update={"name": "namespaces/x/models/y/versions/1"}),
        ),
        ("namespaces/sara/models/tiny", version.model_copy(update={"version": "latest"})),
    ):
        manifest = BundleManifest(artifacts=[bundled_artifact([told], name)])
        with pytest.raises(Invalid):
            parse_manifest(manifest.encoded())
    twice = BundleManifest(artifacts=[bundled_artifact([version, version])])
    with pytest.raises(Invalid, match="twice"):
        parse_manifest(twice.encoded())


def test_a_header_that_asks_for_a_huge_manifest_is_refused(tmp_path: Path, key: SigningKey) -> None:
    whole = bundle_of({"a": b"small"}, key=key)
    header = json.loads(whole[BLOCK : BLOCK + int(whole[124:135], 8)])
    for size in (2**62, 2**31, 0, -1):
        body = canonical({**header, "manifest_bytes": size})
        entry = bundles.entry_header("ingot-bundle.json", len(body)) + body + bytes(-len(body) % BLOCK)
        with pytest.raises(Invalid):
            opened(entry + bytes(1024), tmp_path, key)
