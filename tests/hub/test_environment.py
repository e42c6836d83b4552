"""What `keras-arch doctor` says of the Hub: reached or not, as whom, and never the token."""

import time

from huggingface_hub import constants

from keras_arch.environment.hub import hub_checks


def checked():
    (check,) = hub_checks()
    return check.status, check.message


def test_a_hub_that_answers(server):
    assert checked() == (
        "info",
        f"{server.url} answers; not logged in: set HF_TOKEN or run `hf auth login` to push",
    )


def test_an_account(server, alice):
    assert checked() == ("ok", f"{server.url} answers; logged in as alice")


def test_a_token_that_is_refused_is_not_shown(server, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_of_nobody")
    status, message = checked()
    assert status == "error"
    assert "the token is refused" in message
    assert "hf_of_nobody" not in message


def test_a_hub_that_cannot_be_reached(client):
    start = time.monotonic()
    status, message = checked()
    assert status == "error"
    assert "http://127.0.0.1:9 cannot be reached" in message
    assert "HF_HUB_OFFLINE=1" in message
    assert time.monotonic() - start < 5


def test_offline_is_said(client, monkeypatch):
    # Read once, when the client is imported.
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert checked() == ("info", "offline by HF_HUB_OFFLINE: models of the cache only")
