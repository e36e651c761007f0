"""Where the CPU time of a gated read goes, beside that of a bare hop: stacks sampled by perf at 64 connections.

Used by `tests/bench/run --profile`. Needs `perf` (Debian: linux-perf). Whoever wants a call cheaper reads here first."""

import re
import subprocess

CONNECTIONS = 64
# Each with what its stacks show; a stack belongs to the first that any of its frames, or its thread, matches.
PARTS = (
    ("ledger: sync", r"fdatasync"),
    ("ledger: records hashed and inserted", r"^ledger-writer|audit::writer::"),
    ("ledger: journal moved, heads published", r"^ledger-(wal|publish)"),
    ("arguments sealed and committed to", r"record::body::seal|secrets::vault|audit::commitment"),
    ("decided (Cedar, capsule)", r"portcullis_policies::|cedar_policy"),
    ("who asks", r"pipeline::identified|portcullis::identify"),
    ("what is asked for", r"portcullis::resolve"),
    ("intent and outcome queued, waited for", r"ledger::Ledger::|portcullis::record"),
    # One part: the compiler folds what tells the two connections apart into what they share.
    ("caller's and upstream's connections", r"hyper|edge::|axum|tower|portcullis::dispatch|kernel_adapter"),
    ("the rest of the seven steps", r"pipeline::"),
    ("threads woken, put to sleep, switched", r"scheduler|park|epoll|futex|schedule"),
)
OTHER = "none of these"


def record(pid, seconds, file):
    """Begins to sample a process for so many seconds; stacks of 64 KiB, because futures nest deep."""
    command = ["perf", "record", "-q", "-e", "cpu-clock", "-F", "499", "--call-graph", "dwarf,65528"]
    return subprocess.Popen([*command, "-p", str(pid), "-o", str(file), "--", "sleep", str(seconds)],
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def stacks(file):
    """Thread name and frames of each sample, innermost first."""
    out = subprocess.run(["perf", "script", "--no-inline", "-F", "comm,ip,sym", "-i", str(file)],
                         check=True, capture_output=True, text=True, errors="replace").stdout
    for block in out.split("\n\n"):
        thread, *frames = block.strip("\n").split("\n")
        if thread.strip():
            yield [thread.strip(), *(frame.strip().split(" ", 1)[-1] for frame in frames)]


def part_of(stack):
    for name, shows in PARTS:
        if any(re.search(shows, frame) for frame in stack):
            return name
    return OTHER


def shares(file):
    """Samples by part, and how many there were."""
    counts = {}
    for stack in stacks(file):
        part = part_of(stack)
        counts[part] = counts.get(part, 0) + 1
    return counts, sum(counts.values())


def table(taken):
    """A row for each part: microseconds a call and share, of the bare hop and of the gated read."""
    rows = [["part", "bare axum us", "gated read us", "of the read"]]
    (floor, floor_cpu), (read, read_cpu) = taken
    us = lambda part, of, cpu: of[0].get(part, 0) / of[1] * cpu
    for part in [*(name for name, _ in PARTS), OTHER]:
        share = f"{100 * read[0].get(part, 0) / read[1]:.1f} %"
        rows.append([part, f"{us(part, floor, floor_cpu):.1f}", f"{us(part, read, read_cpu):.1f}", share])
    rows.append(["all", f"{floor_cpu:.1f}", f"{read_cpu:.1f}", "100.0 %"])
    return rows
