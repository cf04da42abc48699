"""Which files are recordings: known by the ending of their name, or by their first bytes

| the ending is in | the file is |
| --- | --- |
| `RECORDINGS` | a recording, by its name alone |
| `NO_RECORDINGS` | left out by its name alone: text, pictures, subtitles, playlists, video without sound |
| `UNFINISHED` | left out: a download that is not complete, or a temporary file |
| none of them, or there is no ending | opened: its first bytes decide (`is_media_content`) |

`RECORDINGS` holds the endings that FFmpeg's demuxers of sound and film list, and those of the formats that
FFmpeg recognizes by content alone (`.wav`, `.ts`, `.mxf`). Some endings that FFmpeg lists mostly mean
something else (`.dat`, `.vb`, `.mac`); they are in none of the sets, so the content decides. Playlists are
never recordings, because they name other files.
"""

import os
from functools import lru_cache

RECORDINGS = frozenset(
    # containers of film and sound
    "3g2 3ga 3gp 3gp2 3gpp amv asf avi caf cdxl dav divx dv dvr-ms evo f4a f4b f4v flv gxf ifv insv isma "
    "ismv ivr kux lxf m2p m2t m2ts m4a m4b m4p m4r m4v mj2 mk3d mka mkv mlv mods moflex mov mp4 mp4v mpe "
    "mpeg mpg mqv mts mvi mxf mxg nsv nut nuv oga ogg ogm ogv ogx opus psp qt rm rmvb roq sga spx trp ts ty "
    "ty+ usm viv vivo vob vro weba webm wm wma wmv wtv xmv yop "
    # sound
    "aa aa3 aac aax ac3 ac4 adts adx aea afc aif aifc aiff aix al amb amr ape aptx aptxhd ast au avr awb "
    "bcstm bfstm binka bonk brstm bwf c2 daud dff dfpwm dsf dss dts dtshd eac3 ec3 fap flac fsb fwse g722 "
    "g723_1 g728 g729 genh gsm hca iamf ircam kvag laf latm lc3 loas lvf m2a mlp mmf mp+ mp1 mp2 mp3 mpa "
    "mpc mpp msbc mtaf musx nist nsp oma omg osq paf pvf qcp qoa ra rco redspark rf64 rka rsd rso sbc "
    "sdns sdr2 shn sln snd sph svag tak thd tta ul vag voc vqe vqf vql w64 wav wave wsd wv xmd xvag xwm "
    "xwma".split()
)

NO_RECORDINGS = frozenset(
    # text and tables
    "adoc asc bib cfg conf csv ctm diz eml htm html ini ipynb json jsonl log md nfo rst rtf rttm srx tex "
    "text textgrid toml tsv txt xml yaml yml "
    # documents, archives and data
    "7z bz2 db doc docx dmg epub gz iso jar key npy npz numbers odp ods odt pages parquet pdf pickle pkl "
    "ppt pptx rar sqlite tar tgz xls xlsx xz zip zst "
    # programs
    "bat c cc cgi cpp css dll exe go h java js lua php pl ps1 py pyc r rb rs sh so vbs wasm "
    # pictures; the small copies that cameras write beside a film
    "ans apng art avif bmp cdg cr2 cr3 dng exr gif heic heif ice ico idf j2k jp2 jpeg jpg jxl lrv mpo nef "
    "pdv png psd raw ser svg thm tif tiff vt webp xcf "
    # video that cannot hold sound
    "av1 avc avs2 avs3 cavs cif evc flm h261 h263 h264 h265 h266 h26l hevc ipu ivf m1v m2v mjpeg mjpg obu "
    "qcif rcv rgb v210 vc1 vvc y4m yuv yuv10 "
    # subtitles, lyrics and scores
    "aqt ass idx jss lrc mcc mks mid midi mpl2 pjs rt sami sbg sbv scc smi srt ssa stl sub sup ttml vtt "
    "webvtt "
    # playlists, and lists of the parts of a film
    "apl asx cue edl ffconcat ism m3u m3u8 mpd pls ram sdp smil strm wax wpl wvx xspf".split()
)

UNFINISHED = frozenset("!ut aria2 crdownload download filepart opdownload part partial temp tmp ytdl".split())

HEAD = 2048  # bytes that decide

_ALSO_PROGRAMS = frozenset({"ts", "mts"})  # TypeScript, and translations of Qt
_PICTURES = frozenset(
    {b"avif", b"avis", b"heic", b"heim", b"heis", b"heix", b"hevc", b"hevx", b"mif1", b"msf1"}
)
_STARTS = (  # the first bytes of containers and streams with sound, as FFmpeg's demuxers check them
    b"fLaC",
    b"OggS",
    b"ID3",  # MP3 and AAC with tags
    b"ADIF",
    b".snd",  # AU
    b"caff",
    b"#!AMR",
    b"wvpk",  # WavPack
    b"MAC ",  # Monkey's Audio
    b"MPCK",
    b"MP+",
    b"TTA1",
    b"tBaK",
    b"DSD ",
    b"\xc0\xde\xc2",  # Codec 2
    b"FRM8",  # DSDIFF
    b"FLV\x01",
    b".RMF",  # RealMedia
    b".ra\xfd",
    b"NSVf",
    b"NIST_1A",
    b"FORMDS16",  # NSP of the Computerized Speech Lab
    b"Creative Voice File\x1a",
    b"nut/multimedia container",
    b"riff\x2e\x91\xcf\x11",  # Wave64
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11",  # ASF, which holds WMA and WMV
    b"\xb7\xd8\x00\x20\x37\x49\xda\x11",  # WTV
    b"\x06\x0e\x2b\x34\x02\x05\x01\x01\x0d\x01\x02",  # MXF
    b"\x00\x00\x01\xba",  # MPEG program stream, also of VOB
    b"\x0b\x77",  # AC-3
    b"\x7f\xfe\x80\x01",  # DTS
)
_IFF = {  # by the first four bytes: the forms that hold sound
    b"RIFF": (b"WAVE", b"AVI ", b"CDXA", b"QLCM"),
    b"RIFX": (b"WAVE",),
    b"RF64": (b"WAVE",),
    b"BW64": (b"WAVE",),
    b"FORM": (b"AIFF", b"AIFC", b"8SVX", b"16SV"),
}


def file_ending(
    name: str,  # of a file or an object, with or without its folder
) -> str:  # without the dot; "" if there is none
    "Return the ending of a name, in lower case"
    base = name.rpartition("/")[2].strip()
    stem, _, ending = base.rpartition(".")
    return ending.lower() if stem else ""


def is_hidden(
    name: str,  # of a file or an object, with or without its folder
) -> bool:
    "Whether a name begins with a dot"
    return name.rpartition("/")[2].startswith(".")


def is_unfinished(
    name: str,  # of a file or an object, with or without its folder
) -> bool:
    "Whether a name is that of an incomplete download, or of a program's temporary file"
    return file_ending(name) in UNFINISHED or name.endswith("~")


def is_media(
    name: str,  # of a file or an object, with or without its folder
) -> bool:
    "Whether a name has the ending of a recording and is not hidden"
    return file_ending(name) in RECORDINGS and not is_hidden(name)


def is_media_file(
    path: str,  # of a regular file, not hidden
) -> bool:
    "Whether a file is a recording, by its ending or else by its first bytes; raises `OSError`"
    ending = file_ending(path)
    if ending in _ALSO_PROGRAMS:
        return not _is_text(_head(path))
    if ending in RECORDINGS or ending in NO_RECORDINGS:
        return ending in RECORDINGS
    status = os.stat(path)
    return _has_media_content(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=100_000)
def _has_media_content(path, size, mtime_ns):
    "The same answer for the same size and time: a watched folder is searched every two seconds"
    return is_media_content(_head(path))


def _head(path):
    "The first bytes of a file; opening never waits, whatever the path has become"
    with open(path, "rb", opener=lambda p, flags: os.open(p, flags | getattr(os, "O_NONBLOCK", 0))) as file:
        return file.read(HEAD)


def _is_text(head):
    "Whether bytes may be text in UTF-8; an empty file may still become a recording"
    return bool(head) and b"\0" not in head


def is_media_content(
    head: bytes,  # the first `HEAD` bytes of a file, or all that it has
) -> bool:
    "Whether these bytes begin a file that may hold sound"
    return (
        head.startswith(_STARTS)
        or head[8:12] in _IFF.get(head[:4], ())
        or _is_mp4(head)
        or _is_matroska(head)
        or _is_mpeg_audio(head)
        or _is_transport_stream(head)
    )


def _is_mp4(head):
    "Whether an MP4 or QuickTime file begins here, and no picture of its family"
    if len(head) < 12 or head[0] >= 0x20:  # bytes 0 to 3 are a size; text is no size
        return False
    if head[4:8] == b"ftyp":
        return head[8:12] not in _PICTURES
    return head[4:8] in (b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")


def _is_matroska(head):
    return head.startswith(b"\x1a\x45\xdf\xa3") and (b"matroska" in head[:512] or b"webm" in head[:512])


def _is_mpeg_audio(head):
    """Whether a frame of MPEG audio (layers II and III) or of AAC in ADTS begins here

    Bits as in ISO/IEC 11172-3, 2.4.1.3, and ISO/IEC 13818-7, 6.2: eleven or twelve of sync, version, layer,
    then bit rate and sampling rate, some values of which no encoder writes."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return False
    version, layer = head[1] >> 3 & 3, head[1] >> 1 & 3
    if layer == 0:  # ADTS
        return head[1] & 0xF0 == 0xF0 and head[2] >> 2 & 15 < 13
    bit_rate, sampling_rate = head[2] >> 4, head[2] >> 2 & 3
    return layer in (1, 2) and version != 1 and bit_rate not in (0, 15) and sampling_rate != 3


def _is_transport_stream(head):
    "Whether packets of MPEG-TS follow each other; 192 bytes with a time, 204 with a checksum"
    for size in (188, 192, 204):
        for start in range(min(size, len(head) - 4 * size)):
            if all(head[start + n * size] == 0x47 for n in range(5)):
                return b"\0" in head
    return False
