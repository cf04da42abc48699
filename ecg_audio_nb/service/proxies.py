"""Behind a proxy: whose `X-Forwarded-` headers count, and the path below which callers see the service

| header | what it sets |
| --- | --- |
| `X-Forwarded-For` | the caller's address, for rates and the log: the last one that is no trusted proxy |
| `X-Forwarded-Proto` | http or https |
| `X-Forwarded-Host` | the host that pages of this service are expected to come from |
| `X-Forwarded-Prefix` | the path before `/jobs/...`, such as `/ecg` |

They count only if the connection comes from an address of `server.trusted_proxies`. Without a header, the
prefix is `server.root_path`, or else the path of `server.public_url`. The proxy may remove the prefix from
the paths of requests or leave it there.
"""

import ipaddress
import re
from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import urlsplit

_PREFIX = re.compile(r"(/[A-Za-z0-9._~-]+)+\Z")
_MAX_PREFIX = 200  # characters


def read_prefix(
    text: str,  # such as /ecg or /ecg/; empty or /: none
) -> str:  # without a slash at the end; empty: none
    "Check the path below which a proxy offers the service; raises `ValueError`"
    prefix = text.strip().rstrip("/")
    usable = _PREFIX.match(prefix) and not {".", ".."} & set(prefix.split("/"))
    if prefix and (not usable or len(prefix) > _MAX_PREFIX):
        raise ValueError("write a path such as /ecg, of letters, digits and ._~-")
    return prefix


def read_public_url(
    text: str,  # such as https://transcripts.example.org/ecg; empty: unknown
) -> str:  # without a slash at the end
    "Check the URL under which others reach the service; raises `ValueError`"
    if not text:
        return ""
    try:
        parts = urlsplit(text)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        usable = usable and not (parts.query or parts.fragment or "@" in parts.netloc)
        return f"{parts.scheme}://{parts.netloc}{read_prefix(parts.path)}" if usable else _refuse()
    except ValueError:
        return _refuse()


def _refuse():
    raise ValueError("write a URL such as https://transcripts.example.org/ecg")


def read_networks(
    texts: Iterable[str],  # such as 10.0.0.0/8 or ::1
) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    "Check addresses and networks; raises `ValueError`"
    networks = []
    for text in texts:
        try:
            networks.append(ipaddress.ip_network(text, strict=False))
        except ValueError:
            raise ValueError(f"{text!r:.60} is no address; write 10.0.0.7 or 10.0.0.0/8") from None
    return tuple(networks)


@lru_cache(maxsize=4096)
def plain_address(
    text: str,  # as a socket or a header has it
) -> str:  # an IPv4 address that is packed into an IPv6 one as itself; what is no address unchanged
    "Write an address in its usual form"
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return text
    return str(getattr(address, "ipv4_mapped", None) or address)


class BehindProxy:
    "ASGI middleware: takes over what a trusted proxy says, and moves the prefix from the path to `root_path`"

    def __init__(
        self,
        app,  # the ASGI application behind it
        trusted: tuple[str, ...] = (),  # addresses and networks
        root_path: str = "",  # where no header names another
    ):
        from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

        self.app, self.root_path = app, root_path
        self.networks = read_networks(trusted)
        self._trusts = lru_cache(maxsize=4096)(self._is_in_networks)
        self.trusting = ProxyHeadersMiddleware(app, [str(network) for network in self.networks])

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        scope = {**scope, "state": scope.get("state", {})}
        address = ""
        if scope.get("client"):
            address = plain_address(scope["client"][0])
            scope["client"] = (address, scope["client"][1])
        is_trusted = self._trusts(address)
        prefix = self._take_headers(scope) if is_trusted else self.root_path
        scope["root_path"], scope["path"] = prefix, without_prefix(scope["path"], prefix)
        await (self.trusting if is_trusted else self.app)(scope, receive, send)

    def _is_in_networks(self, address: str) -> bool:
        try:
            return any(ipaddress.ip_address(address) in network for network in self.networks)
        except ValueError:
            return False

    def _take_headers(self, scope) -> str:
        "Note the forwarded host, and return the prefix"
        prefix = self.root_path
        for name, value in scope["headers"]:
            text = value.decode("latin-1").rpartition(",")[2].strip()
            if name == b"x-forwarded-host":
                scope["state"]["forwarded_host"] = text.lower()
            elif name == b"x-forwarded-prefix":
                try:
                    prefix = read_prefix(text) or self.root_path
                except ValueError:
                    continue
        return prefix


def without_prefix(path: str, prefix: str) -> str:
    "Return a request's path as it is without a proxy"
    if prefix and f"{path}/".startswith(f"{prefix}/"):
        return path[len(prefix) :] or "/"
    return path
