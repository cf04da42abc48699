"""Fetch untrusted URLs: only from public addresses, each checked and then connected to as it was checked

The name of a host is resolved once for a connection, all of its addresses must be public, and the connection
goes to one of those addresses: a name server that answers differently the second time is never asked a second
time. TLS still verifies the name. Redirects are followed here, one by one, through the same checks. Proxies,
.netrc and cookies are not used: a proxy would resolve the name by itself.

A refused URL raises `Refused`: its message names the rule, and never an address of the network it protects.
"""
import http.client, ipaddress, os, re, socket, ssl, stat, sys
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from urllib.parse import quote, urljoin, urlsplit

_PATIENCE = 30 # seconds, for one connection and for one read; the whole transfer has a limit of its own
_FOLLOWED = (301, 302, 303, 307, 308)
_GLOBAL = ipaddress.ip_network("2000::/3") # all of IPv6 that is assigned to the public
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_KEPT = tuple(map(ipaddress.ip_network, (
    "168.63.129.16/32", # a cloud's own services answer here, to its machines alone
    "192.88.99.0/24", # relays of 6to4, withdrawn
    "192.0.0.0/24", "2001::/23", "3fff::/20", # set aside for protocols and documents
)))


class Refused(ValueError):
    "An address that is not fetched: the message names the rule"


@dataclass(frozen=True)
class Rules:
    "What may be asked for; the names are those of the settings"
    allow_hosts: tuple[str, ...] = () # patterns; empty: any
    allow_private: tuple[str, ...] = () # hosts, as written in the address, whose address need not be public
    allow_ports: tuple[int, ...] = (80, 443) # empty: any
    max_redirects: int = 10
    listed_in: str = "fetch.allow_hosts" # where a person finds `allow_hosts`


def public_address(
    ip, # an address as text or of `ipaddress`; ValueError if it is none
)->bool: # True: it can only be a host of the public internet
    "Whether an address is public, and so is every IPv4 address that is packed into it"
    ip = ipaddress.ip_address(ip)
    if ip.version == 4:
        is_special = ip.is_multicast or ip.is_reserved or any(ip in net for net in _KEPT)
        return ip.is_global and not is_special
    if ip.scope_id: return False
    inner = ip.ipv4_mapped or (ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF) if ip in _NAT64 else None)
    if inner: return public_address(inner)
    packed = [ip.sixtofour] if ip.sixtofour else list(ip.teredo or ())
    if packed: return all(map(public_address, packed))
    return ip in _GLOBAL and ip.is_global and not any(ip in net for net in _KEPT)


def _host(text):
    "A host in its one spelling: a name in lower case, or an address in the usual form"
    if "%" in text: raise ValueError(text) # the zone of a link
    if ":" in text: return str(ipaddress.IPv6Address(text))
    text = text.encode("idna").decode().lower().rstrip(".") # full-width digits become digits here
    if not re.fullmatch(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?", text) or ".." in text or len(text) > 253:
        raise ValueError(text)
    # 2130706433, 0177.1, 0x7f.0.0.1: all that C libraries take
    if re.fullmatch(r"(0x[0-9a-f]*|[0-9]+)", text.rpartition(".")[2]):
        try: return socket.inet_ntoa(socket.inet_aton(text))
        except OSError: raise ValueError(text) from None
    return text


def target(
    url:str,
    rules:Rules,
)->tuple[str, str, int]: # scheme, host, port
    "Check a URL as far as it goes without a name server"
    scheme = url.partition(":")[0].lower()
    if scheme not in ("http", "https"):
        raise Refused(f"{scheme:.20}: URLs are not followed from here; only http and https are")
    if re.search(r"[\x00-\x20\x7f\\]", re.split(r"[/?#]", url.partition("://")[2], maxsplit=1)[0]):
        raise Refused("its host holds characters no host has; check the URL")
    try: parts = urlsplit(url); port = parts.port; host = _host(parts.hostname or "")
    except ValueError: raise Refused("this URL names no host; write https://host/path") from None
    if parts.username is not None or parts.password is not None or "@" in parts.netloc:
        raise Refused("a URL with a user or password in it is refused under fetch.public_only; "
                      "use a presigned URL")
    port = {"http": 80, "https": 443}[scheme] if port is None else port
    if rules.allow_hosts and not any(fnmatch(host, name.lower()) for name in rules.allow_hosts):
        raise Refused(f"{host:.100} is not among {rules.listed_in} ({', '.join(rules.allow_hosts)})")
    if rules.allow_ports and port not in rules.allow_ports:
        allowed = ", ".join(map(str, rules.allow_ports))
        raise Refused(f"port {port} is not among fetch.allow_ports ({allowed})")
    if re.fullmatch(r"[0-9.]+|.*:.*", host): _must_be_public(host, [host], rules)
    return scheme, host, port


def _must_be_public(host, found, rules):
    if host in map(str.lower, rules.allow_private) or all(map(public_address, found)): return
    raise Refused(f"{host:.100} has an address that is not public, and fetch.public_only allows no other; "
                  "use a public host")


def addresses(
    host:str, # as `target` spells it
    port:int,
    rules:Rules,
)->list[str]: # at least one, in the order in which they are to be tried
    "Resolve a host once; refused if any of its addresses is not public"
    try: found = [answer[4][0] for answer in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    except (OSError, UnicodeError):
        raise Refused("no host of this name is known; check the URL and the network") from None
    if not found: raise Refused("no host of this name is known; check the URL and the network")
    _must_be_public(host, found, rules)
    return list(dict.fromkeys(found))


def resolve_public(
    url:str,
    rules:Rules,
)->tuple[list[str], int, str]: # the addresses to connect to, the port, the host for TLS and the Host header
    "Resolve and check a URL, for a client that connects by itself and follows no redirect"
    _, host, port = target(url, rules)
    return addresses(host, port, rules), port, host


def _connected(host, port, rules):
    "A socket to one of the addresses that were checked"
    for ip in addresses(host, port, rules)[:4]:
        try: return socket.create_connection((ip, port), timeout=_PATIENCE)
        except OSError: continue
    raise Refused("no connection to the host; check the URL and the network")


def _asked(url, rules): # -> (connection, response)
    scheme, host, port = target(url, rules)
    sock = _connected(host, port, rules)
    try:
        if scheme == "https": sock = ssl.create_default_context().wrap_socket(sock, server_hostname=host)
        line = http.client.HTTPConnection(host, port, timeout=_PATIENCE)
        line.sock = sock # it never connects by itself
        parts = urlsplit(url)
        query = f"?{parts.query}" if parts.query else ""
        path = quote((parts.path or "/") + query, safe="%/:?[]@!$&'()*+,;=~") # as it was signed
        usual = port == {"http": 80, "https": 443}[scheme]
        name = f"[{host}]" if ":" in host else host
        line.putrequest("GET", path, skip_host=True, skip_accept_encoding=True)
        headers = {"Host": name if usual else f"{name}:{port}", "Accept": "*/*",
                   "Accept-Encoding": "identity", "User-Agent": "ecg-audio-nb", "Connection": "close"}
        for key, value in headers.items(): line.putheader(key, value)
        line.endheaders()
        return line, line.getresponse()
    except BaseException:
        sock.close()
        raise


def _next(url, response): # -> the address a redirect leads to
    to = urljoin(url, response.headers.get("Location") or "")
    if not response.headers.get("Location"): raise Refused("it redirects to nowhere; check the URL")
    if url.lower().startswith("https:") and to.lower().startswith("http:"):
        raise Refused("it redirects from https down to http; ask for the address it has now")
    return to


def _fit(response):
    "Raise for what is no file"
    status, coding = response.status, response.headers.get("Content-Encoding", "identity").strip().lower()
    if status == 404: raise Refused("nothing is there (404); check the URL")
    if status >= 500: raise Refused(f"the server answered {status}; try again later")
    if status != 200: raise Refused(f"the server answered {status}; it may have expired, or need a login")
    if coding not in ("", "identity"):
        raise Refused("the server sends it compressed (Content-Encoding), which nobody asked for; "
                      "have it sent as it is")


@contextmanager
def opened(
    url:str,
    rules:Rules,
): # -> (response to read from, its size in bytes or None)
    "GET a URL, through its redirects, every one of them checked, resolved and pinned like the first"
    for _ in range(rules.max_redirects + 1):
        line, response = _asked(url, rules)
        try:
            if response.status in _FOLLOWED: url = _next(url, response); continue
            _fit(response)
            size = response.headers.get("Content-Length", "")
            is_known = size.isdecimal() and size.isascii() and not response.chunked
            yield response, int(size) if is_known else None
            return
        finally: response.close(); line.close()
    raise Refused(f"it redirects more than fetch.max_redirects = {rules.max_redirects} times; "
                  "check the URL")


@contextmanager
def held(
    path:str, # a resolved path, found to lie where it may
    folder:str, # an empty folder, for the link
): # -> (a path of the same name that leads to the open file, the file)
    """Open a checked path without a race: who may write near it could have put a link in its place since.

    The place of the open file itself is checked, and that open file is read. Raises `OSError`, `Refused`."""
    fd = os.open(path, os.O_RDONLY|os.O_NONBLOCK|os.O_NOFOLLOW|os.O_CLOEXEC)
    with os.fdopen(fd, "rb") as file:
        here = f"/proc/{os.getpid()}/fd/{fd}"
        linked = sys.platform == "linux" and os.path.lexists(here)
        where = os.readlink(here) if linked else os.path.realpath(path)
        if where != path or not stat.S_ISREG(os.fstat(fd).st_mode):
            raise Refused("it changed while it was opened; try again")
        if not linked: yield path, file; return
        link = os.path.join(folder, os.path.basename(path))
        os.symlink(here, link)
        yield link, file
