"""Variables of the environment that the libraries which ask the hub read, checked before they do."""

from __future__ import annotations

import importlib.util
import os
import re
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

TIMEOUTS: Final = ("HF_HUB_DOWNLOAD_TIMEOUT", "HF_HUB_ETAG_TIMEOUT")
PROXIES: Final = ("ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY")
CERTIFICATES: Final = ("SSL_CERT_FILE", "SSL_CERT_DIR")


def check_imports() -> None:
    """Check what huggingface_hub reads when it is imported.

    Raises: ValueError in one line that names the variable, what was expected, what was there, and what to do.
    """
    for name in TIMEOUTS:
        found = os.environ.get(name, "")
        if found and not found.strip().isdecimal():
            raise _wrong(name, "a number of seconds", found)
    endpoint = os.environ.get("HF_ENDPOINT")
    if endpoint is not None and not _is_address(endpoint, ("http", "https")):
        raise _wrong("HF_ENDPOINT", "the address of a hub such as https://huggingface.co", endpoint)


def check_connection() -> None:
    """Check the proxies and certificates that every connection uses.

    Raises: ValueError as `check_imports`.
    """
    for name in [spelt for proxy in PROXIES for spelt in (proxy, proxy.lower())]:
        found = os.environ.get(name, "")
        address = found if "://" in found else f"http://{found}"
        if not found:
            continue
        if not _is_address(address, ("http", "https", "socks5", "socks5h")):
            raise _wrong(name, "a proxy such as http://host:3128", _without_secrets(found))
        if address.startswith("socks") and importlib.util.find_spec("socksio") is None:
            raise ValueError(
                f"{name}: a SOCKS proxy, '{_without_secrets(found)}', needs a package that is missing;"
                f" run `pip install socksio`, or `unset {name}`"
            )
    for name in CERTIFICATES:
        found = os.environ.get(name, "")
        if found and not Path(found).exists():
            raise _wrong(name, "a file or folder that exists", found)


def _without_secrets(address: str) -> str:
    """The address without a user's name and password."""
    return re.sub(r"[^/]*@", "...@", address)


def _wrong(name: str, wanted: str, found: str) -> ValueError:
    return ValueError(f"{name}: expected {wanted}, got '{found}'; set it to one, or run `unset {name}`")


def _is_address(text: str, schemes: tuple[str, ...]) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in schemes and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:  # of a port that is no number
        return False
