"""The phone aligner's parts against their definitions (brute force), and its times against the truth."""
import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings as hypothesis_settings, strategies as st

from ecg_audio_nb.speech import forced_align as fa
from ecg_audio_nb.audio.media import load_audio
from ecg_audio_nb.speech.phones import pronounce


@pytest.fixture(scope="module")
def clips(root):
    "(samples, words, [(start, end)]) of each clip of synthetic speech, whose times are known exactly"
    folder = root / "tests/fixtures/tiny/clips"
    truth = json.loads((folder / "clips.json").read_text())
    return [(load_audio(folder / f"{name}.flac").samples, [w["word"] for w in clip["words"]],
             np.array([(w["start"], w["end"]) for w in clip["words"]])) for name, clip in truth.items()]


def phones(words): return [pronounce(word, "en") for word in words]


def with_noise(samples, snr):
    rms = np.sqrt(np.mean(samples**2))
    noise = np.random.default_rng(0).normal(0, rms * 10 ** (-snr / 20), len(samples))
    return (samples + noise).astype(np.float32)


# Features and scores

def test_state_scores_are_those_of_the_gaussian_mixtures():
    model, cepstra = fa.phone_model(), np.random.default_rng(0).normal(0, 1, (3, 5, 13)).astype(np.float32)
    scores = fa.state_scores(cepstra)
    for phone, state in ((2, 0), (30, 1), (41, 2)):
        total = np.zeros(5)
        for stream in range(3):
            terms = model.densities[stream].T.reshape(42, 128, 27)[phone].astype(np.float64)
            variance = -0.5 / terms[:, :13]
            mean = terms[:, 13:26] * variance
            squares = ((cepstra[stream][:, None] - mean) ** 2 / variance + np.log(2 * np.pi * variance)).sum(
                2
            )
            total += np.log((np.exp(-squares / 2) * model.mixtures[stream, phone, :, state]).sum(1))
        np.testing.assert_allclose(scores[:, 3 * phone + state], total, rtol=1e-3, atol=0.02)


def test_passages_together_are_as_alone(clips):
    samples = [clips[0][0], clips[1][0][:20000], np.zeros(5000, np.float32)]
    for together, one in zip(fa.features(samples), samples):
        [alone] = fa.features([one])
        np.testing.assert_allclose(together.cepstra, alone.cepstra, atol=1e-4)
        np.testing.assert_array_equal(together.level, alone.level)


def test_level_of_the_recording_changes_nothing(clips):
    samples, words, _ = clips[0]
    assert fa.align_phones(samples, phones(words)).spans == pytest.approx(
        np.array(fa.align_phones(samples * 0.03, phones(words)).spans), abs=0.003)


# Graph and search

def small_graph(alternatives=(1, 2)):
    names = iter(["AA", "S", "T", "IY", "M"])
    return fa.state_graph([[(next(names),) for _ in range(n)] for n in alternatives])


def ways(graph):
    "Log probability of each move: [from, to]; and of each start and end"
    n = len(graph.state)
    moves, final = np.full((n, n), -np.inf), np.full(n, -np.inf)
    moves[np.arange(n), np.arange(n)] = graph.stay
    for node in range(1, n):
        if graph.enter[node] > fa.NEVER / 2: moves[node - 1, node] = graph.enter[node]
    for j, node in enumerate(graph.joint):
        for source, cost in zip(graph.sources[:, j], graph.costs[:, j]):
            if cost > fa.NEVER / 2: moves[source, node] = cost
    for node, cost in graph.final: final[node] = cost
    return moves, np.where(graph.start > fa.NEVER / 2, graph.start, -np.inf), final


def every_path(graph, scores):
    "(log probability, nodes) of each path that is possible"
    moves, start, final = ways(graph)
    def follow(path, log):
        if len(path) == len(scores):
            if np.isfinite(final[path[-1]]): yield log + final[path[-1]], path
            return
        for node in np.flatnonzero(np.isfinite(moves[path[-1]])):
            yield from follow(
                [*path, node], log + moves[path[-1], node] + scores[len(path), graph.state[node]]
            )

    for node in np.flatnonzero(np.isfinite(start)):
        yield from follow([node], start[node] + scores[0, graph.state[node]])


@hypothesis_settings(max_examples=15, deadline=None)
@given(frames=st.integers(6, 11), seed=st.integers(0, 2**31))
def test_the_search_is_exact(frames, seed):
    graph = small_graph()
    scores = np.random.default_rng(seed).normal(0, 3, (frames, 126)).astype(np.float32)
    best = max(every_path(graph, scores))
    path = fa.best_path(graph, scores)
    moves, start, final = ways(graph)
    log = start[path[0]] + final[path[-1]] + sum(moves[a, b] for a, b in itertools.pairwise(path))
    log += scores[np.arange(frames), graph.state[path]].sum()
    assert log == pytest.approx(best[0], abs=1e-3)


@hypothesis_settings(max_examples=10, deadline=None)
@given(frames=st.integers(6, 10), seed=st.integers(0, 2**31))
def test_occupancy_is_the_mean_over_all_paths(frames, seed):
    graph = small_graph()
    scores = np.random.default_rng(seed).normal(0, 1, (frames, 126)).astype(np.float32)
    found = fa.occupancy(graph, scores, np.array([[0, frames], [0, frames]]))
    logs, paths = zip(*every_path(graph, scores))
    weights = np.exp(np.array(logs) - max(logs))
    expected = (
        sum(w * np.bincount(path, minlength=len(graph.state)) for w, path in zip(weights, paths))
        / weights.sum()
    )
    np.testing.assert_allclose(found, expected, atol=1e-3)
    assert found.sum() == pytest.approx(frames)


def test_the_pronunciation_that_was_said_is_taken(clips):
    samples, words, truth = clips[0]
    pronunciations = [[("Z", "ZH", "ZH", "Z"), *p] for p in phones(words)]
    found = np.array(fa.align_phones(samples, pronunciations, measure_margin=False).spans)
    assert np.abs(found[:, 0] - truth[:, 0]).mean() < 0.03


@pytest.mark.parametrize("pronunciations, error", [([], ValueError), ([[]], ValueError), ([[()]], ValueError),
                                                   ([[("XX",)]], KeyError)])
def test_words_that_can_not_be_said(pronunciations, error):
    with pytest.raises(error): fa.state_graph(pronunciations)


# Times

def errors(clips, change=lambda samples: samples):
    off = [np.array(fa.align_phones(change(samples), phones(words), measure_margin=False).spans) - truth
           for samples, words, truth in clips]
    return np.abs(np.concatenate(off)).mean(0)


def test_times_of_exact_speech(clips):
    start, end = errors(clips)
    assert start <= 0.022 and end <= 0.025


@pytest.mark.parametrize("snr, most", [(20, 0.035), (10, 0.065), (0, 0.4)])
def test_there_is_a_path_in_any_noise(clips, snr, most):
    assert max(errors(clips[:6], lambda samples: with_noise(samples, snr))) <= most


def test_rough_times_help_in_noise(clips):
    def off(samples, words, truth, rough):
        return np.abs(
            np.array(fa.align_phones(samples, phones(words), rough, measure_margin=False).spans) - truth
        ).mean()

    noisy = [(with_noise(samples, -8), words, truth) for samples, words, truth in clips[:5]]
    assert np.mean([off(*one, one[2]) for one in noisy]) < 0.7 * np.mean([off(*one, None) for one in noisy])


def test_rough_times_that_are_wrong_do_no_harm(clips):
    samples, words, truth = clips[0]
    off = fa.align_phones(samples, phones(words), truth + 1.0, measure_margin=False).spans
    assert np.abs(np.array(off) - truth)[:, 0].mean() < 0.04


def test_fast_speech_in_frames_of_5_ms(root):
    "Twice as fast, and an octave higher"
    truth = json.loads((root / "ecg_audio_nb/assets/sample.truth.json").read_text())["words"][:9]
    samples = load_audio(root / "ecg_audio_nb/assets/sample.mp4").cut(0, 4).samples[::2]
    found = fa.align_phones(samples, phones(w["word"] for w in truth), measure_margin=False).spans
    assert np.abs(np.array(found)[:, 0] * 2 - [w["start_time"] for w in truth]).mean() < 0.06


def test_too_short_is_refused():
    with pytest.raises(ValueError, match="0.05 s are too short for 2 words"):
        fa.align_phones(np.zeros(800, np.float32), phones(["seven", "apples"]))


@pytest.mark.parametrize("samples", [np.zeros(16000, np.float32), np.full(16000, 0.5, np.float32),
                                     np.tile([1.0, -1.0], 8000).astype(np.float32)])
def test_no_speech_gives_times_all_the_same(samples):
    found = fa.align_phones(samples, phones(["seven", "apples", "again"]))
    times = np.array(found.spans)
    assert np.isfinite(times).all() and (np.diff(times.ravel()) >= -1e-6).all() and times[-1, 1] <= 1.01


def test_words_follow_each_other(clips):
    for samples, words, _ in clips[:4]:
        times = np.array(fa.align_phones(samples, phones(words)).spans)
        assert (times[:, 1] > times[:, 0]).all() and (times[1:, 0] >= times[:-1, 1] - 1e-9).all()


# Pauses and trust

def test_punctuation_keeps_a_word_on_its_side_of_a_pause(clips):
    "A weak first word, drowned, with half a second of pause before it"
    costs = fa.pause_costs(
        phones("one two three four five six seven".split()), [False] * 3 + [True] + [False] * 3
    )
    assert costs[3] == costs[0] == costs[-1] == fa.PAUSE_COST and costs[2] == costs[4] == fa.STRAY_COST
    samples, words, truth = clips[0]
    gap = int(truth[4, 0] * 16000)
    paused = np.concatenate([samples[:gap], np.zeros(9600, np.float32), samples[gap:]])
    found = fa.align_phones(
        paused, phones(words), after_punctuation=[i == 4 for i in range(len(words))]
    ).spans
    assert found[3][1] < truth[4, 0] + 0.05 and found[4][0] == pytest.approx(truth[4, 0] + 0.6, abs=0.08)


def test_a_pause_without_punctuation_is_still_found(clips):
    samples, words, truth = clips[0]
    gap = int(truth[5, 0] * 16000)
    paused = np.concatenate([samples[:gap], np.zeros(9600, np.float32), samples[gap:]])
    found = fa.align_phones(
        paused, phones(words), after_punctuation=[i == 4 for i in range(len(words))]
    ).spans
    assert found[4][1] < truth[5, 0] + 0.1 and found[5][0] > truth[5, 0] + 0.5


def test_the_margin_tells_wrong_text(clips):
    invented = "please subscribe and leave a comment below this video thank you".split()
    for samples, words, _ in clips[5:9]:
        right = fa.align_phones(samples, phones(words)).margin
        assert right > 1.5 and fa.align_phones(samples, phones(invented[:len(words) + 1])).margin < right - 1


def test_the_same_again(clips):
    samples, words, _ = clips[2]
    assert fa.align_phones(samples, phones(words)) == fa.align_phones(samples, phones(words))
