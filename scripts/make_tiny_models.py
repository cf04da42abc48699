"""Make the test fixtures: a tiny Whisper and a tiny aligner that understand 47 words, and clips with word
times.

    python scripts/make_tiny_models.py [--out DIR] [--work DIR] [--stage STAGE] [--steps-scale X]
    python scripts/make_tiny_models.py --stage evaluate [--models DIR] [--clips DIR]

Needs the `[dev,lab,whisperx,eval]` extras and, on the system, flite and espeak-ng
(Debian and Ubuntu: apt install flite espeak-ng). Writes into DIR, by default tests/fixtures/tiny:

    whisper-ct2/   a Whisper of 1.9 M parameters, CTranslate2 int8
    wav2vec2/      a Wav2Vec2ForCTC of 0.5 M parameters, safetensors fp16
    clips/         16 FLACs of sentences that no training saw, clips.json: each word's start, end and voice

The stages are synth, whisper, aligner, clips and evaluate; `all` does one after the other, and goes on from
what an earlier run left in the work folder. A stage asked for by name is done anew.

How so little training is enough: the synthesizers tell when each word is said, so nothing has to be
discovered. Whisper is told which word each encoder frame belongs to and where the decoder should look for it;
the aligner is told the frame of each character. Steps and seeds are fixed, but sums differ in their last bits
with the machine's kernels, so another machine makes other weights of about the same quality: keep those that
`evaluate` approves.
"""

import argparse
import ctypes
import json
import math
import os
import shutil
import tempfile
import time
import warnings
import zlib
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import soundfile
import torch
import torch.nn.functional as F
from make_sample import FliteWave, library, speak_espeak
from scipy.signal import resample_poly
from torch import nn

OUT = Path(__file__).parents[1] / "tests/fixtures/tiny"
STAGES = ("synth", "whisper", "aligner", "clips", "evaluate")
RATE = 16_000  # samples a second of everything after synthesis
FRAMES = 50  # frames a second of both models' encoders
THREADS = 2  # the time a run takes is told for two cores


# ---------------------------------------------------------------- the language

NAMES = "Anna Ben Clara David Emma Frank Grace Henry Julia Peter".split()
VERBS = "has wants sees finds buys sells paints counts".split()
NUMBERS = "two three four five six seven eight nine ten".split()
COLOURS = "red blue green yellow black white brown purple".split()
NOUNS = "cats dogs birds horses boxes apples chairs houses".split()
ADVERBS = "today again now".split()
WORDS = [*NAMES, *VERBS, *NUMBERS, *COLOURS, *NOUNS, *ADVERBS, "and"]
CLASS_OF = {word: i + 1 for i, word in enumerate(WORDS)}  # 0: no word


def pick(rng, options):
    "One of `options`, each as likely"
    return options[rng.integers(len(options))]


def sentence(rng):
    "A sentence of the grammar, as a list of words"
    things = lambda: [pick(rng, NUMBERS), pick(rng, COLOURS), pick(rng, NOUNS)]
    form = rng.random()
    if form < 0.40:
        said = [pick(rng, NAMES), pick(rng, VERBS), *things()]
    elif form < 0.65:
        said = [pick(rng, NAMES), pick(rng, VERBS), *things(), "and", *things()]
    elif form < 0.80:
        said = [
            pick(rng, NAMES),
            "and",
            pick(rng, NAMES),
            pick(rng, VERBS),
            pick(rng, NUMBERS),
            pick(rng, NOUNS),
        ]
    else:
        said = [pick(rng, NAMES), "counts", *(pick(rng, NUMBERS) for _ in range(rng.integers(2, 6)))]
    return said + [pick(rng, ADVERBS)] if rng.random() < 0.25 else said


def jumble(rng):
    "Words in any order, so that the decoder cannot guess from the grammar alone"
    return [pick(rng, WORDS) for _ in range(rng.integers(3, 9))]


def written(words):
    "Text of `words`: a full stop before each name that begins a sentence, and at the end"
    begins = lambda i: words[i] in NAMES and i > 0 and words[i - 1] != "and"
    return "".join((". " if begins(i) else " " if i else "") + word for i, word in enumerate(words)) + "."


# ---------------------------------------------------------------- the voices

FLITE = {"kal": 105, "awb": 130, "rms": 100, "slt": 170}  # voice: about its pitch, Hz
ESPEAK = ["en-us", "en-us+m3", "en-us+f2", "en"]  # en: British


@dataclass(frozen=True)
class Word:
    text: str
    start: float  # seconds
    end: float
    voice: str
    final: bool = False  # the last of its sentence

    def later(self, seconds):
        return replace(self, start=self.start + seconds, end=self.end + seconds)


@dataclass
class Utterance:
    samples: np.ndarray  # int16, at RATE
    words: list  # Word, seconds from the first sample


def need_synthesizers():
    "Stop with a word if flite or espeak-ng is missing"
    for name in (
        "flite",
        "flite_usenglish",
        "flite_cmulex",
        *(f"flite_cmu_us_{voice}" for voice in FLITE),
        "espeak-ng",
    ):
        library(name)


class FliteVoice(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("features", ctypes.c_void_p)]  # the first two of its fields


@cache
def flite_voice(name):
    "A flite voice made ready, and the settings it came with"
    register = getattr(library(f"flite_cmu_us_{name}"), f"register_cmu_us_{name}")
    register.restype, register.argtypes = ctypes.POINTER(FliteVoice), [ctypes.c_char_p]
    library("flite").flite_init()
    voice = register(None)
    number = library("flite").get_param_float
    number.restype, number.argtypes = ctypes.c_float, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_float]
    return voice, {
        key: number(voice.contents.features, key, 0) for key in (b"duration_stretch", b"int_f0_target_mean")
    }


def set_flite(name, stretch, pitch):
    "The voice `name`, so many times slower and at `pitch` Hz; None leaves the voice's own"
    voice, own = flite_voice(name)
    flite, features = library("flite"), voice.contents.features
    flite.feat_set_float.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_float]
    flite.feat_remove.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    for key, value in ((b"duration_stretch", stretch), (b"int_f0_target_mean", pitch)):
        value = own[key] if value is None else value
        if value:
            flite.feat_set_float(features, key, value)
        else:
            flite.feat_remove(features, key)
    return voice


def speak_flite(text, name, stretch, pitch):
    """Samples, their rate, and (word, start, end) in seconds, of `text` by a flite voice.

    Like the sample's, but a word said twice in a row stays two words: phones are told apart by their token
    itself, not by its name. The kal voice's phones sum to another length than its sound: all is scaled to the
    sound.
    """
    flite, ptr, string = library("flite"), ctypes.c_void_p, ctypes.c_char_p

    def function(fn, returns, *takes):
        fn = getattr(flite, fn)
        fn.restype, fn.argtypes = returns, takes
        return fn

    token_of, number = (
        function("path_to_item", ptr, ptr, string),
        function("ffeature_float", ctypes.c_float, ptr, string),
    )
    name_of, following = function("ffeature_string", string, ptr, string), function("item_next", ptr, ptr)

    voice = set_flite(name, stretch, pitch)
    utterance = function("flite_synth_text", ptr, string, ptr)(text.encode(), voice)
    wave = function("utt_wave", ctypes.POINTER(FliteWave), ptr)(utterance).contents
    samples, rate = np.ctypeslib.as_array(wave.samples, (wave.n,)) / 32768, wave.rate
    words, before, start = [], None, 0.0
    phone = function("relation_head", ptr, ptr)(
        function("utt_relation", ptr, ptr, string)(utterance, b"Segment")
    )
    while phone:
        # None in a pause
        end, token = number(phone, b"end"), token_of(phone, b"R:SylStructure.parent.parent.R:Token.parent")
        if token and token == before:
            words[-1][2] = end
        elif token:
            words.append([name_of(token, b"name").decode(), start, end])
        before, start, phone = token, end, following(phone)
    function("delete_utterance", None, ptr)(utterance)
    scale = len(samples) / rate / start
    return samples, rate, [(word, s * scale, e * scale) for word, s, e in words]


def at_rate(samples, rate):
    "Samples at RATE, float32"
    common = math.gcd(RATE, rate)
    return (samples if rate == RATE else resample_poly(samples, RATE // common, rate // common)).astype(
        np.float32
    )


def utter(said, voice, rng, lively=True):
    """The words `said` by a voice, or None where the synthesizer heard other words; lively: tempo and pitch
    vary more"""
    text = " ".join(said) + "."
    # of it the voices make their noise, whoever drew from it before
    ctypes.CDLL(None).srand(zlib.crc32(f"{voice}: {text}".encode()))
    if voice in FLITE:
        stretch = rng.uniform(0.85, 1.2) if lively else rng.uniform(0.9, 1.15)
        moved = lively and rng.random() < 0.7
        samples, rate, times = speak_flite(
            text, voice, stretch, FLITE[voice] * rng.uniform(0.88, 1.12) if moved else None
        )
        samples = at_rate(samples, rate)
    else:
        tempo, pitch = (
            (rng.integers(130, 191), rng.integers(35, 66))
            if lively
            else (rng.integers(135, 186), rng.integers(38, 63))
        )
        samples, rate, times = speak_espeak(
            text, SimpleNamespace(name=voice, rate=int(tempo), pitch=int(pitch))
        )
        samples = at_rate(samples, rate)
        times = within(times, samples)
    if [word for word, _, _ in times] != list(said) or np.abs(samples).max() < 0.01:
        return None
    first, last = max(0, int((times[0][1] - 0.02) * RATE)), int((times[-1][2] + 0.06) * RATE)
    words = [Word(word, s - first / RATE, e - first / RATE, voice) for word, s, e in times]
    words[-1] = replace(words[-1], final=True)
    return Utterance(as_int16(samples[first:last]), words)


def within(times, samples):
    "espeak-ng's `times`, where its events begin and end in silence: clipped to what is audible"
    heard = np.flatnonzero(np.abs(samples) > 0.01) / RATE
    if not len(heard):
        return times
    return [(word, max(s, heard[0] - 0.01), min(e, heard[-1] + 0.01)) for word, s, e in times]


def as_int16(samples):
    "Samples that peak at a half, as int16"
    return (samples / np.abs(samples).max() * 0.5 * 32767).astype(np.int16)


def by_energy(utterance):
    "A single word's utterance, timed by its own sound: a check on the synthesizers' times, and tight ones"
    loud = np.abs(utterance.samples.astype(float))
    heard = np.flatnonzero(loud > 0.02 * loud.max()) / RATE
    word = replace(utterance.words[0], start=max(0.0, heard[0] - 0.005), end=heard[-1] + 0.005, final=False)
    return Utterance(utterance.samples, [word])


# ---------------------------------------------------------------- the corpus

# sentences, rounds of the 47 words alone, sentences never trained on
SENTENCES, LONE_ROUNDS, HELD_OUT = 5000, 24, 300
PARTS = 10  # seeds, whatever the number of processes
HELD_OUT_SEED, SPEAK_SEED, TRAIN_SEED, LONE_SEED = 999, 1000, 2000, 3000


def some_voice(rng):
    "A voice: 72 % flite's"
    return pick(rng, list(FLITE) if rng.random() < 0.72 else ESPEAK)


def held_out_texts():
    "The sentences kept for clips and evaluation, always the same"
    rng, texts = np.random.default_rng(HELD_OUT_SEED), {}
    while len(texts) < HELD_OUT:
        texts[" ".join(sentence(rng))] = None
    return list(texts)


def spoken(say, count, rng, lively=True):
    "`count` utterances of what `say(i)` gives, each by some voice"
    found = []
    while len(found) < count:
        one = utter(say(len(found)), some_voice(rng), rng, lively)
        if one:
            found.append(one)
    return found


def train_part(count, part):
    "One part of the sentences to train on: none that is held out, some jumbled"
    rng, banned = np.random.default_rng(TRAIN_SEED + part), set(held_out_texts())

    def say(_):
        while True:
            said = jumble(rng) if rng.random() < 0.15 else sentence(rng)
            if " ".join(said) not in banned:
                return said

    return spoken(say, count, rng)


def lone_part(rounds, part):
    "Each word on its own, `rounds` times"
    rng = np.random.default_rng(LONE_SEED + part)
    return [by_energy(one) for one in spoken(lambda i: [WORDS[i % len(WORDS)]], rounds * len(WORDS), rng)]


def synthesize(scale):
    "All utterances to train on: (sentences, lone words)"
    need_synthesizers()
    sentences, rounds = (
        max(20, math.ceil(SENTENCES * scale / PARTS)),
        max(1, math.ceil(LONE_ROUNDS * scale / 4)),
    )
    # a new process for each part: what espeak-ng says depends, a little, on what it said before
    with ProcessPoolExecutor(THREADS, get_context("spawn"), max_tasks_per_child=1) as pool:
        parts = pool.map(partial(train_part, sentences), range(PARTS))
        lone = pool.map(partial(lone_part, rounds), range(4))
        return sum(parts, []), sum(lone, [])


@cache
def held_out():
    "The held-out sentences, spoken with less variety than in training"
    need_synthesizers()
    texts, rng = held_out_texts(), np.random.default_rng(SPEAK_SEED)
    return spoken(lambda i: texts[i].split(), len(texts), rng, lively=False)


def save_corpus(path, sets):
    "Sets of utterances into one file: {name: [Utterance]}"
    arrays = {}
    for name, utterances in sets.items():
        arrays[f"{name}.samples"] = np.concatenate([u.samples for u in utterances])
        arrays[f"{name}.ends"] = np.cumsum([len(u.samples) for u in utterances])
        arrays[f"{name}.words"] = np.array(json.dumps([[asdict(w) for w in u.words] for u in utterances]))
    with fresh(path) as part, part.open("wb") as file:
        np.savez(file, **arrays)


def load_corpus(path):
    "What `save_corpus` wrote"
    if not path.exists():
        raise SystemExit(f"{path} is not there: do --stage synth first, or all")
    with np.load(path) as arrays:
        read = lambda name: [
            Utterance(samples, [Word(**w) for w in words])
            for samples, words in zip(
                np.split(arrays[f"{name}.samples"], arrays[f"{name}.ends"][:-1]),
                json.loads(str(arrays[f"{name}.words"])),
            )
        ]
        return Corpus(read("sentences"), read("lone"))


@contextmanager
def fresh(path):
    "A path beside `path` to write a file or folder to; what is there at the end takes the place of `path`"
    part = path.with_name(path.name + ".part")
    path.parent.mkdir(parents=True, exist_ok=True)
    remove(part)
    yield part
    remove(path)
    part.rename(path)


def remove(path):
    "Remove a file or folder, if it is there"
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


# ---------------------------------------------------------------- what a training step hears


class Corpus:
    "Utterances to draw from"

    def __init__(self, sentences, lone):
        self.sentences, self.lone = sentences, lone
        self.by_voice = {}
        for u in sentences:
            self.by_voice.setdefault(u.words[0].voice, []).append(u)


def noise(n, rng):
    "White noise, or noise that falls off with frequency, at RMS 1"
    sound = rng.standard_normal(n).astype(np.float32)
    if rng.random() < 0.5:
        bins = np.fft.rfft(sound)
        bins /= np.sqrt(np.maximum(1, np.arange(len(bins)) / (0.02 * len(bins))))
        sound = np.fft.irfft(bins, n).astype(np.float32)
    return sound / (sound.std() + 1e-9)


class Track:
    "Sound that grows by pauses and utterances, with the words' times"

    def __init__(self):
        self.parts, self.words, self.n = [], [], 0

    def append(self, samples):
        self.parts.append(samples)
        self.n += len(samples)

    def pause(self, seconds):
        self.append(np.zeros(int(seconds * RATE), np.float32))

    def say(self, utterance, gain=1.0):
        self.words += [w.later(self.n / RATE) for w in utterance.words]
        self.append(utterance.samples.astype(np.float32) / 32768 * gain)

    def room_for(self, samples, seconds):
        return self.n + samples <= seconds * RATE

    @property
    def samples(self):
        return np.concatenate(self.parts)


def nothing(seconds, rng):
    "Silence or noise alone, of which nothing is to be written"
    n = int(rng.uniform(0.3, seconds) * RATE)
    return (
        noise(n, rng) * np.float32(10 ** rng.uniform(-4, -1.7))
        if rng.random() < 0.7
        else np.zeros(n, np.float32)
    )


def talk(corpus, seconds, count, rng):
    """Up to `count` sentences in up to `seconds`, mostly by one voice; one in ten is of lone words with
    pauses between"""
    track, alone, one_voice, voice = Track(), rng.random() < 0.10, rng.random() < 0.6, None
    track.pause(pick(rng, [0, rng.uniform(0, 0.1), rng.uniform(0, 0.6)]))
    for _ in range(count):
        if alone:
            chosen = [pick(rng, corpus.lone) for _ in range(rng.integers(2, 7))]
            if not track.room_for(sum(len(u.samples) + RATE // 2 for u in chosen), seconds):
                break
            for i, u in enumerate(chosen):
                if i:
                    track.pause(rng.uniform(0.03, 0.45))
                track.say(u)
            track.words[-1] = replace(track.words[-1], final=True)
        else:
            u = pick(rng, corpus.by_voice[voice] if voice and one_voice else corpus.sentences)
            if not track.room_for(len(u.samples), seconds):
                break
            voice = u.words[0].voice
            track.say(u, 10 ** rng.uniform(-0.3, 0))
        track.pause(pick(rng, [rng.uniform(0.12, 0.4), rng.uniform(0.3, 1.0)]))
    return track


def compose(corpus, seconds, rng, full=False):
    "A new piece of at most `seconds`: samples, float32, and words; full: with as many sentences as it holds"
    if rng.random() < 0.04:
        return nothing(seconds, rng), []
    track = Track()
    while not track.words:
        track = talk(corpus, seconds, 99 if full else pick(rng, [1, 1, 2, 3, 4, 6, 9, 12]), rng)
    samples, words = track.samples, track.words
    if rng.random() < 0.5:
        samples = samples[: int((words[-1].end + rng.uniform(0, 0.15)) * RATE)]  # as tight as a VAD cuts
    samples = samples[: int(seconds * RATE)] * np.float32(10 ** (rng.uniform(-18, 6) / 20))
    if rng.random() < 0.6:
        level = np.sqrt((samples**2).mean()) + 1e-6
        samples = samples + noise(len(samples), rng) * np.float32(level * 10 ** (-rng.uniform(12, 45) / 20))
    return np.clip(samples, -1, 1), words


# ---------------------------------------------------------------- training


@dataclass(frozen=True)
class Phase:
    steps: int
    mix: tuple  # (share, pieces in a batch, their seconds)
    rates: tuple  # learning rate at the phase's start and end
    guide: float = 0.0  # weight of the losses that tell the decoder where to look
    ctc: float = 0.0  # weight of the aligner's CTC loss
    full: float = 0.0  # share of the long pieces that are filled to the brim

    def batch(self, rng):
        "Pieces and seconds of a batch"
        shares = [share for share, _, _ in self.mix]
        return self.mix[rng.choice(len(shares), p=np.array(shares) / sum(shares))][1:]


WARM_UP = 100  # steps to the full learning rate


def train(name, modules, phases, scale, seed, loss_of):
    "Run the phases; loss_of(phase, pieces, seconds, rng) gives the loss and a dict of numbers to print"
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    parameters = [p for module in modules for p in module.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=phases[0].rates[0], betas=(0.9, 0.98), weight_decay=0.01)
    began, step, shown = time.monotonic(), 0, []
    lengths = [max(2, round(phase.steps * scale)) for phase in phases]
    for phase, length in zip(phases, lengths):
        for i in range(length):
            step += 1
            rate = phase.rates[0] + (phase.rates[1] - phase.rates[0]) * i / length
            for group in optimizer.param_groups:
                group["lr"] = rate * min(1, step / max(1, WARM_UP * min(1, scale)))
            loss, numbers = loss_of(phase, *phase.batch(rng), rng)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            shown.append(numbers)
            if step % 50 == 0 or step == sum(lengths):
                means = "  ".join(f"{key} {np.mean([s[key] for s in shown]):.3f}" for key in numbers)
                print(
                    f"{name}: step {step} of {sum(lengths)}, {time.monotonic() - began:.0f} s  {means}",
                    flush=True,
                )
                shown = []


def hit_rate(scores, targets, where):
    "Share of the places `where` at which the best score is the target"
    return (scores.argmax(-1) == targets)[where].float().mean().item() if where.any() else 1.0


# ---------------------------------------------------------------- Whisper

WIDTH, HEADS, LAYERS, DECODER_LAYERS = 128, 4, 3, 2  # LAYERS: the encoder's, before it grows by one
SHORT, MIDDLE, LONG = (16, 6), (8, 12), (4, 30)  # (pieces, seconds): short ones first, they teach fastest
WHISPER_SMALL = (
    Phase(850, ((1, *SHORT),), (2e-3, 1.33e-3), guide=1.0),
    Phase(500, ((0.4, *SHORT), (0.4, *MIDDLE), (0.2, *LONG)), (1.33e-3, 0.67e-3), guide=1.0),
    Phase(420, ((0.15, *SHORT), (0.35, *MIDDLE), (0.5, *LONG)), (0.67e-3, 0.06e-3), guide=0.5),
)
WHISPER_GROWN = (
    Phase(620, ((0.2, *SHORT), (0.35, *MIDDLE), (0.45, *LONG)), (1.2e-3, 0.036e-3), guide=0.7, full=0.5),
)
# the frames, from its own, that each head of an encoder layer begins by looking at
OFFSETS = ((-10, -4, 4, 10), (-20, -8, 8, 20), (-30, None, None, 30), (-60, -40, -22, 22))
TOLD_HEADS = 2  # heads of the last decoder layer that are told where to look
WHISPER_SEED, GROWN_SEED, ALIGNER_SEED, INIT_SEED = 10, 11, 12, 0


@cache
def tokenizer():
    "One token for each word with the space before it, one for each byte, and Whisper's special tokens"
    from faster_whisper.tokenizer import _LANGUAGE_CODES
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    tokens = [*sorted(pre_tokenizers.ByteLevel.alphabet()), *(f"Ġ{word}" for word in WORDS)]
    made = Tokenizer(
        models.BPE(vocab={token: i for i, token in enumerate(tokens)}, merges=[], ignore_merges=True)
    )
    made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    names = [
        "endoftext",
        "startoftranscript",
        *_LANGUAGE_CODES,
        "translate",
        "transcribe",
        "startoflm",
        "startofprev",
        "nospeech",
        "notimestamps",
        *(f"{i * 0.02:.2f}" for i in range(1501)),
    ]
    made.add_special_tokens([AddedToken(f"<|{name}|>", special=True, normalized=False) for name in names])
    return made


def special(name):
    "Number of the special token `<|name|>`"
    return tokenizer().token_to_id(f"<|{name}|>")


def whisper(layers):
    "A new Whisper with so many encoder layers, initialised so that it need not learn what is known"
    from transformers import WhisperConfig, WhisperForConditionalGeneration

    end = special("endoftext")
    torch.manual_seed(INIT_SEED)
    model = WhisperForConditionalGeneration(
        WhisperConfig(
            vocab_size=tokenizer().get_vocab_size(),
            d_model=WIDTH,
            encoder_layers=layers,
            decoder_layers=DECODER_LAYERS,
            encoder_attention_heads=HEADS,
            decoder_attention_heads=HEADS,
            encoder_ffn_dim=4 * WIDTH,
            decoder_ffn_dim=4 * WIDTH,
            num_mel_bins=80,
            bos_token_id=end,
            eos_token_id=end,
            pad_token_id=end,
            decoder_start_token_id=special("startoftranscript"),
            suppress_tokens=[],
            begin_suppress_tokens=[],
        )
    )
    settings = model.generation_config
    settings.suppress_tokens, settings.begin_suppress_tokens = [], []
    settings.alignment_heads = [[DECODER_LAYERS - 1, head] for head in range(TOLD_HEADS)]
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
        if isinstance(module, nn.Conv1d):
            nn.init.kaiming_uniform_(module.weight, nonlinearity="relu")
    encoder, decoder = model.model.encoder, model.model.decoder
    for layer, offsets, gain in zip(encoder.layers, OFFSETS, (1.2, 1.0, 0.8)):
        look_aside(layer.self_attn, offsets, gain)
    with torch.no_grad():
        decoder.embed_tokens.weight.normal_(0, 0.15)
        decoder.embed_positions.weight.copy_(
            0.3 * encoder.embed_positions.weight[: len(decoder.embed_positions.weight)]
        )
    look_aside(decoder.layers[0].self_attn, (-1, -2, -3, None), 2.0)
    model.proj_out.weight = decoder.embed_tokens.weight
    return model


def look_aside(attention, offsets, gain):
    """Have each head of an attention look a fixed number of places away from its own; None: leave the head as
    it is.

    Positions are sinusoids, so a rotation moves them: with keys p(s) and queries p(t) rotated by the offset,
    their product is largest at s = t + offset. The slower half of the sinusoids is left out: it tells near
    places apart badly.
    """
    size, half = WIDTH // HEADS, WIDTH // 2
    pairs = size // 2
    chosen = torch.linspace(0, half / 2, pairs).long()
    speed = torch.exp(-math.log(10_000) / (half - 1) * chosen)
    rows = torch.arange(pairs)
    with torch.no_grad():
        for head, offset in enumerate(offsets):
            if offset is None:
                continue
            query, key = torch.zeros(size, WIDTH), torch.zeros(size, WIDTH)
            cos, sin = gain * torch.cos(speed * offset), gain * torch.sin(speed * offset)
            query[rows, chosen], query[rows, half + chosen] = cos, sin  # sin(w (t + offset))
            query[pairs + rows, half + chosen], query[pairs + rows, chosen] = cos, -sin  # cos(w (t + offset))
            key[rows, chosen] = key[pairs + rows, half + chosen] = gain
            part = slice(head * size, (head + 1) * size)
            attention.q_proj.weight[part] = query + 0.02 * torch.randn_like(query)
            attention.k_proj.weight[part] = key + 0.02 * torch.randn_like(key)


def grow(model):
    "The model with one more encoder layer, which at first changes next to nothing"
    grown = whisper(LAYERS + 1)
    grown.load_state_dict(model.state_dict(), strict=False)
    layer = grown.model.encoder.layers[-1]
    look_aside(layer.self_attn, OFFSETS[-1], 0.9)
    with torch.no_grad():
        nn.init.normal_(layer.self_attn.out_proj.weight, 0, 0.01)
        layer.fc2.weight.mul_(0.05)
        for module in (layer.self_attn.out_proj, layer.fc2):
            module.bias.zero_()
    return grown


def heads_of(x):
    "(batch, places, width) as (batch, heads, places, width of a head)"
    return x.unflatten(-1, (HEADS, -1)).transpose(1, 2)


def attend(layer, x, memory, causal=False, tell=False):
    "What an attention layer gives for `x`, and, if it is to tell, the log of its weights"
    query, key, value = (
        heads_of(layer.q_proj(x)),
        heads_of(layer.k_proj(memory)),
        heads_of(layer.v_proj(memory)),
    )
    weights = None
    if tell:
        weights = (query @ key.transpose(2, 3) * layer.scaling).log_softmax(-1)
        mixed = weights.exp() @ value
    else:
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=causal)
    return layer.out_proj(mixed.transpose(1, 2).flatten(2)), weights


def feed_forward(layer, x):
    "A layer's second half"
    return x + layer.fc2(F.gelu(layer.fc1(layer.final_layer_norm(x))))


def encode(model, mel):
    "The encoder's output, for sound of any length: the library's own insists on 30 seconds"
    encoder = model.model.encoder
    x = F.gelu(encoder.conv2(F.gelu(encoder.conv1(mel)))).transpose(1, 2)
    x = x + encoder.embed_positions.weight[: x.shape[1]]
    for layer in encoder.layers:
        normal = layer.self_attn_layer_norm(x)
        x = feed_forward(layer, x + attend(layer.self_attn, normal, normal)[0])
    return encoder.layer_norm(x)


def decode(model, tokens, heard):
    "Scores of the next token at each place, and each layer's log weights over the encoder's frames"
    decoder, looks = model.model.decoder, []
    x = decoder.embed_tokens(tokens) + decoder.embed_positions.weight[: tokens.shape[1]]
    for layer in decoder.layers:
        normal = layer.self_attn_layer_norm(x)
        x = x + attend(layer.self_attn, normal, normal, causal=True)[0]
        seen, weights = attend(layer.encoder_attn, layer.encoder_attn_layer_norm(x), heard, tell=True)
        x = feed_forward(layer, x + seen)
        looks.append(weights)
    return model.proj_out(decoder.layer_norm(x)), looks


@cache
def mel_filters():
    "Whisper's 80 mel filters"
    import faster_whisper.feature_extractor as extractor

    return torch.from_numpy(extractor.FeatureExtractor(feature_size=80).mel_filters.astype(np.float32))


def log_mel(samples):
    "Whisper's features of a batch, each piece against its own loudest bin"
    power = (
        torch.stft(samples, 400, 160, window=torch.hann_window(400), return_complex=True)[..., :-1].abs() ** 2
    )
    mel = (mel_filters() @ power).clamp(min=1e-10).log10()
    return (torch.maximum(mel, mel.amax((1, 2), keepdim=True) - 8) + 4) / 4


def frames_of(word):
    "First and last+1 frame of a word, two at least"
    first = round(word.start * FRAMES)
    return first, max(first + 2, round(word.end * FRAMES))


def script(words, frames, prompt):
    "Tokens to be written after `prompt`, and the frames to look at for each: (tokens, [(first, last+1)])"
    tokens, spans = list(prompt), []
    for i, word in enumerate(words):
        first, last = frames_of(word)
        tokens.append(tokenizer().token_to_id(f"Ġ{word.text}"))
        spans.append((max(0, first - 1), min(frames, last + 1)))
        if word.final:  # the full stop is in the pause
            following = round(words[i + 1].start * FRAMES) if i + 1 < len(words) else last + 15
            tokens.append(tokenizer().token_to_id("."))
            spans.append((max(0, last - 4), min(frames, max(last + 2, following))))
    tokens.append(special("endoftext"))  # and the end is after it
    end = spans[-1][1] if spans else 0
    spans.append((min(end, frames - 2), min(frames, end + 25)))
    return tokens, spans


@dataclass
class WhisperBatch:
    mel: torch.Tensor  # (batch, 80, 2 * frames)
    tokens: torch.Tensor  # (batch, places)
    targets: torch.Tensor  # the token after each; -100: none to learn
    look: torch.Tensor  # (batch, places, frames): where to look for the target
    classes: torch.Tensor  # (batch, frames): number of the word, 0: none


def whisper_batch(corpus, pieces, seconds, rng, full=0.0):
    "A batch of new pieces and all that is known of them"
    frames = int(seconds * FRAMES)
    # a vocabulary this small counts as English only, for which the prompt is the short one; a full one is
    # understood too
    short = [special("startoftranscript"), special("notimestamps")]
    long = [special("startoftranscript"), special("en"), special("transcribe"), special("notimestamps")]
    samples, classes, scripts = (
        torch.zeros(pieces, int(seconds * RATE)),
        torch.zeros(pieces, frames, dtype=torch.long),
        [],
    )
    for i in range(pieces):
        sound, words = compose(corpus, seconds, rng, full=seconds >= 20 and rng.random() < full)
        samples[i, : len(sound)] = torch.from_numpy(sound)
        for word in words:
            classes[i, slice(*frames_of(word))] = CLASS_OF[word.text]
        prompt = long if rng.random() < 0.3 else short
        scripts.append((len(prompt), *script(words, frames, prompt)))
    places = max(len(tokens) for _, tokens, _ in scripts) - 1
    batch = WhisperBatch(
        log_mel(samples),
        torch.full((pieces, places), special("endoftext")),
        torch.full((pieces, places), -100),
        torch.zeros(pieces, places, frames, dtype=torch.bool),
        classes,
    )
    for i, (prompt, tokens, spans) in enumerate(scripts):
        batch.tokens[i, : len(tokens) - 1] = torch.tensor(tokens[:-1])
        batch.targets[i, prompt - 1 : len(tokens) - 1] = torch.tensor(tokens[prompt:])
        for place, (first, last) in enumerate(spans, prompt - 1):
            batch.look[i, place, first:last] = True
    return batch


def astray(log_weights, look, where):
    """How little of an attention's weight lies where it should look: mean -log of the share; log_weights
    (batch, heads, ...)"""
    share = torch.logsumexp(log_weights.masked_fill(~look[:, None], -1e4), -1).mean(1)
    return -share.clamp(min=-12)[where].mean() if where.any() else log_weights.new_zeros(())


def whisper_loss(model, frame_head, corpus, phase, pieces, seconds, rng):
    "Loss of the tokens, of the frames' words and of where the decoder looks"
    batch = whisper_batch(corpus, pieces, seconds, rng, phase.full)
    heard = encode(model, batch.mel)
    scores, looks = decode(model, batch.tokens, heard)
    known = batch.targets != -100
    token_loss = F.cross_entropy(
        scores.flatten(0, 1), batch.targets.flatten(), ignore_index=-100, label_smoothing=0.02
    )
    classes = frame_head(heard)
    frame_loss = F.cross_entropy(classes.flatten(0, 1), batch.classes.flatten())
    # the last layer looks at the word to write; one head of the first at the word before, to know what is
    # written already
    here = astray(looks[-1][:, :TOLD_HEADS], batch.look, known)
    shifted = F.pad(known, (1, 0))[:, :-1] & known
    before = astray(looks[0][:, :1], torch.cat([batch.look[:, :1], batch.look[:, :-1]], 1), shifted)
    loss = token_loss + 0.7 * frame_loss + phase.guide * (here + 0.5 * before)
    return loss, {
        "token loss": token_loss.item(),
        "frame loss": frame_loss.item(),
        "astray": here.item(),
        "tokens right": hit_rate(scores, batch.targets, known),
        "frames right": hit_rate(classes, batch.classes, batch.classes > 0),
    }


def train_whisper(corpus, work, scale):
    "Train, grow, train on; each part's weights stay in `work`. Returns the model"
    small, frame_head = whisper(LAYERS), nn.Linear(WIDTH, len(WORDS) + 1)
    if not restore(work / "whisper-small.pt", small, frame_head):
        train(
            "Whisper",
            (small, frame_head),
            WHISPER_SMALL,
            scale,
            WHISPER_SEED,
            partial(whisper_loss, small, frame_head, corpus),
        )
        keep(work / "whisper-small.pt", small, frame_head)
    grown = grow(small)
    if not restore(work / "whisper-grown.pt", grown):
        train(
            "Whisper, grown",
            (grown, frame_head),
            WHISPER_GROWN,
            scale,
            GROWN_SEED,
            partial(whisper_loss, grown, frame_head, corpus),
        )
        keep(work / "whisper-grown.pt", grown)
    return grown


def keep(path, *modules):
    "The modules' weights into a file"
    with fresh(path) as part:
        torch.save([m.state_dict() for m in modules], part)


def restore(path, *modules):
    "The modules' weights from a file; False if it is not there"
    if not path.exists():
        return False
    for module, state in zip(modules, torch.load(path, weights_only=True)):
        module.load_state_dict(state)
    return True


def export_whisper(model, folder):
    "The model as CTranslate2 int8"
    from ctranslate2.converters import TransformersConverter
    from transformers import WhisperFeatureExtractor, WhisperTokenizerFast

    end, files = "<|endoftext|>", ["tokenizer.json", "preprocessor_config.json"]
    with fresh(folder) as part, tempfile.TemporaryDirectory() as there:
        model.eval().save_pretrained(there)
        tokenizer().save(f"{there}/tokenizer.json")
        WhisperTokenizerFast(
            tokenizer_file=f"{there}/tokenizer.json", bos_token=end, eos_token=end, unk_token=end
        ).save_pretrained(there)
        tokenizer().save(f"{there}/tokenizer.json")  # as it was, without what the class above adds
        features = WhisperFeatureExtractor(feature_size=80).to_dict()
        features.pop("mel_filters", None)
        Path(there, "preprocessor_config.json").write_text(json.dumps(features, indent=2) + "\n")
        TransformersConverter(there, copy_files=files).convert(str(part), quantization="int8")


# ---------------------------------------------------------------- the aligner

CHARACTERS = ["<pad>", "<s>", "</s>", "<unk>", "|", *"ETAONIHSRDLUMWCFGYPBVK'XJQZ"]
CODE = {character: i for i, character in enumerate(CHARACTERS)}
BLANK, BAR = CODE["<pad>"], CODE["|"]
CHANNELS, KERNEL = 96, 80
ALIGNER_MIX = ((0.7, 16, 4), (0.3, 8, 10))
ALIGNER = (
    # little CTC until the frames' own loss has found the characters
    Phase(360, ALIGNER_MIX, (2e-3, 1.4e-3), ctc=0.05),
    Phase(840, ALIGNER_MIX, (1.4e-3, 0.06e-3), ctc=0.3),
)
# An aligner multiplies its frames by the sound's length over their number, which is a little more than a
# frame's
# 20 ms, as the last one needs 22.5 ms to fit: half way through, times come out a third of a frame late.
LATE = 0.3


def aligner():
    """A new Wav2Vec2ForCTC with a short stack of convolutions, 20 ms a frame, the first of them a bank of
    band-passes"""
    from transformers import Wav2Vec2Config, Wav2Vec2ForCTC

    torch.manual_seed(INIT_SEED)
    model = Wav2Vec2ForCTC(
        Wav2Vec2Config(
            vocab_size=len(CHARACTERS),
            hidden_size=WIDTH,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=3 * WIDTH,
            conv_dim=(CHANNELS,) * 4,
            conv_kernel=(KERNEL, 2, 2, 2),
            conv_stride=(40, 2, 2, 2),
            num_feat_extract_layers=4,
            conv_bias=True,
            num_conv_pos_embeddings=32,
            num_conv_pos_embedding_groups=4,
            feat_extract_norm="layer",
            do_stable_layer_norm=True,
            hidden_dropout=0.0,
            attention_dropout=0.0,
            activation_dropout=0.0,
            feat_proj_dropout=0.0,
            final_dropout=0.0,
            layerdrop=0.0,
            apply_spec_augment=False,
            mask_time_prob=0.0,
            ctc_zero_infinity=True,
            pad_token_id=BLANK,
        )
    )
    first = model.wav2vec2.feature_extractor.conv_layers[0].conv
    mel = torch.linspace(hz_to_mel(150), hz_to_mel(7200), CHANNELS // 2)
    phase = (
        2
        * math.pi
        / RATE
        * (700 * (10 ** (mel / 2595) - 1))[:, None]
        * (torch.arange(KERNEL) - (KERNEL - 1) / 2)
    )
    window = torch.hann_window(KERNEL, periodic=False) / 4
    with torch.no_grad():
        first.weight[0::2, 0], first.weight[1::2, 0] = window * torch.cos(phase), window * torch.sin(phase)
        first.bias.zero_()
    return model


def hz_to_mel(frequency):
    "Frequency in mel"
    return 2595 * math.log10(1 + frequency / 700)


def spikes(words, frames):
    """(frame, character) for each character and each word's closing bar, no two in the same frame.

    An aligner starts a word at its first character's frame and ends it at the bar's. Words mostly follow one
    another without a pause: then the boundary lies between the two, so that the end comes half a frame early
    and the next start half a frame late, and neither is further off than a frame. At the end of a sentence
    the bar takes two frames: the full stop, which the aligner knows not but takes for any character, finds
    one and the space the other.
    """
    wanted = []
    for i, word in enumerate(words):
        start, end = word.start * FRAMES - LATE, word.end * FRAMES - LATE
        following = math.floor(words[i + 1].start * FRAMES - LATE) if i + 1 < len(words) else frames
        letters, bar = word.text.upper(), min(round(end), following)
        at = [round(start), *(int(start + (end - start) * j / len(letters)) for j in range(1, len(letters)))]
        wanted += zip(at, (CODE[c] for c in letters))
        if word.final and at[-1] < bar - 1:
            wanted.append((bar - 1, BAR))
        wanted.append((bar, BAR))
    placed, last = [], -1
    for at, code in wanted:
        last = max(at, last + 1)
        if last < frames:
            placed.append((last, code))
    return placed


def collapse(codes):
    "The codes with two bars in a row as one, which is how CTC reads them"
    return [code for i, code in enumerate(codes) if code != BAR or i == 0 or codes[i - 1] != BAR]


def aligner_loss(model, frame_head, corpus, phase, pieces, seconds, rng):
    "Loss of the characters at their frames, of the characters in any frames (CTC) and of the frames' words"
    n = int(seconds * RATE)
    frames = int(model._get_feat_extract_output_lengths(n))
    samples = torch.zeros(pieces, n)
    targets, classes = (torch.full((pieces, frames), value, dtype=torch.long) for value in (BLANK, 0))
    texts = []
    for i in range(pieces):
        sound, words = compose(corpus, seconds, rng)
        samples[i, : len(sound)] = torch.from_numpy(sound)
        if len(sound) < n and rng.random() < 0.7:
            samples[i, len(sound) :] = torch.from_numpy(noise(n - len(sound), rng)) * 10 ** rng.uniform(
                -5, -2.5
            )
        for word in words:
            classes[i, slice(*frames_of(word))] = CLASS_OF[word.text]
        placed = spikes(words, frames)
        for at, code in placed:
            targets[i, at] = code
        texts.append(collapse([code for _, code in placed]))
    heard = model.wav2vec2(samples).last_hidden_state
    scores, word_scores = model.lm_head(heard), frame_head(heard)
    weight = torch.full((len(CHARACTERS),), 3.0)  # most frames are blank
    weight[BLANK] = 1.0
    spike_loss = F.cross_entropy(scores.flatten(0, 1), targets.flatten(), weight=weight)
    word_loss = F.cross_entropy(word_scores.flatten(0, 1), classes.flatten())
    said = [i for i, text in enumerate(texts) if text]
    ctc = (
        F.ctc_loss(
            scores.log_softmax(-1)[said].transpose(0, 1),
            torch.tensor(sum(texts, [])),
            torch.full((len(said),), frames),
            torch.tensor([len(texts[i]) for i in said]),
            blank=BLANK,
            zero_infinity=True,
        )
        if said
        else 0 * spike_loss
    )
    loss = spike_loss + 0.5 * word_loss + phase.ctc * ctc
    return loss, {
        "spike loss": spike_loss.item(),
        "CTC": ctc.item(),
        "spikes right": hit_rate(scores, targets, targets != BLANK),
        "blanks right": hit_rate(scores, targets, targets == BLANK),
        "frames right": hit_rate(word_scores, classes, classes > 0),
    }


def train_aligner(corpus, work, scale):
    "Train the aligner; its weights stay in `work`"
    model = aligner()
    if not restore(work / "aligner.pt", model):
        frame_head = nn.Linear(WIDTH, len(WORDS) + 1)
        train(
            "aligner",
            (model.train(), frame_head),
            ALIGNER,
            scale,
            ALIGNER_SEED,
            partial(aligner_loss, model, frame_head, corpus),
        )
        keep(work / "aligner.pt", model)
    return model


def export_aligner(model, folder):
    "The model as safetensors in half precision, with its processor"
    from safetensors.torch import load_file, save_file
    from transformers import Wav2Vec2CTCTokenizer, Wav2Vec2FeatureExtractor, Wav2Vec2Processor

    with fresh(folder) as part:
        model.eval().save_pretrained(part)
        # halved in the file only: its config goes on asking for float32, which is what a CPU computes in
        halves = {key: value.half() for key, value in load_file(part / "model.safetensors").items()}
        save_file(halves, part / "model.safetensors", metadata={"format": "pt"})
        (part / "vocab.json").write_text(json.dumps(CODE))
        characters = Wav2Vec2CTCTokenizer(str(part / "vocab.json"), do_lower_case=False)
        Wav2Vec2Processor(Wav2Vec2FeatureExtractor(do_normalize=False), characters).save_pretrained(part)


# ---------------------------------------------------------------- the clips

SINGLE_CLIPS, JOINED_CLIPS, CLIP_SEED = 10, 6, 20
LEAD, HISS = 0.4, 1e-3  # seconds before the first sentence, RMS of the noise under all


@dataclass
class Clip:
    samples: np.ndarray  # float32, at RATE
    words: list  # Word


def join(utterances, rng):
    "Sentences with pauses between and a little noise under them"
    track = Track()
    track.pause(LEAD)
    for i, u in enumerate(utterances):
        if i:
            track.pause(rng.uniform(0.25, 0.9))
        track.say(u, 0.8)
    track.pause(0.4)
    samples = track.samples + rng.standard_normal(track.n).astype(np.float32) * np.float32(HISS)
    return Clip(samples, track.words)


def repeats(utterance):
    "Whether a word is said twice in a row, which small Whispers tend to write once"
    return any(a.text == b.text for a, b in zip(utterance.words, utterance.words[1:]))


def clip_sentences():
    "Held-out sentences in the clips' order, the voices in turn: no two clips share one"
    queues = {
        voice: [u for u in held_out() if u.words[0].voice == voice and not repeats(u)]
        for voice in [*FLITE, *ESPEAK]
    }
    return [queue[i] for i in range(min(map(len, queues.values()))) for queue in queues.values()]


def make_clips():
    "The clips: single sentences, then three or four together"
    sentences, rng = iter(clip_sentences()), np.random.default_rng(CLIP_SEED)
    return [
        join([next(sentences) for _ in range(count)], rng)
        for count in [1] * SINGLE_CLIPS + [3, 4] * (JOINED_CLIPS // 2)
    ]


def export_clips(clips, folder):
    "The clips as FLAC, and their truth"
    truth = {}
    with fresh(folder) as part:
        part.mkdir()
        for i, clip in enumerate(clips):
            soundfile.write(part / f"clip{i:02}.flac", clip.samples, RATE, subtype="PCM_16")
            truth[f"clip{i:02}"] = {
                "seconds": round(len(clip.samples) / RATE, 3),
                "words": [
                    {"word": w.text, "start": round(w.start, 3), "end": round(w.end, 3), "voice": w.voice}
                    for w in clip.words
                ],
            }
        (part / "clips.json").write_text(json.dumps(truth, indent=0) + "\n")


def read_clips(folder):
    "What `export_clips` wrote"
    truth = json.loads((folder / "clips.json").read_text())
    return [
        Clip(
            soundfile.read(folder / f"{name}.flac", dtype="float32")[0],
            [Word(w["word"], w["start"], w["end"], w["voice"]) for w in known["words"]],
        )
        for name, known in truth.items()
    ]


# ---------------------------------------------------------------- the evaluation

FRESH_SINGLE, FRESH_JOINED, FRESH_SEED = 40, 20, 30


def fresh_clips():
    "Held-out sentences that are in none of the clips: {name of the set: clips}"
    rng, used = (
        np.random.default_rng(FRESH_SEED),
        {id(u) for u in clip_sentences()[: SINGLE_CLIPS + 7 * JOINED_CLIPS // 2]},
    )
    rest = [u for u in held_out() if id(u) not in used]
    order = [rest[i] for i in rng.permutation(len(rest))]
    single, others = order[:FRESH_SINGLE], iter(order[FRESH_SINGLE:])
    joined = [[next(others) for _ in range(rng.integers(3, 6))] for _ in range(FRESH_JOINED)]
    return {
        "fresh sentences": [join([u], rng) for u in single],
        "fresh, 3 to 5 joined": [join(us, rng) for us in joined],
    }


def plain(text):
    "Words of `text`, lower case, without full stops"
    return text.lower().replace(".", " ").split()


def load_models(folder):
    "transcribe(samples) -> text, and align(samples, text) -> [(start, end)], as whisperx does them"
    os.environ["HF_HUB_OFFLINE"] = "1"
    warnings.filterwarnings("ignore")  # of pyannote, on decoders that nothing here asks for
    import whisperx
    import whisperx.alignment
    from nltk.tokenize.punkt import PunktSentenceTokenizer

    # its sentence splitter is a download; an untrained one does, as no full stop here ends an abbreviation
    whisperx.alignment.nltk_load = lambda _: PunktSentenceTokenizer()
    asr = whisperx.load_model(
        str(folder / "whisper-ct2"),
        device="cpu",
        compute_type="int8",
        language="en",
        vad_method="pyannote",
        threads=THREADS,
    )
    model, about = whisperx.load_align_model("en", "cpu", model_name=str(folder / "wav2vec2"))

    def transcribe(samples):
        return " ".join(s["text"] for s in asr.transcribe(samples, batch_size=4)["segments"])

    def align(samples, text):
        whole = [{"start": 0.0, "end": len(samples) / RATE, "text": text}]
        return [
            (w["start"], w["end"])
            for w in whisperx.align(whole, model, about, samples, "cpu")["word_segments"]
        ]

    return transcribe, align


def errors_line(name, errors):
    "Statistics of errors in seconds, as a line"
    ms = 1000 * np.array(errors)
    size = np.abs(ms)
    return (
        f"    {name:22} signed median {np.median(ms):+4.0f}, median {np.median(size):3.0f}, p90 "
        f"{np.percentile(size, 90):3.0f}, "
        f"max {size.max():3.0f} ms; within 50 ms {np.mean(size <= 50):6.1%}, within 80 ms "
        f"{np.mean(size <= 80):6.1%}"
    )


def judge(name, clips, transcribe, align):
    "Print how well the models do on clips: the words as heard, and the times of the true words"
    import jiwer

    truths, heard, starts, ends, last_ends, lost, first_bad = [], [], [], [], [], 0, []
    for clip in clips:
        truth = [w.text for w in clip.words]
        truths.append(" ".join(truth).lower())
        heard.append(" ".join(plain(transcribe(clip.samples))))
        if heard[-1] != truths[-1]:
            first_bad.append(f"    {truths[-1]}\n  > {heard[-1]}")
        times = align(clip.samples, written(truth))
        if len(times) != len(truth):
            lost += 1
            continue
        starts += [start - w.start for (start, _), w in zip(times, clip.words)]
        ends += [end - w.end for (_, end), w in zip(times[:-1], clip.words)]
        last_ends.append(times[-1][1] - clip.words[-1].end)
    count = sum(len(t.split()) for t in truths)
    print(
        f"{name}: {len(clips)} clips, {count} words: WER {jiwer.wer(truths, heard):.2%}, "
        f"exact {1 - len(first_bad) / len(clips):.1%}" + (f", {lost} not aligned" if lost else "")
    )
    if starts:
        print(errors_line("word starts", starts))
        print(errors_line("word ends but the last", ends))
        print(errors_line("end of the last word", last_ends))
    print("\n".join(first_bad[:3]), end="\n" if first_bad else "", flush=True)


def evaluate(models, clips):
    "Judge the models in a folder on clips of a folder and on fresh ones"
    print(f"-- models of {models}")
    # first: the models' threads draw from the voices' noise
    sets = {f"clips of {clips}": read_clips(clips), **fresh_clips()}
    tools = load_models(models)
    for name, ones in sets.items():
        judge(name, ones, *tools)


# ---------------------------------------------------------------- the stages


def synth_stage(args, anew):
    path = args.work / "corpus.npz"
    if path.exists() and not anew:
        return
    sentences, lone = synthesize(args.steps_scale)
    save_corpus(path, {"sentences": sentences, "lone": lone})
    minutes = sum(len(u.samples) for u in [*sentences, *lone]) / RATE / 60
    print(f"corpus: {len(sentences)} sentences, {len(lone)} lone words, {minutes:.0f} minutes")


def whisper_stage(args, anew):
    if anew:
        for name in ("small", "grown"):
            remove(args.work / f"whisper-{name}.pt")
    export_whisper(
        train_whisper(load_corpus(args.work / "corpus.npz"), args.work, args.steps_scale),
        args.out / "whisper-ct2",
    )


def aligner_stage(args, anew):
    if anew:
        remove(args.work / "aligner.pt")
    export_aligner(
        train_aligner(load_corpus(args.work / "corpus.npz"), args.work, args.steps_scale),
        args.out / "wav2vec2",
    )


def clips_stage(args, anew):
    export_clips(make_clips(), args.out / "clips")


def evaluate_stage(args, anew):
    evaluate(args.models or args.out, args.clips or args.out / "clips")


def main(args):
    "Do the stages asked for"
    args.work = args.work / f"scale-{args.steps_scale:g}"  # runs of other lengths have other weights
    args.work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(THREADS)
    for stage in STAGES if args.stage == "all" else (args.stage,):
        began = time.monotonic()
        globals()[f"{stage}_stage"](args, anew=args.stage != "all")
        print(f"== {stage}: {time.monotonic() - began:.0f} s", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--out", type=Path, default=OUT, help="folder to write into (default: tests/fixtures/tiny)"
    )
    parser.add_argument(
        "--work",
        type=Path,
        default=Path(tempfile.gettempdir()) / "tiny-models",
        help="folder for what a run can go on from",
    )
    parser.add_argument("--stage", choices=[*STAGES, "all"], default="all")
    parser.add_argument(
        "--steps-scale",
        type=float,
        default=1.0,
        metavar="X",
        help="so many times the steps and sentences; 0.01 to try it out",
    )
    parser.add_argument(
        "--models", type=Path, help="evaluate the models of this folder (default: those of --out)"
    )
    parser.add_argument(
        "--clips", type=Path, help="evaluate on the clips of this folder (default: those of --out)"
    )
    main(parser.parse_args())
