"""One text of each script, with what its readers expect of it, written down by hand from the rules of the language"""
import unicodedata
from dataclasses import dataclass


@dataclass(frozen=True)
class Script:
    "A text and what readers see in it"
    name: str
    language: str
    text: str  # as a recognizer gives it
    words: tuple[str, ...]
    lines: str  # the text with | where a line may end
    width: int  # columns
    joined: str = ""  # the text with the spaces that its readers expect; empty: the same text
    characters: tuple[str, ...] = ()  # the first ones, where they are more than one code point

    @property
    def breaks(self)->list[int]:
        "Positions at which a line may end, the end of the text included"
        positions, position = [], 0
        for part in self.lines.split("|"):
            position += len(part)
            positions.append(position)
        return positions

    @property
    def spelled(self)->str: return self.joined or self.text


def spaced(name, language, lines, width, characters=()):
    "A text of a language in which spaces part the words"
    text = lines.replace("|", "")
    return Script(name, language, text, tuple(text.split()), lines, width, "", characters)


def nfd(text): return unicodedata.normalize("NFD", text)


FAMILY, THUMB, FLAG, KEY = "👨\u200d👩\u200d👧", "👍🏽", "🇰🇷", "1\ufe0f\u20e3"

SCRIPTS = (
    # Hangul two columns each; no break inside a word, before % or a particle after a bracket
    spaced("Korean", "ko", "2024년 |한국어(Korean)로 |50%의 |사람들이 |말했다.", 46),
    Script(
        "Japanese with English", "ja", "今日は Open AI の GPT 4 です。2024年。",
        ("今日は", "Open", "AI", "の", "GPT", "4", "です。", "2024", "年。"),
        "今日は |Open |AI |の |GPT |4 |です。|2024年。", 38, "今日はOpen AIのGPT 4です。2024年。",
    ),
    Script( # no line begins with a closing mark, a small kana, a sound mark; none ends with an opening mark
        "Japanese marks", "ja", "「すみません」と言った。データを使っていた…",
        ("「すみません」と", "言った。", "データを", "使っていた…"),
        "「すみません」と|言った。|データを|使っていた…", 43,
    ),
    Script( # 10 + 2 (half width with its voice mark) + 2
        "Halfwidth katakana", "ja", "ﾃﾞｰﾀを使う", ("ﾃﾞｰﾀを", "使う"), "ﾃﾞｰﾀを|使う", 10, "", ("ﾃﾞ", "ｰ", "ﾀ"),
    ),
    Script(
        "Chinese with digits", "zh", "因为2024年的GPT-4模型非常强大，所以用户超过1.5亿。",
        ("因为", "2024", "年", "的", "GPT-4", "模型", "非常", "强大，", "所以", "用户", "超过", "1.5", "亿。"),
        "因为|2024年|的|GPT-4模型|非常|强大，|所以|用户|超过|1.5亿。", 50,
    ),
    Script(
        "Traditional Chinese", "zh", "今天天氣很好，我們去公園散步吧。",
        ("今天", "天氣", "很", "好，", "我們", "去", "公園", "散步吧。"),
        "今天|天氣|很|好，|我們|去|公園|散步吧。", 32,
    ),
    Script( # vowels and tone marks above and below take no column; the space is the end of a sentence
        "Thai", "th", "สวัสดีครับ วันนี้มีน้ำ", ("สวัสดี", "ครับ", "วัน", "นี้", "มี", "น้ำ"),
        "สวัสดี|ครับ |วัน|นี้|มี|น้ำ", 14, "", ("ส", "วั", "ส", "ดี"),
    ),
    spaced("Hindi", "hi", "नमस्ते |हिन्दी |भाषा ।", 13, ("न", "म", "स्ते")),
    spaced("Tamil", "ta", "நான் |பள்ளிக்குச் |சென்றேன்.", 15, ("நா", "ன்")),
    spaced("Arabic", "ar", "مَرْحَبًا |بكم، |كيف |الحال؟", 21, ("مَ", "رْ")),
    spaced("Persian", "fa", "می\u200cخواهم |کتاب\u200cها |را |بخوانم.", 25),
    spaced("Hebrew", "he", "שָׁלוֹם |עולם, |בית־|ספר |טוב!", 23, ("שָׁ", "ל", "וֹ", "ם")),
    spaced("Vietnamese, decomposed", "vi", nfd("Tiếng |Việt |rất |đẹp."), 19, ("T", "i", nfd("ế"), "n", "g")),
    spaced("Korean, decomposed", "ko", nfd("안녕하세요 |여러분."), 18, (nfd("안"), nfd("녕"))),
    spaced("German", "de", "Die |Donaudampfschifffahrtsgesellschaft |fährt |zur |U-Bahn |im |Nord-|Süd-|Netz.", 73),
    spaced("French", "fr", "Où |est-|il ? |« Là ! » ; |à |2 |h |30 |ou |12,5 % |de |150 000 € …", 56),
    spaced("Russian", "ru", "Он |сказал: |«Да», |что-|то |в |10:30.", 32),
    spaced("English", "en", "See |https://ex.org/a-b?c=1, |AT&T |at |90 |km/h |and |1,234.5 |(well-|known).", 69),
    Script(
        "Emoji", "en", f"{FAMILY} {FLAG} {KEY} {THUMB} ok ❤️", (FAMILY, FLAG, KEY, THUMB, "ok", "❤️"),
        f"{FAMILY} |{FLAG} |{KEY} |{THUMB} |ok |❤️", 17, "", (FAMILY, " ", FLAG, " ", KEY, " ", THUMB),
    ),
    Script(
        "Emoji in Japanese", "ja", f"すごい{THUMB}です", ("すごい", THUMB, "です"), f"すごい|{THUMB}です", 12,
    ),
)
