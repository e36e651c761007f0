"""What a lent secret costs: `GET /v1/secrets/{app}/{name}` through the release binary, with 10 and with 1,000,000 values.

Used by `tests/bench/run --secrets`. A lent value waits for two commits (its intent, its `secret_use` record), a bare hop
for none: the ratio says what the promise costs, and the two sizes say whether it grows."""

import json
import sqlite3
import statistics
import subprocess
import urllib.request

MANY = 1_000_000
APP = """
[apps.vaulty]
manifest = "%(manifest)s"
url = "http://127.0.0.1:%(upstream)d/vaulty"
"""


def prepare(stage, binary, way):
    """Somebody, an app's token for them, and ten values; gives the way to one of them."""
    command = lambda *words: subprocess.run(
        [str(binary), *words, "-c", str(stage.folder / "portcullis.toml")], check=True, capture_output=True, text=True).stdout
    user = json.loads(command("user", "list", "--json"))[0]["id"]
    token = command("app", "token", "vaulty", "--user", user).strip()
    url = f"{stage.gate}/v1/secrets/vaulty/api_key"
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    put = urllib.request.Request(url, json.dumps({"value": "x" * 32}).encode(), headers, method="PUT")
    urllib.request.urlopen(put).read()
    lent = way("lent secret", url, [stage.gateway])
    lent.headers = {"Authorization": headers["Authorization"]}
    return lent


def fill(stage, first, count):
    """Rows of other people, numbered from `first`, beside the one that is read; as large as real ones."""
    directory = sqlite3.connect(stage.folder / "data/directory.sqlite", timeout=60)
    sealed = directory.execute("SELECT sealed FROM secrets").fetchone()[0]
    rows = ((f"imp_u_{n:032x}", f"{n:032x}", sealed) for n in range(first, first + count))
    with directory:
        directory.executemany(
            "INSERT INTO secrets (tenant_id, owner, app, name, id, version, sealed, set_ms, set_by) "
            "VALUES ('imp_t_bench', ?, 'vaulty', 'api_key', ?, 1, ?, 0, 'bench')", rows)
    directory.close()


def report(samples):
    """A row for each size and number of connections; ratios are medians of the ratios within a round."""
    rows = [["connections", "values", "path", "req/s", "p50 ms", "p99 ms", "CPU s / 10,000", "CPU ratio"]]
    for (connections, values), taken in samples.items():
        floor, lent = ([one[at] for one in taken] for at in (0, 1))
        for name, ones in (("bare axum", floor), ("lent secret", lent)):
            middle = {key: statistics.median(one[key] for one in ones) for key in ones[0]}
            ratio = statistics.median(a["cpu"] / b["cpu"] for a, b in zip(ones, floor))
            rows.append([str(connections), f"{values:,}", name, f"{middle['rate']:,.0f}", f"{middle['p50']:.3f}",
                         f"{middle['p99']:.2f}", f"{middle['cpu']:.3f}", f"{ratio:.2f}"])
    return rows


def flat(samples, connections):
    """CPU per lent value with many values against that with ten."""
    few, many = (statistics.median(one[1]["cpu"] for one in samples[connections, values]) for values in (10, MANY))
    return many / few
