"""Whisper on a CUDA GPU without torch, against the CPU. Where there is no GPU it says so and ends with 0

    python benchmarks/gpu.py [--quick]

- `gpu`: its name; `ratio_base`: how many times faster `base` hears 10 minutes of spliced LibriSpeech on the
  GPU than on the CPU (recognition alone, as the product runs it: float16 and a batch that fits, int8 on the
  CPU; loaded and warm, the faster of two rounds); `seconds_base_gpu`, `seconds_base_cpu`: those seconds;
  `wer_base_gpu`, `wer_base_cpu`: word error rates, percent;
- `seconds_turbo_float16`, `seconds_turbo_int8`: 10 minutes as 20 chunks of 30 s through a network of
  large-v3-turbo's size with random weights: encoder, and a beam of 5 over 200 tokens a chunk, which is more
  than speech takes; the time is that of the real model, the text is noise; `batch_turbo`: chunks at a time;
  `mb_turbo_float16`, `mb_turbo_int8`: GPU memory it takes;
- with torch installed: `emissions_ratio`: the wav2vec2 aligner's network (base size, random weights), half
  precision on the GPU in batches of 8, against float32 on the CPU one by one; `pooling_ratio`: sums of 2,000
  spans over the frames of 10 minutes, torch on the GPU against numpy, copies included: what moving them would
  gain.

With --quick: one minute.
"""

import tempfile
import time
from pathlib import Path

import numpy as np
from _common import keep, options
from _random_whisper import write_model
from _speech import talk

from ecg_audio_nb.core.cuda import cuda_free_mb
from ecg_audio_nb.research.error_rates import wer
from ecg_audio_nb.models import ModelError, pick_device, release
from ecg_audio_nb.settings import load_settings
from ecg_audio_nb.speech.transcribe import choose_transcriber
from ecg_audio_nb.speech.vad import SPEECH_STEP, detect_speech

TOKENS = 200  # a chunk, at most
PROMPT = ["<|startoftranscript|>", "<|en|>", "<|transcribe|>", "<|notimestamps|>"]


def gpu_name() -> str:
    "What the driver calls the first GPU"
    import ctypes

    nvml, handle, name = ctypes.CDLL("libnvidia-ml.so.1"), ctypes.c_void_p(), ctypes.create_string_buffer(96)
    nvml.nvmlInit_v2()
    nvml.nvmlDeviceGetHandleByIndex_v2(0, ctypes.byref(handle))
    nvml.nvmlDeviceGetName(handle, name, 96)
    return name.value.decode()


def clock(work, sync=lambda: None, n=3):
    "Seconds of the fastest of n, after one to warm up"
    work()
    times = []
    for _ in range(n):
        sync()
        start = time.perf_counter()
        work()
        sync()
        times.append(time.perf_counter() - start)
    return min(times)


def base_on(device, clip, speech):
    "Seconds and word error rate of base over a file"
    chosen = {
        "engine": "whisper",
        "transcribe.model": "base",
        "transcribe.language": "en",
        "runtime.device": device,
    }
    engine = choose_transcriber(load_settings(chosen))[0]
    engine.transcribe(clip.audio.cut(0, 20), [(0.0, 20.0)], "en")
    times = []
    for _ in range(2):
        start = time.perf_counter()
        found = engine.transcribe(clip.audio, speech, "en")
        times.append(time.perf_counter() - start)
    return min(times), round(100 * wer(clip.text, " ".join(w.word for w in found.words), "en").wer, 2)


def random_whisper(folder, device, compute, seconds, batch):
    "Seconds of a network of random weights over a file, and the memory it takes, MB"
    import ctranslate2

    before = cuda_free_mb()
    network = ctranslate2.models.Whisper(str(folder), device=device, compute_type=compute)
    features = np.random.default_rng(0).normal(0, 0.3, (batch, network.n_mels, 3000)).astype(np.float32)

    def hear():
        for _ in range(-(-seconds // (30 * batch))):
            encoded = network.encode(ctranslate2.StorageView.from_array(features))
            found = network.generate(encoded, [PROMPT] * batch, beam_size=5, max_length=2 * TOKENS)
            assert all(r.sequences_ids[0] for r in found)

    took, after = clock(hear, n=2), cuda_free_mb()
    return round(took, 2), None if before is None or after is None else round(before - after)


def wav2vec2(device):
    "A CtcModel of wav2vec2-base's layout"
    import torch
    from transformers import Wav2Vec2Config, Wav2Vec2ForCTC

    from ecg_audio_nb.speech.ctc import CtcModel

    torch.manual_seed(0)
    layout = Wav2Vec2Config(
        feat_extract_norm="layer", do_stable_layer_norm=True, conv_bias=True, vocab_size=32
    )
    model = Wav2Vec2ForCTC(layout).eval().to(device, torch.float16 if device == "cuda" else torch.float32)
    labels = {c: i + 4 for i, c in enumerate("abcdefghijklmnopqrstuvwxyz'|")}
    return CtcModel(model, labels, 0, device, masked=True, from_torchaudio=False)


def with_torch(seconds):
    "What torch on the GPU gains: {} where it is not installed or sees no GPU"
    try:
        import torch
    except ImportError:
        return {}
    if not torch.cuda.is_available():
        return {}
    rng, sync = np.random.default_rng(0), torch.cuda.synchronize
    passages = [rng.normal(0, 0.1, 28 * 16000).astype(np.float32) for _ in range(seconds // 28)]
    on_gpu, on_cpu = wav2vec2("cuda"), wav2vec2("cpu")
    cpu_s = clock(lambda: on_cpu.emissions(passages[:1]), n=1) * len(passages)
    gpu_s = clock(lambda: [on_gpu.emissions(passages[i : i + 8]) for i in range(0, len(passages), 8)], sync)

    frames = rng.normal(size=(seconds * 100, 20)).astype(np.float32)
    at = np.sort(rng.integers(0, len(frames), (2000, 2)), 1)

    def pooled_cpu():
        sums = np.vstack([np.zeros((1, 20)), np.cumsum(frames, 0, dtype=np.float64)])
        return sums[at[:, 1]] - sums[at[:, 0]]

    def pooled_gpu():
        x = torch.from_numpy(frames).cuda()
        zero = torch.zeros(1, 20, device="cuda", dtype=torch.float64)
        sums = torch.cat([zero, torch.cumsum(x, 0, dtype=torch.float64)])
        return (sums[at[:, 1]] - sums[at[:, 0]]).cpu()

    return {
        "emissions_ratio": round(cpu_s / gpu_s, 1),
        "pooling_ratio": round(clock(pooled_cpu) / clock(pooled_gpu, sync), 2),
    }


def measure(seconds, batch=8):
    "All figures on this machine's GPU"
    clip = talk(seconds / 60)
    speech = detect_speech(clip.audio, step=SPEECH_STEP).speech
    (gpu_s, gpu_wer), (cpu_s, cpu_wer) = base_on("cuda", clip, speech), base_on("cpu", clip, speech)
    print(f"base: GPU {gpu_s:.2f} s, CPU {cpu_s:.2f} s", flush=True)
    release()
    figures = {
        "gpu": gpu_name(),
        "ratio_base": round(cpu_s / gpu_s, 1),
        "seconds_base_gpu": round(gpu_s, 2),
        "seconds_base_cpu": round(cpu_s, 2),
        "wer_base_gpu": gpu_wer,
        "wer_base_cpu": cpu_wer,
        "batch_turbo": batch,
    }
    with tempfile.TemporaryDirectory() as folder:
        write_model(Path(folder))
        for name, compute in (("float16", "float16"), ("int8", "int8_float16")):
            took, mb = random_whisper(folder, "cuda", compute, seconds, batch)
            figures |= {f"seconds_turbo_{name}": took, f"mb_turbo_{name}": mb}
            print(f"turbo's size, {compute}: {took} s, {mb} MB", flush=True)
    return {**figures, **with_torch(seconds)}


def main():
    args = options(__doc__)
    try:
        pick_device("cuda")
    except ModelError as e:
        print(f"no CUDA GPU here, nothing was measured: {e}")
        return keep("gpu", {"gpu": None}, True)
    keep("gpu", measure(60 if args.quick else 600), args.quick)


if __name__ == "__main__":
    main()
