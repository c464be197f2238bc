from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes, urljoin, urlsplit

import httpx
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pushserver.paths import build_path, decode_path, match_channel

PATTERNS = [
    r"/updates/([^/]+)",
    r"/subscriber/(.+)",
    r"^/updates/([^/]+)$",
    r"/updates/(?P<channel_id>[^/]+)/",
    r"/updates/([a-z0-9_-]+)\.json",
    r"/(\w+)/news",
    r"/aktuell/ä ö/([^/]+)",
    r"/shop(?:/eu)?/(.+)",
    r"/v[12]/(\d+)",
    r"(?i)/Updates/(.+)",
    r"/a{2}/(.{1,40})",
    r"(/.+)",
]

IDS = st.text(min_size=1, max_size=512)


@given(pattern=st.sampled_from(PATTERNS), channel_id=IDS)
def test_path_of_an_id_gives_the_same_id(pattern: str, channel_id: str) -> None:
    """For any id and pattern, the path that is built matches and gives the same id."""
    compiled = re.compile(pattern)
    try:
        path = build_path(compiled, channel_id)
    except ValueError:
        assume(False)
    assert path.isascii()
    # As a client parses the URL, and as the server receives it.
    asked = urlsplit(f"http://localhost{path}").path
    assert match_channel(compiled, decode_path(asked.encode())) == channel_id


@given(channel_id=IDS.filter(lambda text: text not in (".", "..")))
def test_pattern_for_one_segment_takes_any_id(channel_id: str) -> None:
    """A pattern for one path segment takes any id: slashes, newlines, non-ASCII."""
    path = build_path(re.compile(r"/updates/([^/]+)"), channel_id)
    assert re.fullmatch(r"/updates/[A-Za-z0-9._~%-]+", path)


@given(
    one=st.lists(st.sampled_from([b"a", b"/", b"%2F", b"%2f", b"%C3", b"%A4", b"%ED"])),
    other=st.lists(st.sampled_from([b"a", b"/", b"%C3", b"%B0", b"%AF", b"%25", b"%"])),
)
def test_different_paths_have_different_ids(
    one: list[bytes], other: list[bytes]
) -> None:
    """Paths with different bytes have different ids, even if they are not UTF-8."""
    everything = re.compile("(.*)", re.DOTALL)
    ids = [
        match_channel(everything, decode_path(b"".join(parts)))
        for parts in (one, other)
    ]
    same = unquote_to_bytes(b"".join(one)) == unquote_to_bytes(b"".join(other))
    assert (ids[0] == ids[1]) is same


@pytest.mark.parametrize(
    ("channel_id", "path"),
    [
        ("news", "/updates/news"),
        ("a/b", "/updates/a%2Fb"),
        ("/", "/updates/%2F"),
        ("käse", "/updates/k%C3%A4se"),
        ("\U0001f4ec", "/updates/%F0%9F%93%AC"),
        ("100%", "/updates/100%25"),
        ("%2F", "/updates/%252F"),
        ("a b+c", "/updates/a%20b%2Bc"),
        ("?x=1#y", "/updates/%3Fx%3D1%23y"),
        ("\r\n\0", "/updates/%0D%0A%00"),
        ("a/../b", "/updates/a%2F..%2Fb"),
        ("...", "/updates/..."),
        ("'\"<&>\\", "/updates/%27%22%3C%26%3E%5C"),
    ],
)
def test_an_id_is_percent_encoded_in_its_path(channel_id: str, path: str) -> None:
    """All characters of an id but the unreserved ones are percent-encoded."""
    assert build_path(re.compile(r"/updates/([^/]+)"), channel_id) == path
    assert match_channel(re.compile(r"/updates/([^/]+)"), decode_path(path.encode()))


@pytest.mark.parametrize("channel_id", [".", ".."])
@pytest.mark.parametrize("pattern", [r"/updates/([^/]+)", r"/x/(.+)", r"/(.*)/news"])
def test_dot_segments_are_refused(pattern: str, channel_id: str) -> None:
    """The ids "." and ".." are refused, since clients would resolve them."""
    with pytest.raises(ValueError, match="has no URL"):
        build_path(re.compile(pattern), channel_id)


@pytest.mark.parametrize(
    ("pattern", "channel_id"),
    [
        (r"/updates/(\d+)", "news"),
        (r"/updates/([a-z]{3})", "news"),
        (r"/updates/(a|b)", "c"),
        (r"/updates/([^/]+)", ""),
        (r"/(.+)\1", "news"),
        (r"/updates/(?!news)(.+)", "news"),
    ],
)
def test_id_that_does_not_match_the_pattern_is_refused(
    pattern: str, channel_id: str
) -> None:
    """The error names the id and the pattern."""
    with pytest.raises(ValueError, match="cannot match it") as caught:
        build_path(re.compile(pattern), channel_id)
    assert repr(channel_id) in str(caught.value)
    assert repr(pattern) in str(caught.value)


def test_lone_surrogate_is_refused() -> None:
    """A lone surrogate cannot be encoded as UTF-8, so it has no path."""
    with pytest.raises(ValueError, match="surrogate"):
        build_path(re.compile(r"/updates/([^/]+)"), "a\udc2fb")


def test_alternatives_inside_the_group_are_supported() -> None:
    """A pattern with alternatives inside its group still has a path."""
    assert build_path(re.compile(r"/(news|sports)/x"), "sports") == "/sports/x"


@pytest.mark.parametrize(
    "pattern",
    [
        r"/a/([^/]+)|/b/x",
        r"/(?:a|b)/([^/]+)",
        r"/(?i:updates)/([^/]+)",
        r"/{site}/([^/]+)",
        r"/a{,2}/([^/]+)",
    ],
)
def test_pattern_without_a_unique_path_is_refused(pattern: str) -> None:
    """A pattern without a unique path raises ValueError with pattern and reason."""
    with pytest.raises(ValueError, match="cannot be turned into a URL") as caught:
        build_path(re.compile(pattern), "news")
    assert repr(pattern) in str(caught.value)


def test_percent_sign_of_a_pattern_is_encoded() -> None:
    """A pattern's own percent sign is encoded in the path, which matches again."""
    pattern = re.compile(r"/100%/([^/]+)")
    path = build_path(pattern, "news")
    assert path == "/100%25/news"
    assert match_channel(pattern, decode_path(path.encode())) == "news"


@pytest.mark.parametrize("pattern", [r"/updates\?id=(.+)", r"/updates#(.+)"])
def test_query_and_fragment_characters_are_encoded(pattern: str) -> None:
    """The characters ? and # of a pattern are encoded in the path."""
    path = build_path(re.compile(pattern), "news")
    assert urlsplit(f"http://localhost{path}").path == path


@pytest.mark.parametrize("pattern", [r"updates/(.+)", r"(.+)"])
def test_pattern_without_a_leading_slash_is_refused(pattern: str) -> None:
    """A pattern without a leading slash is refused: it could change the host."""
    with pytest.raises(ValueError, match="has no URL"):
        build_path(re.compile(pattern), "news")


@pytest.mark.parametrize(
    ("raw_path", "channel_id"),
    [
        (b"/updates/news", "news"),
        (b"/updates/%6Eews", "news"),
        (b"/updates/a%2Fb", "a/b"),
        (b"/updates/a%2fb", "a/b"),
        (b"/updates/%252F", "%2F"),
        (b"/updates/k%C3%A4se", "käse"),
        ("/updates/käse".encode(), "käse"),
        (b"/updates/50%", "50%"),
        (b"/updates/%zz", "%zz"),
        (b"/updates/a+b", "a+b"),
        (b"/updates/a%0Ab", "a\nb"),
        (b"/updates/", None),
        (b"/updates/a/b", None),
        (b"/updates/news/", None),
        (b"/x/updates/news", None),
        (b"/Updates/news", None),
        (b"", None),
    ],
)
def test_pattern_matches_the_whole_path(
    raw_path: bytes, channel_id: str | None
) -> None:
    """The id is the decoded group; it may contain encoded slashes, but no bare ones."""
    pattern = re.compile(r"/updates/([^/]+)")
    assert match_channel(pattern, decode_path(raw_path)) == channel_id


def test_invalid_bytes_become_unique_characters() -> None:
    """Each invalid byte becomes a unique character that cannot be encoded."""
    pattern = re.compile(r"/updates/([^/]+)")
    ids = [
        match_channel(pattern, decode_path(path))
        for path in (b"/updates/%FF", b"/updates/%FE", b"/updates/%EF%BF%BD")
    ]
    assert len(set(ids)) == 3
    assert ids[0] is not None
    with pytest.raises(UnicodeEncodeError):
        ids[0].encode()


def test_missing_optional_group_is_an_empty_id() -> None:
    """A match without the optional group gives an empty id; locations refuse it."""
    assert match_channel(re.compile("/updates(?:/(.+))?"), "/updates") == ""


def test_id_may_be_in_a_named_group() -> None:
    """The id may be in a named group."""
    pattern = re.compile(r"/updates/(?P<channel_id>[^/]+)")
    assert build_path(pattern, "a/b") == "/updates/a%2Fb"
    assert match_channel(pattern, "/updates/news") == "news"


@pytest.mark.parametrize(
    ("channel_id", "path"),
    [
        ("user/abc", "/updates/user/abc"),
        ("a/b/c", "/updates/a/b/c"),
        ("a//b", "/updates/a%2F%2Fb"),
        ("/a", "/updates/%2Fa"),
        ("a/", "/updates/a%2F"),
        ("a/../b", "/updates/a%2F..%2Fb"),
        ("a/./b/c", "/updates/a%2F.%2Fb/c"),
        ("../a", "/updates/..%2Fa"),
        ("a/..", "/updates/a%2F.."),
        ("a/%2e%2e/b", "/updates/a/%252e%252e/b"),
        ("a\\..\\b", "/updates/a%5C..%5Cb"),
        ("a/...", "/updates/a/..."),
    ],
)
def test_slashes_are_kept_except_at_dot_or_empty_segments(
    channel_id: str, path: str
) -> None:
    """Slashes are kept if the pattern allows them, but not at dot or empty segments."""
    pattern = re.compile(r"/updates/(.+)")
    assert build_path(pattern, channel_id) == path
    assert match_channel(pattern, decode_path(path.encode())) == channel_id
    # Clients parse and resolve the URL before they request it.
    assert httpx.URL(f"http://localhost{path}").raw_path == path.encode()
    assert urljoin("http://localhost/page/x", path) == f"http://localhost{path}"


def test_pattern_may_require_a_slash() -> None:
    """An id of two segments has a path if the pattern requires two segments."""
    pattern = re.compile(r"/updates/([^/]+/[^/]+)/")
    assert build_path(pattern, "user/abc") == "/updates/user/abc/"
    with pytest.raises(ValueError, match="has no URL"):
        build_path(pattern, "user/..")
