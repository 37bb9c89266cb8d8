"""Outside hosts: one form for each, and nothing that is none."""

import pytest

from ingot.server.core.errors import Invalid, Reason
from ingot.server.core.hosts import check_host, host_of


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("huggingface.co", "huggingface.co"),
        ("HuggingFace.CO.", "huggingface.co"),
        ("mirror.example:8443", "mirror.example:8443"),
        ("127.0.0.1:8080", "127.0.0.1:8080"),
        ("[::1]:80", "[::1]:80"),
        ("[2001:DB8::0:1]", "[2001:db8::1]"),
        ("localhost", "localhost"),
    ],
)
def test_a_host_has_one_form(text: str, form: str) -> None:
    assert check_host(text) == form
    assert check_host(form) == form


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "https://huggingface.co", "huggingface.co/", "sara@huggingface.co", "a b", "a..b", "-a.b"),
        *("host:", "host:0", "host:99999", "host:x", "::1", "[::1", "ünï.example", "a\n.b", "x" * 300, "a?b"),
    ],
)
def test_what_is_no_host_is_refused_by_its_field(text: str) -> None:
    with pytest.raises(Invalid) as caught:
        check_host(text)
    assert caught.value.reason is Reason.NAME_INVALID
    assert caught.value.fields[0].field == "host"


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://huggingface.co/google/flan", "huggingface.co"),
        ("https://HUGGINGFACE.co:443/x", "huggingface.co"),
        ("http://mirror.example:443/x", "mirror.example:443"),
        ("http://[::1]:8080/x", "[::1]:8080"),
        ("https://sara:secret@example.com/x", "example.com"),
        ("https:///x", ""),
        ("https://host:port/x", ""),
        ("no url", ""),
    ],
)
def test_the_host_of_an_address_is_what_a_credential_is_kept_for(url: str, host: str) -> None:
    assert host_of(url) == host
