"""Addresses: what a URI names, and how paths are put together."""

import posixpath

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from flyte import storage
from flyte.storage._uri import check_relative, file_name, locate

SEGMENT = st.text(st.characters(blacklist_characters="/\\\0", blacklist_categories=["Cs"]), min_size=1, max_size=8)
SAFE = SEGMENT.filter(lambda s: s not in (".", "..") and "://" not in s)


@pytest.mark.parametrize(
    ("uri", "kind", "root", "key"),
    [
        ("/a/b", "local", "", "/a/b"),
        ("a", "local", "", "a"),
        ("file:///a%20b", "local", "", "/a b"),
        ("s3://bucket/a/b", "s3", "bucket", "a/b"),
        ("s3a://bucket", "s3", "bucket", ""),
        ("gs://bucket/a#b?c", "gs", "bucket", "a#b?c"),
        ("abfs://c@account.dfs.core.windows.net/x", "azure", "c@account.dfs.core.windows.net", "x"),
        ("memory://a/b/", "memory", "", "a/b"),
    ],
)
def test_locate(uri, kind, root, key):
    at = locate(uri)
    assert (at.kind, at.root, at.key) == (kind, root, key)


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("", "empty"),
        ("ftp://x/y", "unknown scheme 'ftp'; known are .*s3"),
        ("s3:///x", "no bucket"),
        ("file://x", "file:///absolute/path"),
        ("a\0b", "null"),
    ],
)
def test_bad_addresses(uri, says):
    with pytest.raises(ValueError, match=says):
        locate(uri)


@given(st.lists(st.one_of(SEGMENT, st.just(""), st.builds("/{}".format, SEGMENT)), min_size=1, max_size=5))
def test_join_is_posix_join(parts):
    assert storage.join(*parts) == posixpath.join(*parts) or any("://" in part for part in parts)


@given(
    st.sampled_from(["s3://bucket", "memory://x", "/root", "gs://b/deep/er"]), st.lists(SAFE, min_size=1, max_size=4)
)
@example("s3://bucket", ["a b", "%2F", "#?"])
def test_what_is_joined_stays_below(base, names):
    joined = storage.join(base, *names)
    assert joined.startswith(base + "/")
    assert file_name(joined) == names[-1]
    at = locate(joined)
    # The same bucket, and the key ends with the names as they were.
    assert at.root == locate(base).root and at.key.endswith("/".join(names))
    assert check_relative("/".join(names), "test") == "/".join(names)


@pytest.mark.parametrize("name", ["..", ".", "", "a/../b", "/a", "a//b", "a/", "..\\a", "C:\\a", "s3://b/x", "a\0"])
def test_names_that_lead_outside(name):
    with pytest.raises(ValueError, match="plain relative path"):
        check_relative(name, "test")


def test_is_remote():
    uris = ("s3://a", "memory://x", "file:///x", "/x", "x:y")
    assert [storage.is_remote(uri) for uri in uris] == [True, True, False, False, False]


def test_random_places_are_new():
    first, second = storage.get_random_local_path("/a/b.csv"), storage.get_random_local_path("s3://x/b.csv")
    assert first != second and first.name == second.name == "b.csv" and not first.exists() and first.parent.is_dir()
    with pytest.raises(ValueError, match="names no file"):
        storage.get_random_local_path("..")
