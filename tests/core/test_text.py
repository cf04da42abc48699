"""Text as its readers see it: the table of scripts, Unicode's rules, and all of Unicode"""
import unicodedata

import pytest
from hypothesis import given, strategies as st
from scripts_table import SCRIPTS
from uniseg.linebreak import line_break, line_break_boundaries

from ecg_audio_nb.core import text as text_module
from ecg_audio_nb.core.text import (
    UNSPACED,
    base_language,
    clean_text,
    display_width,
    graphemes,
    is_unspaced,
    join_words,
    keeps_space,
    line_breaks,
    needs_space,
    phrases,
    spaces_before,
    word_spans,
)

LANGUAGES = ["en", "ko", "ja", "zh", "th", "fr", "zh-TW", None, *UNSPACED]
# letters of many scripts, marks, joiners, emoji, spaces, digits: likelier to meet than in all of Unicode
MIXED = st.text(
    "aZéя אم한漢かカーっ々、。「」“”’\"'-–—/.,:;!?…%$€()01 \n\t\u00a0\u3000\u200b\u200c\u200d\ufe0f\u0301\u093f\u094d"
    "कनที่น้ำລເမင်្កស་🙂👍🏽👩🇰🇷1\u20e3㎏～ﾞｶ　",
    max_size=30,
)
TEXTS = st.one_of(st.text(max_size=20), MIXED)
every_script = pytest.mark.parametrize("script", SCRIPTS, ids=lambda s: s.name)


def cut(text, positions): return [text[a:b] for a, b in zip([0, *positions], positions)]


# The table of scripts

@every_script
def test_lines_of_each_script(script):
    assert cut(script.text, line_breaks(script.text, script.language)) == script.lines.split("|")


@every_script
def test_columns_of_each_script(script):
    assert display_width(script.text) == script.width


@every_script
def test_characters_of_each_script(script):
    assert tuple(graphemes(script.text)[:len(script.characters)]) == script.characters


@every_script
def test_words_of_each_script(script):
    "The words of its text, and the text of its words"
    spans = word_spans(script.text, script.language)
    words = tuple(script.text[a:b] for a, b in spans)
    written = [
        True if end < start and keeps_space(before, after, script.language) else None
        for (_, end), (start, _), before, after in zip(spans, spans[1:], words, words[1:])
    ]
    assert words == script.words
    assert join_words(words, script.language, [None, *written]) == script.spelled


@every_script
def test_nothing_of_a_script_is_dropped(script):
    assert clean_text(script.text) == unicodedata.normalize("NFC", script.text)


@every_script
def test_both_normal_forms_are_one_text(script):
    "The same columns, characters, and words of a line in NFC and in NFD"
    composed = unicodedata.normalize("NFC", script.text)
    apart = unicodedata.normalize("NFD", script.text)
    assert clean_text(apart) == clean_text(composed) == composed
    assert display_width(apart) == display_width(composed)
    assert len(graphemes(apart)) == len(graphemes(composed))
    lines = cut(apart, line_breaks(apart, script.language))
    if script.language not in UNSPACED:  # BudouX knows composed characters only: its texts are NFC by then
        assert [clean_text(line) for line in lines] == cut(composed, line_breaks(composed, script.language))


# Clean text

@pytest.mark.parametrize(
    "text, clean",
    [
        ("\u1112\u1161\u11ab", "한"),
        ("می\u200cخواهم", "می\u200cخواهم"),  # a joiner is spelling
        ("👨\u200d👩\u200d👧 ❤\ufe0f", "👨\u200d👩\u200d👧 ❤\ufe0f"),
        ("\u202babc\u202c \u2066x\u2069", "abc x"),  # overrides and isolates
        ("\u200fשלום\u200e!", "\u200fשלום\u200e!"),  # marks of direction stay
        ("Schiff\u00adfahrt \ufeffx", "Schifffahrt x"),
        ("ខ្ញុំ\u200bចង់", "ខ្ញុំ\u200bចង់"),  # Khmer writes a zero-width space between words
        ("a\x00b\x1b[0m\x85c\td", "ab[0m\nc\td"),
        ("a\r\nb\rc\u2028d\u2029e\x0bf\x0cg", "a\nb\nc\nd\ne\nf\ng"),
        ("\ud83d\ude42 \ud800x", "🙂 \ufffdx"),  # surrogates: a pair, and a lone one
        ("a\ufffe\uffff\U0001ffff\ufdd0b", "ab"),  # noncharacters, which XML refuses
        ("\U0001f3f4\U000e0067\U000e0062\U000e007f", "\U0001f3f4\U000e0067\U000e0062\U000e007f"),
        ("plain", "plain"),
        ("", ""),
    ],
)
def test_what_stays_and_what_goes(text, clean):
    assert clean_text(text) == clean


ANY = st.text(st.characters(exclude_categories=()), max_size=30)


@given(ANY)
def test_clean_text_of_any_text(text):
    clean = clean_text(text)
    assert clean_text(clean) == clean == unicodedata.normalize("NFC", clean)
    clean.encode("utf-8")
    def spelling(t):
        whole = t.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        categories = ("L", "M", "N", "P", "S", "Zs")
        return [c for c in unicodedata.normalize("NFD", whole)
                if unicodedata.category(c).startswith(categories) or c in "\u200b\u200c\u200d\u200e\u200f\u061c"]
    assert spelling(clean) == spelling(text)


# Characters

@given(TEXTS)
def test_graphemes_are_unisegs(text):
    "But for consonants below others, which are one character since Unicode 17"
    from uniseg.graphemecluster import grapheme_clusters

    assert "".join(graphemes(text)) == text
    if not set(text) & set(text_module._STACKERS):
        assert graphemes(text) == list(grapheme_clusters(text))


# of Unicode's GraphemeBreakTest.txt, version 17
@pytest.mark.parametrize(
    "clusters", ["မ္ဘ|ာ့", "င်္ထ္ထ", "ស្ត្រី", "ᬒᬁ|ᬲ᭄ᬯ|ᬲ᭄ᬢ᭄ᬬ|ᬲ᭄ᬢᬸ", "ᬦ|ᬗ᭄ᬓ", "\u1039|က", "क्त|य", "क्\u200dत", "각|🇦🇧|🇨", "a|\r\n|b"]
)
def test_graphemes_of_many_scripts(clusters):
    assert graphemes(clusters.replace("|", "")) == clusters.split("|")


# of Unicode's LineBreakTest.txt, version 17, and of UAX #14's text; of uniseg, before what is stricter in ours
@pytest.mark.parametrize(
    "lines",
    [
        "can't", "can’t", "ab­|by", "-3", "e.g.", "effective. |\"Look |the |book\"", "© |1995", "(s)he", "a.2 ", "$-.12", "@5%",
        "(0,1)+(2,3)|(", "\u2026\u2026|\u4e00", "日|本|語", "一|二 |三", "“你|好”|吗", "code(s)", "start |.789 |end", "«word» |x",
        "x |« y", "a /|b", "1/2 |3", "한국어", "🇦🇧|🇨", "👩🏽|x", "a\u2060 |b", "x\u00a0y", "zero\u200b|width", "بِسْمِ |اللَّهِ",
    ],
)
def test_lines_of_unicodes_own_rules(lines):
    pieces = lines.split("|")
    text = "".join(pieces)
    assert cut(text, [*text_module._unicode_breaks(text), len(text)]) == pieces


def test_characters_that_stand_alone_do():
    "The short way of `graphemes` holds for each pair of a sample of them, and each with all marks"
    singles = [c for c in map(chr, range(0x20, 0x10000)) if text_module._ALL_SINGLE.fullmatch(c)][::97]
    from uniseg.graphemecluster import grapheme_clusters

    for a in singles[::7]:
        for b in singles[::5]:
            assert list(grapheme_clusters(a + b)) == [a, b]
    assert len(singles) > 300


# Columns

@pytest.mark.parametrize(
    "text, width",
    [
        ("abc é", 5), ("한국", 4), ("漢字かな", 8), ("ｶﾅﾞ", 3), ("ＡＢ", 4), ("、。", 4), ("→±“”…", 5),
        ("", 0), ("\u200b\u200c\u200d\u2060\u200f", 0), ("\n", 0), ("é", 1), ("e\u0301\u0323", 1),
        ("🙂", 2), ("❤", 1), ("❤\ufe0f", 2), ("👍🏽", 2), ("👨\u200d👩\u200d👧", 2), ("🇰🇷🇯🇵", 4), ("🇰", 1),
        ("1\ufe0f\u20e3", 2), ("#\u20e3", 2), ("🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f", 2),
        ("ខ្មែ", 1), ("က္က", 1), ("ស្ត្រី", 1), ("🫨", 2), ("🫪", 2), ("\u0e5c\u0378", 2),  # of Unicode 15 and 17: newer than Python 3.11's tables
        ("กำ", 2), ("ที่", 1), ("क्ष", 2), ("कि", 1), ("ம்", 1),
        ("\u1112\u1161\u11ab", 2), ("ᄒ", 2), ("ᅡ", 0), ("\u0600١", 2),
    ],
)
def test_columns(text, width):
    assert display_width(text) == width


@given(TEXTS)
def test_columns_add_up_over_characters(text):
    assert display_width(text) == sum(display_width(g) for g in graphemes(text))


# Line breaks

def unicode_breaks(text):
    "Where uniseg lets a line end, if Hangul were letters such as a: Korean breaks at spaces"
    hangul = {"H2", "H3", "JL", "JV", "JT"}
    plain = "".join("a" if line_break(c).value in hangul else c for c in text)
    return [p for p in line_break_boundaries(plain) if p < len(text)]


@given(TEXTS)
def test_short_way_breaks_as_uniseg_does(text):
    assert text_module._unicode_breaks(text) == unicode_breaks(text)


@every_script
def test_short_way_breaks_each_script_as_uniseg_does(script):
    assert text_module._unicode_breaks(script.text) == unicode_breaks(script.text)


@pytest.mark.parametrize(
    "lines, language",
    [
        # trouble R10
        ("東京の|OpenAI本社で|GPTを|使っている|Internationalization|部門", "ja"),
        ("ที่|นี่|มี|น้ำ|ที่|นี่|มี|น้ำ", "th"),
        # the script decides, whatever the language is said to be
        ("これは|日本語です。", None), ("これは|日本語です。", "en"), ("สวัสดี|ครับ", "en"),
        # marks that begin no line, also after a space; marks that end none
        ("そうです 。|「すみません」 ！|次に", "ja"), ("言う|「あ」々ゝーっ", "ja"), ("(ein |Wort) |„so“ |»nein«", "de"),
        ("一|二～三％", "zh"), ("वह |घर |गया । |फिर", "hi"), ("เดิน |ไป |ต่าง ๆ", "th"), ("نعم ؟ |لا ؛ |نعم", "ar"),
        ("wait … |and |…what", "en"), ("¿Qué? |¡Sí!", "es"),
        # French spacing, numbers, units
        ("Oui ! |Non ? |Si ; |là : |« bien »", "fr"), ("12 500,50 €", "fr"), ("$ 5 |und |7 % |and |5 °C", "de"),
        ("in |2020 |300 |people", "en"), ("1 000 000 |x", "fr"), ("1'000.50", "de"), ("3,5", "de"),
        # whole: address, fraction, time, range, one-letter parts
        ("www.a-bc.org/de-fg?hi-jk |x", "en"), ("see |me@my-own-site.org", "en"), ("a/b |1/2 |and/or |he/she", "en"),
        ("2:30 |AT&T |R&D |C++ |#tag |1990-1995 |10:30–11:00", "en"), ("e-mail |X-ray |GPT-4 |19-jährige", "de"),
        ("mother-|in-|law", "en"), ("word—|word |so – |well", "en"),
        # speakers' dashes
        ("- Yes. |- No - |maybe.", "en"), ("– Oui. |– Non.", "fr"),
        # Korean at spaces only, Han too
        ("大韓民國은 |民主共和國이다.", "ko"), ("한글漢字", None),
        # scripts without spaces for which there are no phrases: at spaces, wide stretches at sure syllables
        ("ສະບາຍດີ |ທຸກຄົນ", "lo"), ("ខ្ញុំ\u200b|ចង់", "km"), ("မြန်မာ |နိုင်ငံ။", "my"), ("བཀྲ་|ཤིས་|བདེ་|ལེགས།", "bo"),
        ("a\n|b", "en"), ("a\u00a0b |c", "en"), ("Schiff\u00adfahrt", "de"), ("", "en"), ("x", None),
    ],
)
def test_where_lines_may_end(lines, language):
    text = lines.replace("|", "")
    assert cut(text, line_breaks(text, language)) == [line for line in lines.split("|") if line]


def test_a_wide_stretch_of_burmese_breaks_at_syllables():
    text = "မြန်မာနိုင်ငံအရှေ့တောင်အာရှတွင်တည်ရှိသည်"
    parts = cut(text, line_breaks(text, "my"))
    assert len(parts) > 5 and all(unicodedata.category(part[0]) == "Lo" for part in parts)


@given(TEXTS, st.sampled_from(LANGUAGES))
def test_line_breaks_of_any_text(text, language):
    "No line breaks inside a character, or before a mark; the lines are the text"
    positions = line_breaks(text, language)
    assert positions == sorted(set(positions)) and positions[-1:] == [len(text)] * bool(text)
    assert "".join(cut(text, positions)) == text
    starts, position = {0, len(text)}, 0
    for cluster in graphemes(text):
        starts.add(position)
        position += len(cluster)
    assert set(positions) <= starts
    for p in positions[:-1]:
        mandatory = text[p - 1] in "\n\r\x0b\x0c\x85\u2028\u2029"
        assert mandatory or text[p] not in "、。」！？ーっ々）)]}!?"
        assert not (text[p - 1].isascii() and text[p].isascii() and text[p - 1].isalnum() and text[p].isalnum())


# Phrases

@pytest.mark.parametrize(
    "expected, language",
    [
        ("今日は |天気が|いいですね。", "ja"), ("これは|日本語です。", None), ("これは|日本語です。", "zh"),
        ("今天|天气|很|好。", "zh"), ("今天|天氣|很|好。", "zh"), ("今天|天氣|很|好。", "yue"), ("今天|天气|很|好。", None),
        ("因為|2024年|的|GPT-4模型", "zh"), ("สวัสดี|ครับ", None),
        ("สวัสดี|ครับ|これは|日本語です。", "th"), ("so it |is", "en"), ("大韓民國은 |그렇다", "ko"),
    ],
)
def test_phrases(expected, language):
    expected = expected.replace("so it", "so |it").split("|")
    assert phrases("".join(expected), language) == expected


@given(TEXTS, st.sampled_from(LANGUAGES))
def test_phrases_of_any_text(text, language):
    assert "".join(phrases(text, language)) == text and all(phrases(text, language))


# Words

@pytest.mark.parametrize(
    "words, language, token_starts",
    [
        # of R09 and R14
        ("今日は Open AI の GPT 4 です。 2024 年。", "ja", None),
        ("日本 (Japan) の (株) Open と \"Open AI\" を、 第 3 回 50% 増です. GPT は？", "ja", None),
        ("他 说： “你 好！” 然后…… 走 了。", "zh", None), ("我們 有 1.5 億", "zh-TW", None),
        ("スーパーマーケットで", "ja", None), ("これは 日本語です。", None, None), ("so it is", None, None),
        ("你好 吗", "zh", {2}), ("はい、 そうです。", "ja", {1, 3}),
        # a syllable where there is no model; nothing before a mark
        ("བཀྲ་ ཤིས་ བདེ་ ལེགས།", "bo", None), ("မြန် မာ နိုင် ငံ", "my", None), ("ສະບາຍດີ ເວົ້າ ແນວ ໃດ", "lo", None),
        ("wait… what is...", "en", None), ("U.S. 3.14 a.m.", "en", None), ("👍🏽👨\u200d👩\u200d👧 すごい", "ja", None),
    ],
)
def test_words(words, language, token_starts):
    spaced = words.split()
    apart = {"en": " ", None: " " if words.isascii() else ""}.get(language, "")
    text = apart.join(spaced)
    text = text.replace("OpenAI", "Open AI").replace("GPT4", "GPT 4").replace("wait… ", "wait…")
    assert [text[a:b] for a, b in word_spans(text, language, token_starts)] == spaced


@given(TEXTS, st.sampled_from(LANGUAGES))
def test_words_of_any_text(text, language):
    "In order, without spaces; nothing is lost but what can't be seen; none begins with a combining mark of another"
    spans = word_spans(text, language)
    assert all(a < b for a, b in spans) and all(x[1] <= y[0] for x, y in zip(spans, spans[1:]))
    words = [text[a:b] for a, b in spans]
    assert not any(c.isspace() for word in words for c in word)
    def seen(t): return [c for c in t if c.isprintable() and not c.isspace()]
    assert seen("".join(words)) == seen(text)
    starts = set()
    position = 0
    for cluster in graphemes(text):
        starts.add(position)
        position += len(cluster)
    assert all(a in starts or text[a - 1].isspace() for a, _ in spans)


@given(st.lists(st.sampled_from(["今日は", "です。", "Open", "AI", "2024", "「GPT」", "👍"]), max_size=8))
def test_words_joined_are_the_words_again(words):
    "But for digits that follow each other, and what BudouX makes of neighbours"
    text = join_words(words, "ja")
    again = [text[a:b] for a, b in word_spans(text, "ja")]
    def of_latin(found): return [w for w in found if w.strip("「」").isalnum() and w.isascii()]
    assert of_latin(again) == of_latin(words)


# Words in sequence

@pytest.mark.parametrize(
    "words, language, joined",
    [
        (["so", "it", "is"], None, "so it is"), (["今", "日"], None, "今日"), (["안녕", "세상"], "ko", "안녕 세상"),
        (["(株)", "Open", "AI,", "GPT", "「AI」", "x"], "ja", "(株)Open AI, GPT「AI」x"),
        (["東京", "大阪"], "ko", "東京 大阪"), (["です.", "GPT"], "ja", "です.GPT"), (["好", "🙂"], "zh", "好🙂"),
        (["OK", "🙂"], "ja", "OK 🙂"), ([], "ja", ""), (["Bonjour", "!"], "fr", "Bonjour !"),
    ],
)
def test_words_joined(words, language, joined):
    assert join_words(words, language) == joined


@pytest.mark.parametrize(
    "before, after, language, kept",
    [
        ("ครับ", "วันนี้", "th", True), ("ปี", "2024", "th", True), ("はい", "そう", "ja", True), ("か？", "はい", "ja", True),
        ("今日は", "AI", "ja", False), ("です。", "次", "ja", False), ("彼は", "「はい」", "ja", False), ("好", "今天", "zh", True),
        ("2024", "年", "zh", False), ("そう…", "でも", "ja", True), ("မြန်", "မာ", "my", True), ("好", "今", None, True),
    ],
)
def test_spaces_that_are_kept(before, after, language, kept):
    assert keeps_space(before, after, language) is kept


def test_spaces_before_words():
    assert spaces_before(["は", "A", "B", "い", "う"], "ja", [True, None, None, None, True]) == ["", "", " ", "", " "]


def test_codes_of_languages():
    assert [base_language(c) for c in ("zh-TW", "EN_us", "cmn", "", None)] == ["zh", "en", "zh", None, None]
    assert is_unspaced("ja-JP") and not is_unspaced("ko") and not is_unspaced(None)
    assert needs_space("a", "b", "ja") and not needs_space("あ", "b", "ja") and needs_space("あ", "b", "en")
