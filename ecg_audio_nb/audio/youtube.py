"""The sound of one video of YouTube, by yt-dlp: run in a child process, with a limit of its size

Only yt-dlp's readers for YouTube run, no program beside it but the JavaScript runtime
that it may ask for, and nothing is kept: no cache, no cookies, no configuration.
"""
import os, re
from urllib.parse import urlsplit


class TooLarge(ValueError):
    "More bytes than were allowed"

class NoSound(ValueError):
    "YouTube gave nothing to fetch"


def is_youtube(url:str)->bool: # of http(s)
    "Whether an address leads to YouTube's pages"
    try: parts = urlsplit(url)
    except ValueError: return False
    hosts = r"(.*\.)?(youtube\.com|youtube-nocookie\.com|youtu\.be)\.?"
    return parts.scheme.lower() in ("http", "https") and bool(re.fullmatch(hosts, parts.hostname or ""))


def options(folder:str, most:int, guarded:bool)->dict:
    "Return the options of yt-dlp; `most` in bytes, `guarded`: no proxy of the environment"
    def watch(progress):
        size = max(progress.get("downloaded_bytes") or 0, progress.get("total_bytes") or 0)
        if size > most: raise TooLarge("TooLarge")
    return {"format": "bestaudio[protocol^=http]/best[protocol^=http]", # what needs no other program
            "outtmpl": os.path.join(folder, "%(id)s.%(ext)s"), "allowed_extractors": ["youtube"],
            "noplaylist": True, "playlist_items": "1", "progress_hooks": [watch],
            "quiet": True, "no_warnings": True, "noprogress": True,
            "cachedir": False, "fixup": "never", "postprocessors": [], "socket_timeout": 30, "retries": 2,
            **({"proxy": ""} if guarded else {})}


def transfer(request, _): # in a child: {"url", "folder", "max_bytes", "guarded"} -> {"path"}
    "Fetch the sound into the folder"
    import yt_dlp
    folder, most = request["folder"], request["max_bytes"]
    with yt_dlp.YoutubeDL(options(folder, most, request["guarded"])) as loader:
        loader.extract_info(request["url"], download=True)
    found = [os.path.join(folder, name) for name in os.listdir(folder) if not name.endswith(".part")]
    if len(found) != 1: raise NoSound
    if os.path.getsize(found[0]) > most: raise TooLarge("TooLarge")
    yield {"path": found[0]}, b""
