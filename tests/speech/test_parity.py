"""What the tiny models can't cover, on random weights: languages, standard layouts, half precision, timestamp
tokens."""
import json

import numpy as np
import pytest

pytest.importorskip("whisperx", reason="needs the extra [whisperx]")

from ecg_audio_nb.speech.align import CtcAligner
from ecg_audio_nb.speech.ctc import CtcModel, load_ctc, viterbi_align, tokenize
from ecg_audio_nb.audio.media import Audio, load_audio
from ecg_audio_nb.models import Weights, find_weights
from ecg_audio_nb.schema import ModelInfo, Word
from ecg_audio_nb.settings import load_settings
from ecg_audio_nb.speech.transcribe import (
    Transcript,
    WhisperTranscriber,
    sample_evenly,
    _Transcription,
    _find_language,
)
from ecg_audio_nb.speech.whisper import build_prompt

LANGUAGES = 99 # of Whisper before large-v3
TEXT_TOKENS = 50257 # <|endoftext|>


@pytest.fixture(scope="module")
def clip(root): return load_audio(root / "tests/fixtures/tiny/clips/clip13.flac")


# Whisper with all its languages

def special_tokens():
    from transformers.models.whisper.tokenization_whisper import LANGUAGES as in_order
    codes = list(in_order)[:LANGUAGES]
    names = [
        "<|endoftext|>",
        "<|startoftranscript|>",
        *(f"<|{c}|>" for c in codes),
        "<|translate|>",
        "<|transcribe|>",
        "<|startoflm|>",
        "<|startofprev|>",
        "<|nospeech|>",
        "<|notimestamps|>",
        *(f"<|{i * 0.02:.2f}|>" for i in range(1501)),
    ]
    return names, codes


@pytest.fixture(scope="module")
def many_languages(tmp_path_factory):
    """A multilingual Whisper of random weights in CTranslate2's form, with a tokenizer whose special tokens
    stand where they belong"""
    import torch
    from ctranslate2.converters import TransformersConverter
    from tokenizers import Tokenizer, decoders, models as token_models, pre_tokenizers
    from transformers import (
        PreTrainedTokenizerFast,
        WhisperConfig,
        WhisperFeatureExtractor,
        WhisperForConditionalGeneration,
    )

    folder = tmp_path_factory.mktemp("whisper")
    names, codes = special_tokens()
    # the empty token tells CTranslate2 of many languages
    vocab = {f"w{i}": i for i in range(TEXT_TOKENS - 1)} | {"": TEXT_TOKENS - 1}
    tokenizer = Tokenizer(token_models.BPE(vocab, [], unk_token="w0"))
    tokenizer.pre_tokenizer, tokenizer.decoder = (
        pre_tokenizers.ByteLevel(add_prefix_space=False),
        decoders.ByteLevel(),
    )
    tokenizer.add_special_tokens(names)
    assert tokenizer.token_to_id("<|startoftranscript|>") == 50258
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|endoftext|>").save_pretrained(
        folder / "hf"
    )
    size = len(vocab) + len(names)
    config = WhisperConfig(
        vocab_size=size,
        d_model=64,
        encoder_layers=1,
        decoder_layers=2,
        encoder_attention_heads=1,
        decoder_attention_heads=1,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        suppress_tokens=[],
        begin_suppress_tokens=[],
    )
    torch.manual_seed(0)
    model = WhisperForConditionalGeneration(config)
    model.generation_config.alignment_heads = [[1, 0]]
    model.generation_config.no_timestamps_token_id = tokenizer.token_to_id("<|notimestamps|>")
    model.save_pretrained(folder / "hf")
    WhisperFeatureExtractor().save_pretrained(folder / "hf")
    TransformersConverter(
        str(folder / "hf"), copy_files=["tokenizer.json", "preprocessor_config.json"]
    ).convert(str(folder / "ct2"))
    about = json.loads((folder / "ct2/config.json").read_text()) # the converter loses them
    about["lang_ids"] = [tokenizer.token_to_id(f"<|{c}|>") for c in codes]
    (folder / "ct2/config.json").write_text(json.dumps(about))
    return folder / "ct2"


def whisper(folder, **more):
    settings = load_settings({"runtime.device": "cpu", "transcribe.model": str(folder), **more})
    return WhisperTranscriber(find_weights(str(folder), "transcribe"), settings)


def detect(engine, clip, spans):
    return _find_language(_Transcription(engine, clip, spans, spans, lambda fraction: None), "auto")


def test_one_window_gives_whisperx_s_language(many_languages, clip, monkeypatch):
    "WhisperX fills every window up to 30 s; here the encoder is given the same"
    from whisperx.asr import load_model
    from ecg_audio_nb.speech import whisper as module
    monkeypatch.setattr(module, "TRAILING_SILENCE", 30.0)
    engine = whisper(many_languages, **{"transcribe.compute_type": "float32"})
    peer = load_model(str(many_languages), "cpu", compute_type="float32", vad_model=lambda *_: None)
    span = (0.0, min(clip.duration, 30.0))
    code, p, notes = detect(engine, clip, [span])
    assert code == peer.detect_language(clip.cut(*span).samples) and 0 < p < 0.6
    assert ["is a guess" in note for note in notes] == [True] # random weights


def test_several_windows_are_decided_by_their_sum(many_languages, clip):
    engine = whisper(many_languages, **{"transcribe.compute_type": "float32"})
    spans = [(0.0, 3.0), (3.0, 6.0), (6.0, 9.0)]
    each = [
        dict(engine.whisper.network.detect_language(engine.whisper.encode([clip.cut(*s).samples]))[0])
        for s in sample_evenly(spans)
    ]
    total = {token: sum(e[token] for e in each) / 3 for token in each[0]}
    best = max(total, key=total.get)
    code, p, _ = detect(engine, clip, spans)
    assert f"<|{code}|>" == best and p == pytest.approx(total[best], rel=1e-5)


@pytest.mark.parametrize("language, task", [("ko", "transcribe"), ("ja", "translate")])
def test_language_and_task_stand_in_the_prompt(many_languages, language, task):
    engine = whisper(many_languages, **{"transcribe.task": task})
    prompt = build_prompt(engine.whisper, language, engine.settings.transcribe)
    assert prompt == ["<|startoftranscript|>", f"<|{language}|>", f"<|{task}|>", "<|notimestamps|>"]
    names, _ = special_tokens()
    assert [engine.whisper.token_ids[t] - TEXT_TOKENS for t in prompt] == [names.index(t) for t in prompt]


def test_timestamp_tokens_do_not_become_text(many_languages, clip):
    "A random model says tokens of any kind; only text may come through"
    said = whisper(
        many_languages,
        **{
            "transcribe.no_speech_threshold": 1,
            "transcribe.logprob_threshold": -100,
            "transcribe.compression_ratio_threshold": 1000,
        },
    ).transcribe(clip, [(0.0, 4.0)], "en")
    assert not any("<|" in w.word for w in said.words)


# wav2vec2 in its standard layouts

LAYOUTS = {"base": dict(feat_extract_norm="group", conv_bias=False, do_stable_layer_norm=False),
           "large": dict(feat_extract_norm="layer", conv_bias=True, do_stable_layer_norm=True)}
LETTERS = ["<pad>", "<s>", "</s>", "<unk>", "|", *"etaonihsrdlumwcfgypbvk'xjqz"]


@pytest.fixture(scope="module", params=LAYOUTS)
def layout(request, tmp_path_factory):
    "A folder as the hub has it, small, of random weights"
    import torch
    from transformers import (
        Wav2Vec2Config,
        Wav2Vec2CTCTokenizer,
        Wav2Vec2FeatureExtractor,
        Wav2Vec2ForCTC,
        Wav2Vec2Processor,
    )

    folder = tmp_path_factory.mktemp(request.param)
    torch.manual_seed(0)
    config = Wav2Vec2Config(
        vocab_size=len(LETTERS),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        conv_dim=(32,) * 7,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=4,
        pad_token_id=0,
        **LAYOUTS[request.param],
    )
    Wav2Vec2ForCTC(config).save_pretrained(folder)
    (folder / "vocab.json").write_text(json.dumps({c: i for i, c in enumerate(LETTERS)}))
    extractor = Wav2Vec2FeatureExtractor(return_attention_mask=request.param == "large")
    Wav2Vec2Processor(extractor, Wav2Vec2CTCTokenizer(str(folder / "vocab.json"))).save_pretrained(folder)
    return folder


def test_each_layout_gives_whisperx_its_frames(layout, clip):
    "Emissions as whisperx gets them; the same words at the same times"
    import torch
    import whisperx.alignment as theirs
    ours = load_ctc(Weights("x", layout), "cpu")
    peer, about = theirs.load_align_model("en", "cpu", model_name=str(layout))
    part = clip.cut(0, 6).samples
    with torch.inference_mode():
        expected = torch.log_softmax(peer(torch.from_numpy(part.copy())[None]).logits, -1)[0].numpy()
    assert np.abs(ours.emissions([part])[0] - expected).max() < 1e-4
    assert {k.lower(): v for k, v in about["dictionary"].items()} == ours.labels
    tokens, _ = tokenize("anna counts two black apples".split(), ours.labels, 10**6)
    [(frames, _)] = viterbi_align([expected], [tokens], ours.blank)
    e = torch.from_numpy(expected)
    trellis = theirs.get_trellis(e, tokens, ours.blank)
    gained = lambda at: sum(expected[t, k] - expected[t, ours.blank] for t, k in zip(at, tokens))
    # not below the best that it knows
    assert gained(frames) >= float(trellis[-1, -1]) - float(expected[:, ours.blank].sum()) - 0.01


def test_padding_changes_nothing_that_is_heard(layout, clip):
    ours = load_ctc(Weights("x", layout), "cpu")
    parts = [clip.cut(0, 2.0).samples, clip.cut(2.0, 5.13).samples]
    alone = [ours.emissions([p])[0] for p in parts]
    together = ours.emissions(parts) if ours.masked else [e for p in parts for e in ours.emissions([p])]
    for a, b in zip(alone, together):
        assert abs(len(a) - len(b)) <= 1
        n = min(len(a), len(b)) - 10 # the last frames' receptive field reaches into the padding
        assert np.abs(a[:n] - b[:n]).max() < 0.02


def test_half_precision_hears_the_same(layout, clip):
    import torch
    full, half = (load_ctc(Weights("x", layout), "cpu") for _ in range(2))
    half.network.to(torch.bfloat16) # as short as float16; every processor computes in it
    part = clip.cut(0, 4).samples
    assert np.abs(full.emissions([part])[0] - half.emissions([part])[0]).max() < 0.5


def test_a_torchaudio_network_alone_and_in_a_batch(clip):
    import torch
    from torchaudio.models import wav2vec2_model
    torch.manual_seed(0)
    network = wav2vec2_model(
        "layer_norm",
        [(32, 10, 5)] + [(32, 3, 2)] * 4 + [(32, 2, 2)] * 2,
        True,
        32,
        0.0,
        16,
        4,
        2,
        2,
        0.0,
        64,
        0.0,
        0.0,
        True,
        0.0,
        len(LETTERS),
    ).eval()
    model = CtcModel(network, {c: i for i, c in enumerate(LETTERS)}, 0, "cpu", False, True)
    parts = [clip.cut(0, 2.0).samples, clip.cut(2.0, 5.1).samples]
    for alone, together in zip([model.emissions([p])[0] for p in parts], model.emissions(parts)):
        assert abs(len(alone) - len(together)) <= 1
        n = min(len(alone), len(together)) - 10
        assert np.abs(alone[:n] - together[:n]).max() < 0.02


@pytest.mark.slow
def test_a_torchaudio_bundle_from_its_file(tmp_path, clip):
    "WAV2VEC2_ASR_BASE_960H at its real size, of random weights: found in torch's cache, loaded, aligned with"
    import torch
    import torchaudio
    bundle = torchaudio.pipelines.WAV2VEC2_ASR_BASE_960H
    torch.manual_seed(0)
    # the file has 3 labels that are taken out
    whole = torchaudio.models.wav2vec2_model(**bundle._params | {"aux_num_out": 32})
    torch.save(whole.state_dict(), tmp_path / "wav2vec2_fairseq_base_ls960_asr_ls960.pth")
    model = load_ctc(
        Weights("WAV2VEC2_ASR_BASE_960H", tmp_path, file="wav2vec2_fairseq_base_ls960_asr_ls960.pth"), "cpu"
    )
    assert model.from_torchaudio and model.labels["e"] > 0 and model.blank == 0
    aligner = CtcAligner(load_settings({"runtime.device": "cpu"}))
    aligner.weights, aligner.model = (lambda language: Weights("x", tmp_path)), (lambda weights: model)
    part = Audio(clip.cut(0, 3).samples)
    words = tuple(map(Word, "one two three".split()))
    out = aligner.align(part, Transcript(words, ModelInfo("x", "y"), "en", chunks=((0.0, 3.0, 3),)), [])
    assert [w.timing for w in out.words] == ["aligned"] * 3
    assert all(a.end_time <= b.start_time + 1e-6 for a, b in zip(out.words, out.words[1:]))
