"""A program of plain Python: objects, dictionaries, text, patterns, JSON, long numbers and generators."""

import hashlib
import heapq
import json
import re
from collections import Counter
from dataclasses import dataclass

SCALE = 30


def numbers(seed):
    while True:
        seed = (seed * 1103515245 + 12345) & 0x7FFFFFFF
        yield seed >> 8


@dataclass
class Account:
    name: str
    balance: int = 0

    def move(self, other, amount):
        self.balance -= amount
        other.balance += amount


def accounts(random):
    all_accounts = [Account(f"account-{i}") for i in range(50)]
    for _ in range(1500 * SCALE):
        a, b = next(random) % 50, next(random) % 50
        all_accounts[a].move(all_accounts[b], next(random) % 100)
    return [(each.name, each.balance) for each in all_accounts]


def words(random):
    text = " ".join(f"w{next(random) % 400}-{next(random) % 7}" for _ in range(700 * SCALE))
    found = Counter(match.group(1) for match in re.finditer(r"\b(w\d+)-[1-5]\b", text))
    return found.most_common(20), text.replace("w1", "x").upper().count("X")


def documents(random):
    document = {f"key{i}": [next(random), str(next(random)), {"deep": i % 3 == 0}] for i in range(300)}
    for _ in range(SCALE):
        document = json.loads(json.dumps(document, sort_keys=True))
    return hashlib.sha256(json.dumps(document).encode()).hexdigest()


def shortest_paths(random):
    nodes = 120 * SCALE
    edges = {node: [(next(random) % nodes, 1 + next(random) % 50) for _ in range(5)] for node in range(nodes)}
    distances, queue = {}, [(0, 0)]
    while queue:
        distance, node = heapq.heappop(queue)
        if node in distances:
            continue
        distances[node] = distance
        for other, length in edges[node]:
            if other not in distances:
                heapq.heappush(queue, (distance + length, other))
    return len(distances), sum(distances.values())


def digits(count):
    """Digits of pi by Gibbons' spigot, with numbers that grow."""
    q, r, t, k, n, l = 1, 0, 1, 1, 3, 3
    result = []
    while len(result) < count:
        if 4 * q + r - t < n * t:
            result.append(str(n))
            q, r, n = 10 * q, 10 * (r - n * t), 10 * (3 * q + r) // t - 10 * n
        else:
            q, r, t, k, n, l = q * k, (2 * q + r) * l, t * l, k + 1, (q * (7 * k + 2) + r * l) // (t * l), l + 2
    return "".join(result)


def main():
    random = numbers(31)
    results = [accounts(random), words(random), documents(random), shortest_paths(random), digits(40 * SCALE)]
    results.append(sorted(next(random) for _ in range(1000 * SCALE))[::500])
    print(hashlib.sha256(repr(results).encode()).hexdigest())


main()
