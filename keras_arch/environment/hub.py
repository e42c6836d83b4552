"""Check of the Hugging Face Hub: whether it can be reached, and as whom."""

import concurrent.futures
import os
import time
from collections.abc import Iterator

from keras_arch.environment.check import Check

_SECONDS = 3.0


def hub_checks() -> Iterator[Check]:
    """Whether models can be pulled and pushed. Tokens are not shown.

    Example:
        >>> [check.name for check in hub_checks()]
        ['Hub']
    """
    try:
        from huggingface_hub import constants, get_token
    except ImportError as error:
        # The packages that are missing have a line of their own.
        yield Check("hub", "Hub", "error", f"its client cannot be imported: {error}")
        return
    if constants.HF_HUB_OFFLINE:
        name = next((n for n in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE") if n in os.environ), "")
        message = f"offline by {name or 'HF_HUB_OFFLINE'}: models of the cache only"
        yield Check("hub", "Hub", "info", message)
        return
    token = get_token()
    started = time.monotonic()
    # The look-up of the host's name has no time-out of its own, and its thread is left behind.
    pool = concurrent.futures.ThreadPoolExecutor(1)
    future = pool.submit(_account, constants.ENDPOINT, token)
    pool.shutdown(wait=False)
    try:
        status, account = future.result(_SECONDS)
    except Exception as error:
        reason = "no answer" if isinstance(error, TimeoutError) else type(error).__name__
        waited = time.monotonic() - started
        yield Check(
            "hub",
            "Hub",
            "error",
            f"{constants.ENDPOINT} cannot be reached ({reason} in {waited:.1f} s): models can be "
            "neither pulled nor pushed; set HF_HUB_OFFLINE=1 to do without it, or HF_ENDPOINT",
        )
        return
    reached = f"{constants.ENDPOINT} answers"
    if status >= 500:
        yield Check("hub", "Hub", "error", f"{reached} with HTTP {status}: try again later")
    elif not token:
        message = f"{reached}; not logged in: set HF_TOKEN or run `hf auth login` to push"
        yield Check("hub", "Hub", "info", message)
    elif status in (401, 403):
        message = f"{reached}; the token is refused: make a new one, or unset HF_TOKEN"
        yield Check("hub", "Hub", "error", message)
    else:
        yield Check("hub", "Hub", "ok", f"{reached}; logged in as {account or '?'}")


def _account(endpoint: str, token: str | None) -> tuple[int, str]:
    """The HTTP status of the Hub, and the name of the account."""
    from huggingface_hub.utils import build_hf_headers, get_session

    headers = build_hf_headers(token=token or False)
    answer = get_session().get(f"{endpoint}/api/whoami-v2", headers=headers, timeout=_SECONDS)
    try:
        name = str(answer.json().get("name", "")) if answer.is_success else ""
    except (ValueError, AttributeError):
        name = ""
    return answer.status_code, name
