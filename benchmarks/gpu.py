"""On a CUDA GPU: emissions, path and pooling against their CPU versions. Where there is no GPU it says so and ends with 0.

    python benchmarks/gpu.py [--quick]

- `emissions_ratio`: the aligner's network (base size of wav2vec2, random weights: only the time counts), half precision on the
  card in batches of 8, against float32 on the CPU one by one;
- `path_ratio`: `align.path` on a card through torch against numpy on the CPU, over the same emissions;
- `pooling_ratio`: sums of 2,000 spans over the frames of 10 minutes, torch on the card against numpy on the CPU.

`align.path` and `acoustics.pool` run on the CPU in the product: the last two tell what moving them would gain, copies included.
"""
import sys
import time

import numpy as np
from _common import keep, options


def clock(work, sync=lambda: None, n=3):
    "The best of n, after one to warm up"
    work()
    times = []
    for _ in range(n):
        sync()
        start = time.perf_counter()
        work()
        sync()
        times.append(time.perf_counter() - start)
    return min(times)


def network(device):
    "A CtcModel of wav2vec2-base's layout"
    import torch
    from transformers import Wav2Vec2Config, Wav2Vec2ForCTC

    from ecg_audio_nb.align import CtcModel
    torch.manual_seed(0)
    model = Wav2Vec2ForCTC(Wav2Vec2Config(feat_extract_norm="layer", do_stable_layer_norm=True, conv_bias=True, vocab_size=32))
    model = model.eval().to(device, torch.float16 if device == "cuda" else torch.float32)
    return CtcModel(model, {c: i + 4 for i, c in enumerate("abcdefghijklmnopqrstuvwxyz'|")}, 0, device, True, False)


def path_on_card(log, tokens, blank):
    "The forward pass of `align.best_frames` in torch: log of shape (passages, frames, labels) -> (frames, passages, tokens)"
    import torch
    gain = torch.stack([e[:, t] - e[:, blank, None] for e, t in zip(log, tokens)], 1)
    score = torch.full((gain.shape[1], gain.shape[2] + 1), -torch.inf, device=log.device)
    score[:, 0] = 0
    said = torch.empty(gain.shape, dtype=torch.bool, device=log.device)
    for t, g in enumerate(gain):
        moved = score[:, :-1] + g
        said[t] = moved > score[:, 1:]
        score[:, 1:] = torch.maximum(moved, score[:, 1:])
    return said.cpu()


def main():
    args = options(__doc__)
    try:
        import torch
    except ImportError:
        print("no torch here: pip install 'ecg-audio-nb[whisperx]'")
        return keep("gpu", {"card": None}, True)
    if not torch.cuda.is_available():
        print("no CUDA GPU here: nothing was measured")
        return keep("gpu", {"card": None}, True)
    from ecg_audio_nb.align import path
    card, sync = torch.cuda.get_device_name(), torch.cuda.synchronize
    rng, seconds = np.random.default_rng(0), 120 if args.quick else 600
    passages = [rng.normal(0, 0.1, 28 * 16000).astype(np.float32) for _ in range(seconds // 28)]

    on_card, on_cpu = network("cuda"), network("cpu")
    few = passages[:2]
    cpu_s = clock(lambda: [on_cpu.emissions([x]) for x in few], n=1) / len(few) * len(passages)
    gpu_s = clock(lambda: [on_card.emissions(passages[i:i + 8]) for i in range(0, len(passages), 8)], sync)
    here, there = on_cpu.emissions(few[:1])[0], on_card.emissions(few[:1])[0]

    emissions = [np.log(rng.dirichlet(np.ones(32), 1400)).astype(np.float32) for _ in passages]
    tokens = [list(rng.integers(1, 32, 350)) for _ in passages]
    path_cpu = clock(lambda: path(emissions, tokens, 0))
    path_gpu = clock(lambda: path_on_card(torch.from_numpy(np.stack(emissions)).cuda(), tokens, 0), sync)

    frames = rng.normal(size=(seconds * 100, 20)).astype(np.float32)
    at = np.sort(rng.integers(0, len(frames), (2000, 2)), 1)
    def pooled_cpu():
        sums = np.vstack([np.zeros((1, 20)), np.cumsum(frames, 0, dtype=np.float64)])
        return sums[at[:, 1]] - sums[at[:, 0]]
    def pooled_gpu():
        x = torch.from_numpy(frames).cuda()
        sums = torch.cat([torch.zeros(1, 20, device="cuda", dtype=torch.float64), torch.cumsum(x, 0, dtype=torch.float64)])
        return (sums[at[:, 1]] - sums[at[:, 0]]).cpu()
    pool_cpu, pool_gpu = clock(pooled_cpu), clock(pooled_gpu, sync)

    keep("gpu", {
        "card": card, "emissions_ratio": round(cpu_s / gpu_s, 1), "path_ratio": round(path_cpu / path_gpu, 2),
        "pooling_ratio": round(pool_cpu / pool_gpu, 2)}, args.quick,
        {"emissions_cpu_s": cpu_s, "emissions_gpu_s": gpu_s, "largest_difference_of_emissions": float(np.abs(here - there).max()),
         "path_cpu_s": path_cpu, "path_gpu_s": path_gpu, "pooling_cpu_s": pool_cpu, "pooling_gpu_s": pool_gpu, "seconds": seconds})


if __name__ == "__main__":
    sys.exit(main())
