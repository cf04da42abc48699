"""Text to phones: the tables hold what they claim, every script is read, numbers are put in words."""
import hashlib
import re
import time
import unicodedata
from pathlib import Path

import pytest

from ecg_audio_nb.speech import east_asian, letter_rules, phones
from ecg_audio_nb.speech.spelling import integer_words, table
from ecg_audio_nb.speech.phones import PHONES, pronounce, spell_out

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "ecg_audio_nb/assets/models"
TABLES = ("english.txt.gz", "hanzi.txt.gz", "japanese.txt.gz")
SPOKEN = set(PHONES) - {"SIL"}
LIMITS = {"english.txt.gz": 1_000_000, "hanzi.txt.gz": 150_000, "japanese.txt.gz": 300_000} # bytes


def said(word, language): return [" ".join(way) for way in pronounce(word, language)]


# ---------------------------------------------------------------- the tables

@pytest.mark.parametrize("name", TABLES)
def test_notice_tells_of_the_table(name):
    content = (FOLDER / name).read_bytes()
    _, _, entry = (FOLDER / "NOTICE").read_text(encoding="utf-8").partition(f"\n{name}\n")
    entry = entry.split("\n\n")[0]
    assert hashlib.sha256(content).hexdigest() in entry
    assert f"{len(content)} bytes" in entry
    assert all(f"  {key}:" in entry for key in ("origin", "changes", "copyright", "licence"))
    assert len(content) < LIMITS[name]


def test_notice_carries_the_licences_of_the_tables():
    notice = (FOLDER / "NOTICE").read_text(encoding="utf-8")
    for owner in ("Carnegie Mellon", "Nara Institute of Science", "ICOT Free Software", "Unicode, Inc."):
        assert owner in notice


def test_the_dictionary_is_in_order_and_whole():
    lines = phones.english_lines()
    assert lines == sorted(lines) and len(lines) > 125_000
    assert all(" " in line for line in lines)


@pytest.mark.parametrize("name", [name for name in table("letters")])
def test_letter_rules_name_phones_that_exist(name):
    rules = letter_rules.load_rules(name)
    assert {p for readings in rules.readings for way in readings for p in way} <= SPOKEN
    assert set(rules.between) <= SPOKEN
    assert rules.pattern.groups == len(rules.readings)


@pytest.mark.parametrize("name", [name for name in table("letters")])
def test_every_letter_rule_can_be_met(name):
    "A rule that another with the same letters and place hides is an error of the table"
    vowels, rules = letter_rules._rule_texts(name)
    own = table("letters")[name]["rules"].split()
    places = [rule.partition("=")[0] for rule in own]
    assert not {place for place in places if places.count(place) > 1}


@pytest.mark.parametrize("language", [name for name in table("numbers")])
def test_number_words_are_spoken(language):
    for n in range(0, 10):
        words = spell_out(str(n), language)
        assert words and all(pronounce(word, language) for word in words), (n, words)


# ---------------------------------------------------------------- English

def test_english_words_come_from_the_dictionary():
    assert said("Hello,", "en") == ["HH AH L OW", "HH EH L OW"]
    assert said("don’t", "en")[0] == "D OW N T"
    assert said("(Mr.)", "en") == said("mister", "en")
    assert said("Fifty-nine", "en")[0] == "F IH F T IY N AY N"


@pytest.mark.parametrize("word, phones_of_it", [
    ("woodcutters", "W UH D K AH T ER Z"), # a compound with an ending
    ("rewatched", "R IY W AA CH T"),
    ("GPU's", "JH IY P IY Y UW Z"),
    ("vlogs", "V L AA G Z"),
    ("CEOs", "S IY IY OW Z"),
])
def test_words_outside_the_dictionary(word, phones_of_it):
    assert not phones.look_up_english(word.lower())
    assert phones_of_it in said(word, "en")


def test_initialisms_are_spelled_or_said():
    assert "Y UW EH S" in said("US", "en") and "AH S" in said("US", "en")
    assert said("NASA", "en") == ["N AE S AH"]
    assert said("GPT-4", "en")[0] == "JH IY P IY T IY F AO R"
    assert said("U.S.", "en") == ["Y UW EH S"]


def test_two_thousand_words_are_fast():
    words = [line.split()[0] for line in phones.english_lines()[5::60]][:2000]
    phones._pronounce.cache_clear()
    began = time.process_time()
    for word in words: pronounce(word.title() + ".", "en")
    assert time.process_time() - began < 1.0 # 0.1 s where nothing else runs


# ---------------------------------------------------------------- other languages

@pytest.mark.parametrize("language, word, phones_of_it", [
    ("es", "guitarra", "G IY T AA R AA"), ("es", "cielo", "S Y EH L OW"), ("es", "que", "K EH"),
    ("de", "Straße", "SH T R AA S AH"), ("de", "ich", "IH SH"), ("de", "Hund", "HH UH N T"),
    ("de", "sehen", "Z EH AH N"), ("fr", "l'homme", "L AO M"), ("fr", "beaucoup", "B OW K UW"),
    ("fr", "maison", "M EH Z AO N"), ("fr", "c'est", "S EH"), ("it", "ciao", "CH AA OW"),
    ("it", "gnocchi", "N Y OW K IY"), ("it", "famiglia", "F AA M IY L Y AA"), ("pt", "não", "N AW N"),
    ("pt", "gente", "ZH EH N CH IY"), ("nl", "huis", "HH AW S"), ("nl", "goed", "HH UW T"),
    ("ru", "что", "SH T AO"), ("ru", "город", "G AH R AH T"), ("pl", "dzień", "JH EH N Y"),
    ("pl", "przepraszam", "P SH EH P R AA SH AA M"), ("cs", "děkuji", "D Y EH K UW Y IY"),
    ("cs", "vlk", "V AH L K"), ("tr", "ağaç", "AA CH"), ("tr", "IŞIK", "UH SH UH K"),
    ("fi", "hyvää", "HH UW V AE"), ("vi", "người", "NG UH AH Y"), ("hu", "magyar", "M AO D Y AO R"),
    ("sv", "kött", "SH ER T"), ("el", "μπύρα", "B IY R AA"), ("ka", "გამარჯობა", "G AA M AA R JH OW B AA"),
    ("uk", "добрий", "D AO B R IY"), ("he", "שלום", "SH AH L OW M"), ("ar", "كتاب", "K AH T AA B"),
    ("hi", "नमस्ते", "N AA M AA S T EH"), ("th", "ใน", "N AY"), ("hy", "բարև", "B AA R EH V"),
    ("ta", "தமிழ்", "T AA M IY L"), ("zh", "中国", "JH UH NG K W AO"), ("zh", "女", "N UW"),
])
def test_letters_are_read_as_the_language_reads_them(language, word, phones_of_it):
    assert phones_of_it in said(word, language), said(word, language)


@pytest.mark.parametrize("word, changed", [
    ("국물", "K UW NG M UW L"), ("신라", "SH IY L AA"), ("같이", "K AA CH IY"), ("좋다", "CH OW T AA"),
    ("않다", "AA N T AA"), ("읽어", "IY L G AH"), ("학교", "HH AA K Y OW"), ("독립", "T OW NG N IY P"),
    ("값이", "K AA P SH IY"), ("한국", "HH AA N G UW K"),
])
def test_korean_sound_changes(word, changed):
    found = said(word, "ko")
    assert changed.replace("CH OW T", "JH OW T") == found[0]
    assert " ".join(east_asian._plain_hangul(east_asian.syllables(word))) in found


@pytest.mark.parametrize("word, reading", [
    ("きょう", "K Y OW"), ("今日", "K Y OW"), ("学校", "G AA K OW"), ("東京タワー", "T OW K Y OW T AA W AA"),
    ("食べます", "T AA B EH M AA S"), ("日本", "N IY HH OW N"), ("大人", "OW T OW N AA"), ("行って", "IY T EH"),
    ("人々", "HH IY T OW B IY T OW"), ("これは", "K OW D EH W AA"),
])
def test_japanese(word, reading):
    assert reading in said(word, "ja"), said(word, "ja")


def test_chinese_characters_with_two_readings():
    assert {"Y IY N HH AA NG", "IY N HH AA NG"} & set(said("银行", "zh"))
    assert said("長", "zh") == ["JH AA NG", "CH AA NG"]


def test_the_language_decides_between_scripts():
    assert said("中", "zh") != said("中", "ja")
    assert said("OK", "ko") == said("OK", "en")
    assert said("chat", "fr") != said("chat", "en")
    assert said("привет", None) and said("안녕", None) and said("hello", None)[0] == said("hello", "en")[0]
    assert said("Straße", "de-AT") == said("Straße", "de")


def test_a_lone_silent_letter_has_its_name():
    assert said("T.", "fr") and said("X", "fr")


@pytest.mark.parametrize("word", ["", "...", "—", "!?", "♪", "\u200b", "()", "'", "-"])
@pytest.mark.parametrize("language", ["en", "fr", "ko", "ja", None])
def test_nothing_spoken_has_no_pronunciation(word, language):
    assert pronounce(word, language) == []


def test_a_kanji_without_a_reading_leaves_the_word_out():
    assert pronounce("𠮷", "ja") == []


def test_every_character_is_taken():
    "Nothing raises, every phone is one of the model's, in any language"
    sample = [chr(code) for code in range(0x20, 0x3100) if code % 3 == 0] + list("가힣一龥ﾊﾝ𝒜😀")
    for char in sample:
        for language in ("en", "tr", "ja", "xx", None):
            for way in pronounce(f"{char}a1", language): assert set(way) <= SPOKEN and way, (char, language)


def test_alternatives_are_few_and_differ():
    for word, language in (("1999", "en"), ("parlent", "fr"), ("生", "ja"), ("молоко", "ru")):
        found = pronounce(word, language)
        assert 1 < len(found) <= phones.MAX_ALTERNATIVES and len(set(found)) == len(found)


# ---------------------------------------------------------------- numbers and symbols

@pytest.mark.parametrize("language, n, words", [
    ("en", 1_250_421, "one million two hundred fifty thousand four hundred twenty one"),
    ("de", 4_321, "vier tausend drei hundert ein und zwanzig"), ("de", 2_000_001, "zwei Millionen eins"),
    ("fr", 1_999, "mille neuf cent quatre vingt dix neuf"), ("fr", 81, "quatre vingt un"),
    ("es", 21_100, "veintiuno mil cien"), ("es", 2_500_000_000, "dos mil quinientos millones"),
    ("it", 28, "ventotto"), ("it", 2_021, "due mila ventuno"), ("pt", 1_100, "mil e cem"),
    ("nl", 99, "negen en negentig"), ("ru", 2_002, "две тысячи два"), ("ru", 5_000_000, "пять миллионов"),
    ("pl", 22_000, "dwadzieścia dwa tysiące"), ("cs", 5_000, "pět tisíc"),
    ("tr", 1_999, "bin dokuz yüz doksan dokuz"), ("fi", 21, "kaksikymmentäyksi"),
    ("vi", 125, "một trăm hai mươi lăm"), ("ko", 12_345, "만이천삼백사십오"), ("ko", 0, "영"),
    ("ja", 10_000, "いちまん"), ("ja", 3_333, "さんぜんさんびゃくさんじゅうさん"), ("zh", 10_005, "一万五"), ("zh", 210, "二百一十"),
    ("sv", 42, "fyra två"),
])
def test_whole_numbers(language, n, words):
    assert " ".join(integer_words(str(n), language)) == words


@pytest.mark.parametrize("language, written, words", [
    ("en", "42", "forty two"), ("en", "1,250.5", "one thousand two hundred fifty point five"),
    ("en", "$5.50", "five point five zero dollars"), ("en", "1st", "first"),
    ("en", "22nd,", "twenty second"), ("en", "1990s", "one thousand nine hundred nineties"),
    ("en", "10:30", "ten thirty"), ("en", "9:00", "nine o'clock"), ("en", "-3°", "minus three degrees"),
    ("en", "AT&T", "AT and T"), ("en", "50%", "fifty percent"),
    ("en", "3×4=12", "three times four equals twelve"), ("en", "5km", "five kilometers"),
    ("en", "½", "half"), ("en", "٤٢", "forty two"),
    ("de", "1.250,5", "ein tausend zwei hundert fünfzig Komma fünf"), ("de", "10:30", "zehn Uhr dreißig"),
    ("de", "€20", "zwanzig Euro"), ("fr", "3,14", "trois virgule quatorze"), ("tr", "%20", "yüzde yirmi"),
    ("zh", "50%", "百分之 五十"), ("ja", "10:30", "じゅう じ さんじゅう ふん"), ("ko", "20%", "이십 퍼센트"),
    ("en", "Hello!", "Hello"), ("de", "z.B.", "zum Beispiel"), ("en", "24/7", "twenty four seven"),
    ("en", "0171", "zero one seven one"), ("yo", "42", ""),
])
def test_what_is_written_short_is_spelled_out(language, written, words):
    assert " ".join(spell_out(written, language)) == words


def test_a_year_and_a_short_number_have_readings():
    ways = [" ".join(way) for way in phones.spellings("1999", "en")]
    assert "nineteen ninety nine" in ways and "one nine nine nine" in ways
    assert "neunzehn hundert neun und neunzig" in [" ".join(way) for way in phones.spellings("1999", "de")]


# ---------------------------------------------------------------- house

def test_the_tables_hold_no_letters_twice_composed():
    "Composed letters (NFC): a rule in another form would never be met"
    for name in ("letters", "numbers"):
        text = (ROOT / f"ecg_audio_nb/assets/{name}.toml").read_text(encoding="utf-8")
        assert text == unicodedata.normalize("NFC", text), name
        assert not re.search("[\u00a0\u200b\u200e\u200f]", text)
