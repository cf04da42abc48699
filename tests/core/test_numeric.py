"""The package's own assignment, clustering and transform length, against scipy's; arrays read by threads"""
import gc, sys, threading, time

import numpy as np
import pytest

from ecg_audio_nb.core.numeric import assign, average_clusters, load_arrays, next_fast_length

scipy = pytest.importorskip("scipy")


def test_every_length_is_scipys():
    from scipy.fft import next_fast_len

    assert [next_fast_length(n) for n in range(1, 5000)] == [
        next_fast_len(n, real=True) for n in range(1, 5000)
    ]


@pytest.mark.parametrize("shape", [(1, 1), (3, 3), (3, 7), (7, 3), (2, 1), (12, 12), (20, 9), (0, 4), (4, 0)])
@pytest.mark.parametrize("kind", ["real", "ties", "equal"])
def test_the_assignment_costs_what_scipys_costs(shape, kind):
    from scipy.optimize import linear_sum_assignment
    rng = np.random.default_rng(7)
    for _ in range(40):
        cost = {"real": rng.normal(size=shape), "ties": rng.integers(0, 3, shape), "equal": np.ones(shape)}[
            kind
        ]
        rows, columns = assign(cost)
        assert len(rows) == min(shape) == len(set(rows)) == len(set(columns)) and list(rows) == sorted(rows)
        assert cost[rows, columns].sum() == pytest.approx(cost[linear_sum_assignment(cost)].sum(), abs=1e-9)


def clusters(labels): return sorted(map(tuple, (np.flatnonzero(labels == k) for k in np.unique(labels))))


def people(rng, n, k, spread, d=256):  # `n` embeddings around `k` directions
    return (rng.normal(size=(k, d))[rng.integers(0, k, n)] + spread * rng.normal(size=(n, d))).astype(
        np.float32
    )


@pytest.mark.parametrize(
    "n, k, spread",
    [(1, 1, 0.5), (2, 1, 0.5), (40, 3, 0.3), (300, 6, 0.5), (300, 6, 1.0), (300, 150, 0.7), (700, 12, 0.9)],
)
@pytest.mark.parametrize("threshold", [0.1, 0.17, 0.4, 0.6, 1.1])
def test_the_clusters_are_scipys(n, k, spread, threshold):
    from scipy.cluster.hierarchy import fcluster, linkage
    vectors = people(np.random.default_rng(n), n, k, spread)
    labels = average_clusters(vectors, threshold)
    theirs = (
        fcluster(linkage(vectors, "average", "cosine"), threshold, "distance") if n > 1 else np.ones(1, int)
    )
    assert clusters(labels) == clusters(theirs)
    assert list(dict.fromkeys(labels)) == list(range(labels.max() + 1))


def test_an_hour_of_windows_is_clustered_in_seconds():
    vectors = people(np.random.default_rng(1), 4000, 8, .6)
    began = time.process_time()
    labels = average_clusters(vectors, .4)
    # 1 s on a machine with nothing else to do
    assert labels.max() + 1 == 8 and time.process_time() - began < 20


@pytest.mark.parametrize("row", [0.0, np.nan, np.inf])
def test_an_embedding_that_points_nowhere_is_refused(row):
    vectors = people(np.random.default_rng(2), 5, 1, .5)
    vectors[3] = row
    with pytest.raises(ValueError, match="not finite or all zero"): average_clusters(vectors, .4)


# Arrays in a file

def test_arrays_are_read_in_several_threads_while_the_collector_runs_python_code(tmp_path):
    np.savez(tmp_path / "a.npz", **{f"a{i}": np.arange(i) for i in range(20)})
    read, failed = [], []

    def work():
        try:
            for _ in range(40): read.append(load_arrays(tmp_path / "a.npz"))
        except SystemError as e:
            failed.append(e)

    before, interval, callback = gc.get_threshold(), sys.getswitchinterval(), lambda *_: time.sleep(0)
    gc.callbacks.append(callback)
    gc.set_threshold(20)
    sys.setswitchinterval(1e-5)
    try:
        threads = [threading.Thread(target=work) for _ in range(4)]
        for t in threads: t.start()
        for t in threads: t.join()
    finally:
        gc.callbacks.remove(callback)
        gc.set_threshold(*before)
        sys.setswitchinterval(interval)
    assert not failed and len(read) == 160
    assert all([*r] == [f"a{i}" for i in range(20)] and len(r["a7"]) == 7 for r in read)


def test_a_file_that_pickles_is_refused(tmp_path):
    np.savez(tmp_path / "a.npz", a=np.array([{}], object))
    with pytest.raises(ValueError, match="pickle"): load_arrays(tmp_path / "a.npz")
