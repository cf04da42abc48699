"""Transform lengths, assignment and average linkage, without scipy: 110 MB and a second of import less"""
from math import inf

import numpy as np


def next_fast_length(n:int)->int:
    "The smallest length of at least `n` whose prime factors are 2, 3 and 5: fast to transform; n >= 1"
    best, five = 1 << (n - 1).bit_length(), 1
    while five < best:
        odd = five
        while odd < best:
            length = odd << max(0, (-(-n // odd) - 1).bit_length())
            best = min(best, length)
            odd *= 3
        five *= 5
    return best


def assign(
    cost, # shape (rows, columns), finite
)->tuple[np.ndarray, np.ndarray]: # int, shape (min(rows, columns),) each: ascending rows, their columns
    "Pair rows with columns, each at most once, at the least total cost (Kuhn, 1955; Munkres, 1957)"
    table = np.asarray(cost, float)
    if table.shape[0] > table.shape[1]:
        columns, rows = assign(table.T)
        order = np.argsort(rows)
        return rows[order], columns[order]
    owner = _augment(table.tolist(), *table.shape) # row of each column, -1 for none
    columns = [owner.index(row) for row in range(len(table))]
    return np.arange(len(table)), np.array(columns, int)


def _augment(table, n, m):
    "The rows that own the columns when every row has one; n <= m"
    of_row, of_column = [0.0] * n, [0.0] * (m + 1) # potentials; column m stands for the start
    owner = [-1] * (m + 1)
    for row in range(n):
        owner[m], here = row, m
        slack, via, done = [inf] * m, [m] * m, [False] * (m + 1)
        while owner[here] >= 0:
            done[here], i = True, owner[here]
            for j in range(m):
                if not done[j] and (reduced := table[i][j] - of_row[i] - of_column[j]) < slack[j]:
                    slack[j], via[j] = reduced, here
            step, nearest = min((slack[j], j) for j in range(m) if not done[j])
            for j in range(m + 1):
                if done[j]: of_row[owner[j]] += step; of_column[j] -= step
                elif j < m: slack[j] -= step
            here = nearest
        while here != m: owner[here], here = owner[via[here]], via[here]
    return owner[:m]


def average_clusters(
    vectors:np.ndarray, # float, shape (n, d), no row of zeros
    threshold:float, # cosine distance, 0 to 2
)->np.ndarray: # int, shape (n,): cluster, from 0 in the order of first appearance
    "Cluster by average linkage, cut at `threshold`; nearest-neighbour chains (Murtagh, 1983)"
    unit = np.asarray(vectors, np.float32)
    norm = np.linalg.norm(unit, axis=1, keepdims=True)
    if not (np.isfinite(norm).all() and norm.all()):
        raise ValueError("embeddings: a row is not finite or all zero")
    unit = unit / norm
    distance, n = 1 - unit @ unit.T, len(unit)
    np.fill_diagonal(distance, inf)
    size, member, active, chain = np.ones(n), np.arange(n), np.ones(n, bool), []
    while chain or active.any():
        if not chain: chain.append(int(active.argmax()))
        last = chain[-1]
        near = int(distance[last].argmin())
        if len(chain) > 1 and distance[last, chain[-2]] <= distance[last, near]: near = chain[-2]
        if distance[last, near] > threshold: # nothing joins it any more
            active[last] = False
            distance[last], distance[:, last] = inf, inf
            chain.pop()
        elif len(chain) > 1 and near == chain[-2]:
            del chain[-2:]
            _merge(distance, size, active, last, near)
            member[member == last] = near
        else: chain.append(near)
    first = np.unique(member, return_index=True)[1]
    number = np.empty(n, int)
    number[member[np.sort(first)]] = np.arange(len(first))
    return number[member]


def _merge(distance, size, active, gone, kept):
    "Put cluster `gone` into `kept`: distances become means, weighted by the number of members"
    total = size[gone] + size[kept]
    row = distance[gone] * (size[gone] / total) + distance[kept] * (size[kept] / total)
    row[[gone, kept]] = inf
    distance[kept], distance[:, kept] = row, row
    distance[gone], distance[:, gone] = inf, inf
    size[kept], active[gone] = total, False
