"""Text as its readers see it: characters, columns, words, phrases, and where a line may end

Follows Unicode: normal form (UAX #15), grapheme clusters (UAX #29), line breaks (UAX #14), width (UAX #11);
phrases of Japanese, Chinese and Thai come from BudouX. A language is a code such as `ja` or `zh-TW`; `None`
where it is not known.
"""

import re
import unicodedata
from collections.abc import Callable, Collection, Iterable
from functools import lru_cache
from itertools import accumulate, cycle, repeat

# Clean text

BIDI_OVERRIDES = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
_BIDI_DEPRECATED = "\u206a\u206b\u206c\u206d\u206e\u206f"  # of the shapes of Arabic and digits
_HINTS = "\u00ad\ufeff"  # soft hyphen, byte order mark
_LINE_ENDS = re.compile("\r\n|[\r\x0b\x0c\x85\u2028\u2029]")
_NONCHARACTERS = "\ufdd0-\ufdef\ufffe\uffff"  # and the last two of every other plane
_DROPPED = re.compile(
    f"[\x00-\x08\x0e-\x1f\x7f-\x9f{BIDI_OVERRIDES}{_BIDI_DEPRECATED}{_HINTS}{_NONCHARACTERS}]"
)
_SURROGATES = re.compile("[\ud800-\udfff]")


def clean_text(text: str) -> str:
    """Normalize a text to NFC, without what is not text

    Control characters, overrides and isolates of the direction of writing, soft hyphens, byte order marks
    and noncharacters go. Any line end becomes a newline; a tab stays. A pair of surrogates becomes its
    character, a lone one U+FFFD. Joiners, variation selectors, combining marks, marks of direction (LRM,
    RLM, ALM), zero-width spaces and word joiners are spelling: they stay.
    """
    if text.isascii() and text.isprintable():
        return text
    if _SURROGATES.search(text):
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if max(text, default="") > "\uffff":
        text = "".join(c for c in text if ord(c) & 0xFFFE != 0xFFFE)
    return unicodedata.normalize("NFC", _DROPPED.sub("", _LINE_ENDS.sub("\n", text)))


def one_line(text: str | None) -> str:
    "Clean a text and put it on one line: white space becomes single spaces, no-break spaces inside stay"
    spaced = re.sub(r"[^\S\u00a0\u2007\u202f]+", " ", text or "")  # before control characters go
    return re.sub(" +", " ", clean_text(spaced)).strip()


# Characters and columns

# Each of these is a character of its own beside any other of these; CR, emoji and what joins are not among
# them
_SINGLE = (
    "\n\t\x20-\x7e\u00a0-\u00a8\u00aa-\u00ac\u00af-\u02ff\u0370-\u0482\u048a-\u058f\u05be\u05d0-\u05f4"
    "\u1e00-\u1fff\u2010-\u2027\u2030-\u203b\u203d-\u2048\u204a-\u205e\u20a0-\u20bf\u3000-\u3029\u3031-\u303c"
    "\u3041-\u3096\u309b-\u30ff\u3105-\u312f\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3\uff01-\uff9d"
)
_ALL_SINGLE = re.compile(f"[{_SINGLE}]*")
_OTHERS = re.compile(f"[^{_SINGLE}]+")


def graphemes(text: str) -> list[str]:
    "Split a text into what readers see as characters (UAX #29)"
    if _ALL_SINGLE.fullmatch(text):
        return list(text)
    clusters: list[str] = []
    position = 0
    for start, end in _stretches_to_cluster(text):
        clusters += text[position:start]
        clusters += _clusters(text[start:end])
        position = end
    return clusters + list(text[position:])


def _stretches_to_cluster(text):
    "Spans of what is not of single characters, with the character before and after each"
    spans: list[list[int]] = []
    for match in _OTHERS.finditer(text):
        start, end = max(match.start() - 1, 0), min(match.end() + 1, len(text))
        if spans and start < spans[-1][1]:
            spans[-1][1] = end
        else:
            spans.append([start, end])
    return spans


@lru_cache(16384)
def _clusters(piece):
    from uniseg.graphemecluster import grapheme_clusters

    clusters: list[str] = []
    for cluster in grapheme_clusters(piece):
        if clusters and _STACKED.search(clusters[-1]) and unicodedata.category(cluster[0]) == "Lo":
            clusters[-1] += cluster  # a rule of Unicode 17
        else:
            clusters.append(cluster)
    return tuple(clusters)


_STACKERS = "\u1039\u17d2\u1a60\u1b44\ua9c0"  # of Burmese, Khmer and others: draw the next consonant below
_STACKED = re.compile(f"^[^\\W\\d_].*[{_STACKERS}]$", re.DOTALL)


@lru_cache(16384)
def display_width(text: str) -> int:
    """Measure a text's width on the screen in columns

    A Chinese, Japanese or Korean character and an emoji take two, a mark on another character none,
    anything else one.
    """
    if text.isascii():
        return sum(c.isprintable() for c in text)
    return sum(_cluster_width(cluster) for cluster in graphemes(text))


@lru_cache(16384)
def _cluster_width(cluster):
    if len(cluster) == 1:
        return _column_width(cluster)
    if cluster[0] in _HANGUL_LEADS or _is_emoji_sequence(cluster):
        return 2
    stacked = {i + 1 for i, character in enumerate(cluster) if character in _STACKERS}
    return sum(_column_width(character) for i, character in enumerate(cluster) if i not in stacked)


_HANGUL_LEADS = {chr(c) for c in (*range(0x1100, 0x1160), *range(0xA960, 0xA97D))}
_HANGUL_PARTS = re.compile("[\u1160-\u11ff\ud7b0-\ud7fb]")  # vowels and finals, drawn into their syllable
_VISIBLE_FORMATS = re.compile("[\u0600-\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd]")


def _is_emoji_sequence(cluster):
    from uniseg.emoji import extended_pictographic

    first = cluster[0]
    if "\U0001f1e6" <= first <= "\U0001f1ff":
        return "\U0001f1e6" <= cluster[1] <= "\U0001f1ff"
    if "\u20e3" in cluster:  # keycap
        return first in "0123456789#*"
    if not extended_pictographic(first):
        return False
    if "\ufe0f" in cluster or "\u200d" in cluster or _column_width(first) == 2:
        return True
    return any("\U0001f3fb" <= c <= "\U0001f3ff" for c in cluster)


def _column_width(character):
    category = unicodedata.category(character)
    if category in ("Mn", "Me", "Mc", "Cc") or _HANGUL_PARTS.match(character):
        return 0
    if category == "Cf":
        return 1 if _VISIBLE_FORMATS.match(character) else 0
    if category == "Cn":  # newer than Python's tables, which call it wide
        from uniseg.emoji import extended_pictographic

        return 1 + (extended_pictographic(character) or "\U00020000" <= character <= "\U0003fffd")
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


# Scripts

RIGHT_TO_LEFT = ("ar", "fa", "he", "ps", "sd", "ur", "yi")  # languages
UNSPACED = ("ja", "zh", "yue", "th", "lo", "my", "km", "bo")  # languages written without spaces
_ALIASES = {
    "cmn": "zh", "wuu": "zh", "nan": "zh", "zho": "zh", "chi": "zh", "jpn": "ja", "tha": "th", "kor": "ko",
}


def _characters(*ranges: str) -> Callable[[str], bool]:
    "Make a test of whether a character lies in one of the ranges, each of a first and a last character"

    @lru_cache(None)
    def contains(character):
        return any(first <= character <= last for first, last in ranges)

    return contains


_HAN = (
    *("\u2e80\u2fdf", "\u3005\u3007", "\u3021\u3029", "\u3038\u303b", "\u3400\u4dbf", "\u4e00\u9fff"),
    *("\uf900\ufaff", "\U00020000\U0003ffff"),
)
_KANA = ("\u3031\u3035", "\u3041\u30ff", "\u31f0\u31ff", "\uff66\uff9f", "\U0001b000\U0001b16f")
_WIDE_MARKS = (
    *("\u3000\u3004", "\u3008\u3020", "\u3030\u3030", "\u3036\u3037", "\u303c\u303f", "\u3105\u312f"),
    *("\u31a0\u31bf", "\ufe10\ufe1f", "\ufe30\ufe6f", "\uff01\uff0f", "\uff1a\uff20", "\uff3b\uff40"),
    *("\uff5b\uff65", "\uffe0\uffe6"),
)
_THAI = ("\u0e00\u0e7f",)
_SOUTH_EAST_ASIAN = (
    *("\u0e00\u0eff", "\u1000\u109f", "\u1780\u17ff", "\u19e0\u19ff", "\ua9e0\ua9ff", "\uaa60\uaa7f"),
)
_HANGUL = ("\u1100\u11ff", "\u3131\u318e", "\ua960\ua97c", "\uac00\ud7fb")
_is_han, _is_kana = _characters(*_HAN), _characters(*_KANA)
_is_thai, _is_hangul = _characters(*_THAI), _characters(*_HANGUL)
_is_wide_mark = _characters(*_WIDE_MARKS, "・・")
_is_south_east_asian = _characters(*_SOUTH_EAST_ASIAN)
_TIBETAN = ("\u0f00\u0fff",)
_is_unspaced = _characters(*_HAN, *_KANA, *_WIDE_MARKS, *_SOUTH_EAST_ASIAN, *_TIBETAN)
_SIMPLIFIED = set("们这个国说时会对发来为后学过还样东现经开间问动义进实员无长见边点电业机种话让应头线儿当关没马车钱给觉认识谁")
_TRADITIONAL = set("們這個國說時會對發來為後學過還樣東現經開間問動義進實員無長見邊點電業機種話讓應頭線兒當關沒馬車錢給覺認識誰")


def base_language(language: str | None) -> str | None:
    "Return the language of a code without its script and region: `zh` of `zh-TW`"
    if not language:
        return None
    base = re.split("[-_]", language.lower())[0]
    return _ALIASES.get(base, base)


def is_unspaced(language: str | None) -> bool:
    "Tell whether a language is written without spaces between words"
    return base_language(language) in UNSPACED


def is_right_to_left(text: str, language: str | None) -> bool:
    "Tell whether a text is laid out from right to left: by its language, else by its first letter"
    strong = [kind for kind in map(unicodedata.bidirectional, text) if kind in ("L", "R", "AL")]
    if not {"R", "AL"} & set(strong):
        return False
    return base_language(language) in RIGHT_TO_LEFT or strong[0] != "L"


def _east_asian_model(text, language):
    "BudouX's model for the Han characters and kana of a text; None: Korean, or there are none"
    han, kana = sum(map(_is_han, text)), sum(map(_is_kana, text))
    base = base_language(language)
    if not han + kana:
        return None
    if base == "ja" or 5 * kana > han or (kana and base not in ("zh", "yue")):
        return "ja"
    if base == "ko" or (base not in ("zh", "yue") and any(map(_is_hangul, text))):
        return None
    simplified = sum(c in _SIMPLIFIED for c in text)
    traditional = sum(c in _TRADITIONAL for c in text)
    if simplified != traditional:
        return "zh-hans" if simplified > traditional else "zh-hant"
    tags = re.split("[-_]", (language or "").lower())
    return "zh-hant" if base == "yue" or {"tw", "hk", "mo", "hant"} & set(tags) else "zh-hans"


# Phrases


@lru_cache
def _phrase_parser(model):
    import budoux

    load = {
        "ja": budoux.load_default_japanese_parser,
        "zh-hans": budoux.load_default_simplified_chinese_parser,
        "zh-hant": budoux.load_default_traditional_chinese_parser,
        "th": budoux.load_default_thai_parser,
    }
    return load[model]()


def phrases(text: str, language: str | None) -> list[str]:
    """Split a text into phrases that a line should not cut

    Japanese, Chinese and Thai are split by BudouX, whatever the language is said to be: kana make a text
    Japanese. Anything else between two spaces is one phrase. A phrase ends with the spaces after it, never
    begins with a closing mark, and holds Latin words and numbers whole.
    """
    cuts = [0, *_phrase_cuts(text, language), len(text)]
    return [text[a:b] for a, b in zip(cuts, cuts[1:]) if b > a]


@lru_cache(4096)
def _phrase_cuts(text, language):
    "Positions inside a text at which a phrase begins"
    cuts = {match.end() for match in re.finditer(r"[\s\u200b]+", text)}
    for start, end, model in _model_runs(text, language):
        for stretch in re.compile(r"[^\s\u200b]+").finditer(text, start, end):
            cuts.update(p for p in _model_cuts(stretch, model) if p < len(text) and _parts_phrases(text, p))
    starts = _cluster_starts(text)
    return tuple(sorted(cut for cut in cuts if 0 < cut < len(text) and (starts is None or cut in starts)))


def _model_cuts(stretch, model):
    "Where phrases end in a match without spaces"
    parts: list[str] = []
    for part in _phrase_parser(model).parse(stretch.group()):
        lone = model == "ja" and parts and (_LONE_KANA.fullmatch(part) or _LONE_KANA.fullmatch(parts[-1]))
        if lone:  # BudouX takes は of はい for a particle
            parts[-1] += part
        else:
            parts.append(part)
    return accumulate(map(len, parts), initial=stretch.start())


_LONE_KANA = re.compile("[\u3041-\u3096ー]")


def _model_runs(text, language):
    "(start, end, model) of the parts of a text that BudouX has a model for"
    east_asian = _east_asian_model(text, language)
    if not any(map(_is_thai, text)):
        return [(0, len(text), east_asian)] if east_asian else []
    if not east_asian:
        return [(0, len(text), "th")]
    edges, thai = [0], False
    for i, character in enumerate(text):
        if _is_thai(character) != thai and (thai is False or _is_han(character) or _is_kana(character)):
            edges.append(i)
            thai = not thai
    edges.append(len(text))
    models = cycle((east_asian, "th"))
    return [(a, b, model) for a, b, model in zip(edges, edges[1:], models) if b > a]


def _parts_phrases(text, position):
    "Whether a phrase may end where BudouX says: not inside a Latin word, before a mark or beside a space"
    before, after = text[position - 1], text[position]
    if before.isspace() or after.isspace() or _starts_nothing(after) or _ends_nothing(before):
        return False
    if before.isdigit() and _is_han(after):  # 2024年
        return False
    return _is_unspaced(before) or _is_unspaced(after)


# Line breaks

_CLOSING = set("।॥،؛؟۔ๆ។៕៖ៗໆ၊။།༎።፣፤፥፧׃～%％‰℃℉°")  # beside those of UAX #14; also after a space
_DASHES = "-\u2010\u2012\u2013\u2014\u2e17\u05be"
_SENTENCE_MARKS = "。．！？!?、，；｡､"
_URL = re.compile(
    r"(?:[A-Za-z][A-Za-z0-9+.-]*://|www\.|[\w.+-]+@|[\w-]+(?:\.[\w-]+)+/)[!-~]+", re.ASCII | re.IGNORECASE
)
_SPACED_NUMBER = re.compile(r"(?<![\d.,])\d{1,3}(?:[ \u2009]\d{3})+(?!\d)")
_UNIT_AFTER_SPACE = re.compile(
    r"(?<=\d)[ \u2009]+(?=[%‰°℃℉€$£¥₩₽₹](?![^\W_]))|(?<=[€$£¥₩₽₹])[ \u2009]+(?=\d)"
)
_TIBETAN_MARKS = "\u0f0b\u0f0d\u0f0e\u0f11\u0f14"
_WIDEST_PHRASE = 16  # columns; a wider one may be broken inside


@lru_cache(None)
def _break_class(character):
    """UAX #14's class of a character, simplified, and a character that stands for all of its kind

    A: letter or digit, Hangul too (Korean breaks at spaces); I: ideograph or kana; C: closing mark, N:
    other mark that begins no line, O: opening mark, all three wide; S: space; ?: anything else.
    """
    from uniseg.linebreak import line_break

    name = line_break(character).value
    if character == "◌" or unicodedata.category(character) == "Cn":  # the dotted circle has rules of its own
        return "?", character
    wide = unicodedata.east_asian_width(character) in "WFH"
    if name in ("AL", "AI", "XX", "SG", "H2", "H3", "JL", "JV", "JT"):
        return "A", "a"
    if name == "SA":
        return ("?", "\u0301") if unicodedata.category(character) in ("Mn", "Mc") else ("A", "a")
    if name in ("NU", "HL"):
        return "A", {"NU": "0", "HL": "\u05d0"}[name]
    if name == "CM":
        return "?", "\u0301"
    if wide and name in _WIDE_CLASSES:
        return _WIDE_CLASSES[name]
    return {"SP": "S"}.get(name, "?"), character


_WIDE_CLASSES = {
    "ID": ("I", "漢"), "OP": ("O", "「"), "CL": ("C", "」"), "EX": ("C", "！"),
    "NS": ("N", "々"), "CJ": ("N", "々"),
}


def _starts_nothing(character):
    "Whether no line begins with a character: closing marks, small kana, prolonged sound and iteration marks"
    if character in _CLOSING:
        return True
    from uniseg.linebreak import line_break

    return line_break(character).value in ("CL", "CP", "EX", "NS", "CJ", "IN")


def _ends_nothing(character):
    "Whether no line ends with a character: opening marks"
    return unicodedata.category(character) in ("Ps", "Pi")


def _unicode_breaks(text):
    """Positions at which UAX #14 lets a line end, the text's end left out; Hangul as letters

    Most pairs of characters need no more than their classes. Where others stand, uniseg decides over the
    characters from the letter or ideograph before them to the one after them, which nothing else influences.
    """
    kinds = [_break_class(c) for c in text]
    allowed, unknown = set(), []
    previous = shown = "A"  # class of the character before; of the last one that is no space
    for i, (kind, _) in enumerate(kinds):
        if kind == "?" or (previous == "?" or shown == "?") or (kind == "N" and previous == "S"):
            unknown.append(i)
        elif i and _breaks_between(previous, shown, kind):
            allowed.add(i)
        previous = kind
        if kind != "S":
            shown = kind
    return sorted(allowed.union(_decided_by_uniseg(kinds, unknown)))


def _breaks_between(previous, shown, kind):
    if kind in "SCN" or shown == "O":
        return False
    return previous == "S" or not previous == kind == "A"


def _decided_by_uniseg(kinds, unknown):
    "Which of the positions uniseg lets a line end at"
    allowed, done = [], -1
    for position in unknown:
        if position <= done:
            continue
        start = max(position - 1, 0)
        while start and kinds[start][0] not in "AI":
            start -= 1
        end = position
        while end < len(kinds) and kinds[end][0] not in "AI":
            end += 1
        context = "".join(standing for _, standing in kinds[start : end + 1])
        allowed += [start + p for p in _uniseg_breaks(context) if position <= start + p <= end]
        done = end
    return [p for p in allowed if p < len(kinds)]


@lru_cache(65536)
def _uniseg_breaks(text):
    from uniseg.linebreak import line_break_boundaries

    return tuple(p for p in line_break_boundaries(text) if p < len(text))


def _cluster_starts(text):
    "Positions at which a grapheme begins; None: all of them"
    if _ALL_SINGLE.fullmatch(text):
        return None
    starts, position = set(), 0
    for cluster in graphemes(text):
        starts.add(position)
        position += len(cluster)
    return starts


def line_breaks(text: str, language: str | None) -> list[int]:
    """Find the positions at which a line may end, the text's end included

    UAX #14, and stricter: Korean breaks at spaces; Japanese, Chinese and Thai between phrases (a phrase of
    more than 16 columns also inside); addresses, numbers with their marks, "km/h" and the like stay whole;
    a hyphen breaks a word only between two parts of at least two letters; no line begins with a mark that
    closes or repeats, a mark of percent or a dash, or ends with one that opens.
    """
    return list(_line_breaks(text, language))


@lru_cache(4096)
def _line_breaks(text, language):
    if not text:
        return ()
    starts = _cluster_starts(text)
    whole = _whole_spans(text)
    opened = _open_phrases(text, language)
    candidates = {*_unicode_breaks(text), *(cut for cut in opened if _joins_south_east_asian(text, cut))}
    found = [
        position
        for position in sorted(candidates)
        if (starts is None or position in starts)
        and not any(start < position < end for start, end in whole)
        and _may_end(text, position, opened)
    ]
    return (*found, len(text))


def _joins_south_east_asian(text, position):
    "Whether UAX #14 leaves a position to a segmenter: it has no rule between letters of Thai and their like"
    return 0 < position < len(text) and any(map(_is_south_east_asian, text[position - 1 : position + 1]))


def _whole_spans(text):
    "Spans without line breaks: addresses, numbers with spaces, an amount and its sign"
    spans = []
    if any(mark in text for mark in (":", "/", "@", "www.")):
        spans += [match.span() for match in _URL.finditer(text)]
    if re.search(r"\d[ \u2009]|[ \u2009]\d", text):
        spans += [match.span() for match in _SPACED_NUMBER.finditer(text)]
        spans += [(match.start() - 1, match.end() + 1) for match in _UNIT_AFTER_SPACE.finditer(text)]
    return spans


def _open_phrases(text, language):
    "Positions between phrases, with those inside wide phrases"
    if not any(map(_is_unspaced, text)):
        return frozenset()
    cuts = _phrase_cuts(text, language)
    opened = set(cuts)
    for start, end in _too_wide(text, [0, *cuts, len(text)]):
        edges = [i for i in range(start + 1, end) if _changes_script(text, i)]
        opened.update(edges)
        for a, b in _too_wide(text, [start, *edges, end]):
            opened.update(i for i in range(a, b) if not _joins_south_east_asian(text, i))
            opened.update(match.start() for match in _SYLLABLE_START.finditer(text, a, b))
    return opened


# Where a syllable begins for certain, in scripts that BudouX has no model for: before a vowel that is
# written in front of its consonant (Lao); before a consonant that is not below another one and no final one
# (Burmese, Khmer)
_SYLLABLE_START = re.compile(
    "(?<=[\u0e80-\u0eff])[\u0ec0-\u0ec4]"
    "|(?<=[\u1000-\u1038\u103a-\u109f])[\u1000-\u1021\u103f](?![\u1039\u103a\u1037])"
    "|(?<=[\u1780-\u17d1\u17d3-\u17dd])[\u1780-\u17a2](?=[\u17b6-\u17c5\u17d2])"
)


def _too_wide(text, edges):
    "(start, end) of the parts between the edges that are wider than a phrase may be"
    parts = [(a, b) for a, b in zip(edges, edges[1:]) if b - a > _WIDEST_PHRASE // 2]
    return [(a, b) for a, b in parts if display_width(text[a:b].rstrip()) > _WIDEST_PHRASE]


def _changes_script(text, position):
    "Whether a script with spaces and one without meet"
    return _is_unspaced(text[position - 1]) != _is_unspaced(text[position])


def _may_end(text, position, opened):
    "Whether a line may end where UAX #14 allows it"
    before, after = text[position - 1], text[position]
    if before in "\n\r\x0b\x0c\x85\u2028\u2029":
        return True
    if before.isspace():
        return _may_end_at_space(text, position)
    if _starts_nothing(after) or _ends_nothing(before):
        return False
    if before == "\u200b":
        return True
    if not (_is_unspaced(before) or _is_unspaced(after)):
        return _may_end_inside(text, position)
    return before in _SENTENCE_MARKS or before in _TIBETAN_MARKS or position in opened


def _may_end_at_space(text, position):
    "Whether a line may end after a space"
    last = position - 1
    while last > 0 and text[last].isspace():
        last -= 1
    after, follows = text[position], text[position + 1 : position + 2]
    if after in _DASHES and not follows.strip():
        return _begins_speech(text, position)  # a speaker's dash begins a line, any other ends one
    if text[last] in _DASHES and _begins_speech(text, last):
        return False
    if after in "…‥":
        return follows.isalnum()
    return not _starts_nothing(after)


def _begins_speech(text, position):
    "Whether a dash stands at the beginning of the text, a line, or after a sentence and a space"
    before = text[:position] if position < 8 else text[position - 8 : position]
    left = before.rstrip(" ")
    return not left or left[-1] == "\n" or (left != before and left[-1] in ".!?…。！？")


_LETTER = r"[^\W\d_][\u0300-\u036f\u0591-\u05c7]*"  # with its marks
_TWO_LETTERS_BEFORE = re.compile(f"{_LETTER}{_LETTER}$")
_TWO_LETTERS_AFTER = re.compile(f"{_LETTER}{_LETTER}")


def _may_end_inside(text, position):
    "Whether a line may end inside a word of a script with spaces"
    before, after = text[position - 1], text[position]
    if before in "/\\|\u00ad" or after in _DASHES:
        return False
    if before in _DASHES:
        left = text[max(0, position - 9) : position - 1]
        return bool(_TWO_LETTERS_BEFORE.search(left) and _TWO_LETTERS_AFTER.match(text, position))
    if before in "…‥":
        return position > 1 and not text[position - 2].isspace()
    if before.isascii() and after.isascii():
        return before in "!?)]}"
    return True


# Words


def word_spans(
    text: str, language: str | None, token_starts: Collection[int] | None = None
) -> list[tuple[int, int]]:
    """Find the start and end of each word of a text

    Spaces part words; an ellipsis inside a word ends one too ("wait…what"). In languages without spaces,
    and in a text of their scripts in no known language, a word is a phrase of BudouX, begun where a token
    of the recognizer begins if `token_starts` tells where they do; a run of Latin letters and the like, a
    number and an emoji is a word of its own. Marks belong to the word that they close or open.
    """
    spans: list[tuple[int, int]] = []
    phrase_starts = None
    for match in re.finditer(r"\S+", text):
        start, end = match.span()
        cuts = [start + m.end() for m in _INNER_ELLIPSIS.finditer(match.group())]
        if cuts and (starts := _cluster_starts(text)) is not None:
            cuts = [cut for cut in cuts if cut in starts]
        if (is_unspaced(language) or not language) and any(map(_is_unspaced, match.group())):
            if phrase_starts is None:
                phrase_starts = _word_starts(text, language, token_starts)
            cuts = _unspaced_cuts(text, start, end, phrase_starts, set(cuts))
        spans += zip([start, *cuts], [*cuts, end])
    return [(a, b) for a, b in spans if any(c.isprintable() for c in text[a:b])]


_INNER_ELLIPSIS = re.compile(r"\w(?:\.{3,}|…)(?=\w)")


def _word_starts(text, language, token_starts):
    "Where phrases begin, or syllables in a script without phrases; only where tokens do, if that is known"
    starts = {*_phrase_cuts(text, language), *(match.start() for match in _SYLLABLE_START.finditer(text))}
    starts.update(i for i in range(1, len(text)) if text[i - 1] in _SENTENCE_MARKS + _TIBETAN_MARKS)
    return starts if token_starts is None else starts.intersection(token_starts)


def _unspaced_cuts(text, start, end, phrase_starts, ellipses):
    "Positions between two spaces at which a word begins; in a text with scripts without spaces"
    unspaced = _are_unspaced(text[start:end])
    clusters = _cluster_starts(text[start:end])
    cuts = []
    for i in range(start + 1, end):
        if (clusters is not None and i - start not in clusters) or _continues_word(text, i):
            continue
        before, after = unspaced[i - start - 1], unspaced[i - start]
        if before != after or (i in phrase_starts if before else i in ellipses):
            cuts.append(i)
    return cuts


def _continues_word(text, i):
    "Whether a mark closes the word before it, or opens the one it stands before"
    before, after = text[i - 1], text[i]
    if _ends_nothing(before) or _starts_nothing(after):
        return True
    if before == '"' and text.count('"', 0, i) % 2:
        return True
    if after == '"' and not text.count('"', 0, i) % 2:
        return False
    return unicodedata.category(after) in ("Pc", "Pd", "Pe", "Pf", "Po")


def _are_unspaced(text):
    "Whether each character is of a script without spaces; a mark is of that of the letter it belongs to"
    kinds: list[bool | None] = [
        _is_unspaced(c) if _is_unspaced(c) or unicodedata.category(c)[0] not in "PM" else None
        for c in text
    ]
    following = False
    for i in reversed(range(len(text))):
        following = following if kinds[i] is None else kinds[i]
        if kinds[i] is None and _ends_nothing(text[i]):
            kinds[i] = following
    preceding = next((kind for kind in kinds if kind is not None), False)
    for i, kind in enumerate(kinds):
        preceding = kinds[i] = preceding if kind is None else kind
    return kinds


def needs_space(before: str, after: str, language: str | None) -> bool:
    """Tell whether a space stands between two words

    In languages with spaces it always does. In those without, and where the language is not known, it does
    between words of Latin letters, digits and the like, and not beside a letter or mark of a script without
    spaces.
    """
    if language and not is_unspaced(language):
        return True
    return not (_is_unspaced(_edge(before[::-1])) or _is_unspaced(_edge(after)))


def _edge(text):
    "The first letter, digit or wide mark of a text; without one its first character"
    return next((c for c in text if c.isalnum() or _is_unspaced(c)), text[:1])


def keeps_space(before: str, after: str, language: str | None) -> bool:
    """Tell whether a space that was written between two words stays where `needs_space` asks for none

    In Thai and other South-East Asian languages each one stays: it parts clauses. In Japanese and Chinese
    it stays between two words of their script, where it stands for a comma; it goes beside Latin words,
    numbers and wide marks.
    """
    if base_language(language) not in ("ja", "zh", "yue", None):
        return True
    ours = [_is_unspaced(_edge(text)) for text in (before[::-1], after)]
    marks = (c for c in before[-1:] + after[:1] if c not in "！？")
    return all(ours) and not any(map(_is_wide_mark, marks))


def spaces_before(
    words: Iterable[str], language: str | None, written: Iterable[bool | None] | None = None
) -> list[str]:
    """Return what stands before each word of a sequence: a space or nothing

    `written` says before which words the text had a space, or that it is not known (None): then the script
    decides.
    """
    spaces: list[str] = []
    previous = None
    for word, space in zip(words, repeat(None) if written is None else written):
        if space is None and previous is not None:
            space = needs_space(previous, word, language)
        spaces.append(" " if space and previous is not None else "")
        previous = word
    return spaces


def join_words(
    words: Iterable[str], language: str | None, written: Iterable[bool | None] | None = None
) -> str:
    "Join words in sequence with the spaces that their readers expect, see `spaces_before`"
    words = list(words)
    return "".join(space + word for space, word in zip(spaces_before(words, language, written), words))
