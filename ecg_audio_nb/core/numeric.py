"""Transform lengths, assignment and average linkage without scipy, which is 110 MB and a second of import;
arrays read from a file by several threads"""
from math import inf
from threading import Lock

import numpy as np

_READING = Lock()
_PARSER_ATTEMPTS = 8


def load_arrays(
    file, # a path or an open binary file of `numpy.savez`
)->dict[str, np.ndarray]: # each array by its name
    """Read every array of an `.npz` file, in any number of threads

    numpy parses the header of an array with `ast`. While one thread parses, the garbage collector may run
    Python code and let another thread parse; CPython 3.11 and 3.12 then raise SystemError ("AST constructor
    recursion depth mismatch"). So threads that call this function take turns, and a SystemError that a thread
    elsewhere brought about leads to another attempt.
    """
    for attempt in range(_PARSER_ATTEMPTS):
        try:
            with _READING:
                if hasattr(file, "seek"): file.seek(0)
                with np.load(file, allow_pickle=False) as stored: return dict(stored)
        except SystemError:
            if attempt == _PARSER_ATTEMPTS - 1: raise


def next_fast_length(
    n:int, # at least 1
)->int:
    "Return the smallest length >= n with no prime factors but 2, 3 and 5, fast to transform"
    best = 1 << (n - 1).bit_length()
    power_of_5 = 1
    while power_of_5 < best:
        odd = power_of_5
        while odd < best:
            factor = -(-n // odd) # rounded up
            best = min(best, odd << (factor - 1).bit_length())
            odd *= 3
        power_of_5 *= 5
    return best


def assign(
    cost, # array-like, float, shape (rows, columns), finite
)->tuple[np.ndarray, np.ndarray]: # ascending rows and their columns; int, shape (min(rows, columns),)
    "Pair rows with columns, each at most once, at the least total cost (Kuhn, 1955; Munkres, 1957)"
    table = np.asarray(cost, float)
    if table.shape[0] > table.shape[1]:
        columns, rows = assign(table.T)
        order = np.argsort(rows)
        return rows[order], columns[order]
    owner = _column_owners(table.tolist(), *table.shape)
    columns = [owner.index(row) for row in range(len(table))]
    return np.arange(len(table)), np.array(columns, int)


def _column_owners(cost, n, m): # lists, n rows and m columns, n <= m -> list of m rows, -1 for none
    "Give every row a column at the least total cost, one row after the other"
    row_potential, column_potential = [0.0] * n, [0.0] * (m + 1)
    start = m # a column that does not exist: it owns the row that has none yet
    owner = [-1] * (m + 1)
    for row in range(n):
        owner[start] = row
        column, previous = _shortest_path(cost, owner, row_potential, column_potential)
        while column != start: # each row on the path moves to the next column
            owner[column] = owner[previous[column]]
            column = previous[column]
    return owner[:m]


def _shortest_path(cost, owner, row_potential, column_potential):
    "Find the nearest free column and the column before each; updates the potentials"
    m = len(owner) - 1
    slack = [inf] * m # least reduced cost of a step to each column
    previous = [m] * m # the column that the step comes from
    visited = [False] * (m + 1)
    column = m
    while owner[column] >= 0:
        visited[column] = True
        row = owner[column]
        for j in range(m):
            if visited[j]: continue
            reduced = cost[row][j] - row_potential[row] - column_potential[j]
            if reduced < slack[j]: slack[j], previous[j] = reduced, column
        step, nearest = min((slack[j], j) for j in range(m) if not visited[j])
        for j in range(m + 1):
            if visited[j]:
                row_potential[owner[j]] += step
                column_potential[j] -= step
            elif j < m: slack[j] -= step
        column = nearest
    return column, previous


def average_clusters(
    vectors:np.ndarray, # float, shape (n, d), finite, no row of zeros
    threshold:float, # cosine distance, 0 to 2
)->np.ndarray: # cluster of each vector, from 0 in the order of first appearance; int, shape (n,)
    "Cluster vectors by average linkage, cut at `threshold`, with nearest-neighbour chains (Murtagh, 1983)"
    distance = _cosine_distances(vectors)
    n = len(distance)
    size = np.ones(n) # vectors in each cluster
    cluster = np.arange(n) # of each vector; a cluster has the number of one of its vectors
    active = np.ones(n, bool) # whether a cluster may still be merged
    chain = [] # clusters, each the nearest neighbour of the one before
    while chain or active.any():
        if not chain: chain.append(int(active.argmax()))
        last = chain[-1]
        before = chain[-2] if len(chain) > 1 else None
        nearest = int(distance[last].argmin())
        if before is not None and distance[last, before] <= distance[last, nearest]: nearest = before
        if distance[last, nearest] > threshold: # `last` is complete
            active[last] = False
            distance[last], distance[:, last] = inf, inf
            chain.pop()
        elif nearest == before: # each is the nearest of the other
            del chain[-2:]
            _merge(distance, size, active, last, nearest)
            cluster[cluster == last] = nearest
        else: chain.append(nearest)
    return _number_by_appearance(cluster)


def _cosine_distances(vectors): # -> float32, shape (n, n), inf on the diagonal
    unit = np.asarray(vectors, np.float32)
    norm = np.linalg.norm(unit, axis=1, keepdims=True)
    if not (np.isfinite(norm).all() and norm.all()):
        raise ValueError("embeddings: a row is not finite or all zero")
    unit = unit / norm
    distance = 1 - unit @ unit.T
    np.fill_diagonal(distance, inf)
    return distance


def _number_by_appearance(labels): # int, shape (n,) below n -> the same groups, numbered from 0
    first = np.unique(labels, return_index=True)[1]
    number = np.empty(len(labels), int)
    number[labels[np.sort(first)]] = np.arange(len(first))
    return number[labels]


def _merge(distance, size, active, gone, kept):
    "Merge cluster `gone` into `kept`; distances become means, weighted by the sizes of the clusters"
    total = size[gone] + size[kept]
    row = distance[gone] * (size[gone] / total) + distance[kept] * (size[kept] / total)
    row[[gone, kept]] = inf
    distance[kept], distance[:, kept] = row, row
    distance[gone], distance[:, gone] = inf, inf
    size[kept], active[gone] = total, False
